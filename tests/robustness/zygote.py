"""A process that has loaded what commands need, and forks one for each: no seconds of importing.

It reads a job a line from its input and answers with a line, both JSON. A job may be killed without
warning (SIGKILL to its group of processes) after some seconds, or right before its n-th change of
the file system that Python makes.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.utime")
MODULES = (
    "irasim_env.console",
    "training.train",
    "training.streaming.trainer",
    "training.chunk.command",
    "training.chunk.trainer",
    "training.data.collect",
    "training.data.irasim.encode",
    "training.data.irasim.autoencoder",
    "training.data.lerobot.convert",
    "training.distill.command",
    "training.distill.trainer",
    "training.streaming.validate",
    "benchmarks.irasim.generate",
    "benchmarks.irasim.scores",
    "benchmarks.policy_evaluation",
    "benchmarks.control.fresh_starts",
    "policies.actors",
    "policies.pusht_family",
    "accelerate.tracking",
    "torch.utils.tensorboard",
    "tensorboard",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.autoencoders.autoencoder_tiny",
    "gym_pusht",
    "pyarrow.parquet",
    "pyarrow.compute",
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    """Of its exit; negative for a signal."""
    seconds: float
    changes: int
    """Of the file system by Python, so far as it lived to say."""
    output: str


class Zygote:
    """The process, from outside."""

    def __init__(self, modules: tuple[str, ...] = MODULES):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.zygote", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self,
        arguments: list[str],
        cwd: Path,
        *,
        kill_after: float | None = None,
        kill_before_change: int | None = None,
    ) -> Ended:
        """Run `irasim ARGUMENTS` in a directory, and kill it on the way if it is still there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        job = {
            "arguments": arguments,
            "cwd": str(cwd),
            "kill_after": kill_after,
            "kill_before_change": kill_before_change,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks commands has died"
        return Ended(**json.loads(answer))


def main() -> None:
    """Serve jobs until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        answers.write(json.dumps(serve(json.loads(line))) + "\n")
        answers.flush()


def serve(job: dict[str, Any]) -> dict[str, Any]:
    """Fork, run, perhaps kill, and say how it ended."""
    said, written = Path(job["cwd"]) / ".said", Path(job["cwd"]) / ".changes"
    written.unlink(missing_ok=True)
    said.write_text("")
    begin = time.perf_counter()
    child = os.fork()
    if child == 0:
        be_command(job, said, written)
    with contextlib.suppress(OSError):  # whoever of the two is first; it may be gone already
        os.setpgid(child, child)
    limit = job["kill_after"]
    status = None
    while status is None:
        found, code = os.waitpid(child, os.WNOHANG)
        if found:
            status = code
        elif limit is not None and time.perf_counter() - begin >= limit:
            os.killpg(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        else:
            time.sleep(0.0005)
    seconds = time.perf_counter() - begin
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # the workers of one that killed itself
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "changes": int(written.read_text() or 0) if written.exists() else 0,
        "output": said.read_text(errors="replace"),
    }


def be_command(job: dict[str, Any], said: Path, written: Path) -> None:
    """In the forked process: the command, and nothing after it."""
    os.setpgid(0, 0)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0)  # noqa: SIM115
    os.chdir(job["cwd"])
    counted = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if writes or event in CHANGES:
            counted[0] += 1
            if counted[0] == job["kill_before_change"]:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)
    from irasim_env.console import main as console

    sys.argv = ["irasim", *job["arguments"]]
    code = 0
    try:
        console()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    changes = counted[0]
    written.write_text(str(changes))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
