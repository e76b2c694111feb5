"""Interleaved timing: calls take turns, so that all meet the same clocks and other load.

Another program takes part over its standard input and output. It prints a line `ready` when it
has loaded and warmed up; then, for each line `step` that it reads, it makes one step, to the end,
and prints one line. It leaves when its input ends. What it prints beyond that goes to stderr.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from benchmarks.metrics.frames import bootstrap_interval

WARM_UP = 5  # turns before timing begins
REST = 0.01  # seconds before each turn, so that the threads of the last one have gone to sleep


def time_in_turns(
    calls: Sequence[Callable[[], object]], turns: int, warm_up: int | None = None
) -> np.ndarray:
    """Seconds of calls made one after the other, who goes first changing every turn.

    Args:
        calls: One step each, finished when they return.
        turns: How often each is timed, after a few that are not.
        warm_up: How many these are; None: five.

    Returns:
        float64 (turns, calls).
    """
    if turns < 1:
        raise ValueError(f"turns is {turns}, expected at least 1")
    warm_up = WARM_UP if warm_up is None else warm_up
    seconds = np.zeros((turns + warm_up, len(calls)))
    for turn in range(len(seconds)):
        for place in range(len(calls)):
            who = (turn + place) % len(calls)
            time.sleep(REST)
            begin = time.perf_counter()
            calls[who]()
            seconds[turn, who] = time.perf_counter() - begin
    return seconds[warm_up:]


def ratio(over: np.ndarray, under: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """What `over` costs against `under`, turn by turn: the median, and its 95 % interval.

    Args:
        over: Seconds (turns,).
        under: Seconds of the same turns.
        seed: Of the interval's resampling.
    """
    ratios = over / under
    return {
        "ratio": float(np.median(ratios)),
        "ratio_interval": bootstrap_interval(ratios, seed, statistic=np.median),
    }


@contextmanager
def program(command: str, threads: int) -> Iterator[Callable[[], None]]:
    """Run another program; gives a function that has it make one step and waits for that.

    Args:
        command: How it is started, words split as a shell does, without a shell.
        threads: OMP_NUM_THREADS of the program.

    Raises:
        ValueError: It cannot be started, or ends without an answer.
    """
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
    except OSError as error:
        raise ValueError(f"--compare: {command!r} cannot be started: {error}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def listen(expected: str | None) -> None:
        line = stdout.readline().strip()
        if not line or (expected is not None and line != expected):
            raise ValueError(
                f"--compare: {command!r} printed {line!r}, expected "
                f"{'a line for each step' if expected is None else repr(expected)}"
                f"{'' if line else f'; it ended with status {process.wait()}'}. It must print "
                "'ready', then one line for each line 'step' that it reads, and flush"
            )

    def step() -> None:
        with suppress(BrokenPipeError):  # it has ended: `listen` says so
            stdin.write("step\n")
            stdin.flush()
        listen(None)

    try:
        listen("ready")
        yield step
    finally:
        with suppress(BrokenPipeError):  # closing writes what was left
            stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        stdout.close()
