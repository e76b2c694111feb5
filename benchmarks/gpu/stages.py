"""Runs stages one after the other, each as a process of its own with a time limit.

A stage that fails, hangs or runs out of memory is reported with its last lines and passed over;
what it had noted by then is kept. Time that one stage leaves over goes to those after it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "failed", "timeout", "out_of_memory", "skipped"]

LAST_LINES = 30
PATIENCE = 3.0  # seconds that a stage has to leave when it is asked to, before it is killed
POLL = 0.2  # seconds
SKIPPED = 77  # exit status of a stage that had nothing to do, as automake's tests have it
OUT_OF_MEMORY = (
    "OutOfMemoryError",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MemoryError",
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",
)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One process."""

    name: str
    command: tuple[str, ...]
    share: float
    """Of the budget, in proportion to the shares of the stages that are left."""
    result: Path
    """JSON that the process writes as it goes (see `Record`)."""


def run_stages(
    stages: Sequence[Stage],
    budget: float,
    log: Path,
    report: Callable[[dict[str, dict[str, Any]]], None],
    environment: dict[str, str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """Run all stages within a budget.

    Args:
        stages: In their order.
        budget: Seconds for all of them together.
        log: File that takes what they print, one after the other.
        report: Is given the results of all stages so far whenever they change; of a stage that
            runs, `status` is "running".
        environment: Variables beside those of this process.
        check: Is called again and again; what it raises ends the running stage, and all of it.

    Returns:
        For each stage by name: `status`, `seconds`, `limit`, its last lines where it did not end
        well (`last_lines`), and what it noted (`figures`, `tables`, `targets`).
    """
    results: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + budget
    for number, stage in enumerate(stages):
        left = max(0.0, end - time.monotonic())
        share = stage.share / sum(other.share for other in stages[number:])

        def running(content: dict[str, Any], name: str = stage.name) -> None:
            report({**results, name: {"status": "running", **content}})

        results[stage.name] = run_stage(stage, left * share, log, running, environment, check)
        report(results)
    return results


def run_stage(
    stage: Stage,
    limit: float,
    log: Path,
    report: Callable[[dict[str, Any]], None],
    environment: dict[str, str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Run one stage for at most `limit` seconds; see `run_stages`."""
    stage.result.unlink(missing_ok=True)
    begin = time.monotonic()
    with log.open("ab") as output:
        output.write(f"\n===== {stage.name}: at most {limit:.0f} s =====\n".encode())
        output.flush()
        first = output.tell()
        # A group of its own, so that what it has started can be ended with it; the same session,
        # so that it ends with whatever has started us.
        process = subprocess.Popen(
            stage.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
            process_group=0,
        )
        try:
            in_time = _wait(process, begin + limit, stage.result, report, check)
        finally:
            end_group(process)
    status = _status(process.returncode, in_time, log, first)
    result = {
        "status": status,
        "seconds": round(time.monotonic() - begin, 1),
        "limit": round(limit, 1),
        **_noted(stage.result),
    }
    if status != "ok":
        result["last_lines"] = _last_lines(log, first)
    if status == "failed":
        result["exit"] = _exit(process.returncode)
    return result


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process that leads a group, and all that it has started; first by asking."""
    for sent, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        if not _group_lives(process.pid):
            return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait(
    process: "subprocess.Popen[bytes]",
    end: float,
    result: Path,
    report: Callable[[dict[str, Any]], None],
    check: Callable[[], None],
) -> bool:
    """Whether a process ended in time; its notes are reported as they come."""
    last = None
    while process.poll() is None:
        check()
        if time.monotonic() >= end:
            return False
        if result.is_file() and (changed := result.stat().st_mtime_ns) != last:
            last = changed
            report(_noted(result))
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    return True


def _status(code: int | None, in_time: bool, log: Path, first: int) -> Status:
    if not in_time:
        return "timeout"
    if code == 0:
        return "ok"
    if code == SKIPPED:
        return "skipped"
    text = _text(log, first)[-20_000:]
    return "out_of_memory" if any(sign in text for sign in OUT_OF_MEMORY) else "failed"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, even if reported as another error, such as one of a capture."""
    return any(sign in f"{type(error).__name__}: {error}" for sign in OUT_OF_MEMORY)


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ": the kernel does so when memory runs out" if code == -signal.SIGKILL else ""
        return f"killed by {name}{hint}"
    return f"exit status {code}"


def _noted(path: Path) -> dict[str, Any]:
    """What a stage has noted; nothing where it has not come to that."""
    return json.loads(path.read_text()) if path.is_file() else {}


def _text(log: Path, first: int) -> str:
    with log.open("rb") as file:
        file.seek(first)
        return file.read().decode(errors="replace")


def _last_lines(log: Path, first: int) -> list[str]:
    # A progress bar writes over itself: what counts is its last state.
    lines = [line.rpartition("\r")[2].rstrip() for line in _text(log, first).split("\n")]
    return [line for line in lines if line][-LAST_LINES:]


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """How a module of ours is run by this Python."""
    return (sys.executable, "-m", module, *arguments)
