"""Runs the workers, again after each that died, and counts what came of it.

python -m tests.robustness.fuzz [--count 500] [--seed 0] [NAME ...]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.robustness.readers import FUZZED

ROOT = Path(__file__).parents[2]
# Threads' arenas take address space, which is limited.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "SDL_VIDEODRIVER": "dummy"}
DEATHS = {-signal.SIGPROF: "hang", -signal.SIGALRM: "hang", -signal.SIGKILL: "killed"}


@dataclass
class Outcome:
    """What came of the damaged inputs of one kind."""

    results: Counter[str] = field(default_factory=Counter)
    """How often each reader's answer was which."""
    faults: list[str] = field(default_factory=list)


def fuzz(names: Sequence[str], count: int, seed: int = 0) -> dict[str, Outcome]:
    """Damage inputs of some kinds, `count` of each."""
    outcomes = {name: Outcome() for name in names}
    left, first = list(names), 0
    while left:
        arguments = ["--count", str(count), "--seed", str(seed), "--first", str(first)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.robustness.worker", *left, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            check=False,
        )
        name, number, damage = left[0], first - 1, ""
        for line in done.stdout.splitlines():
            answer = json.loads(line)
            name, number = answer["name"], answer["number"]
            if "damage" in answer:
                damage = answer["damage"]
                continue
            outcomes[name].results.update(answer["results"])
            outcomes[name].faults += [f"{number} [{damage}] {fault}" for fault in answer["faults"]]
        if done.returncode == 0:
            break
        if number < first or not damage:
            raise AssertionError(f"{name}: the worker did not begin:\n{done.stderr[-3000:]}")
        how = DEATHS.get(done.returncode, f"death with {done.returncode}")
        outcomes[name].results[how] += 1
        outcomes[name].faults.append(f"{number} [{damage}] {how}: {done.stderr[-1500:]}")
        first = number + 1
        left = left[left.index(name) + (first == count) :]
        first %= count
    return outcomes


def main() -> None:
    """Fuzz, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="kinds of input (default: all)")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for fuzzed in FUZZED:
        if options.names and fuzzed.name not in options.names:
            continue
        begin = time.monotonic()
        outcome = fuzz([fuzzed.name], options.count, options.seed)[fuzzed.name]
        counts = ", ".join(f"{count} {result}" for result, count in outcome.results.most_common())
        print(
            f"{fuzzed.name}: {options.count} inputs, {len(fuzzed.read)} readers: {counts}; "
            f"{len(outcome.faults)} faults; {time.monotonic() - begin:.0f} s",
            flush=True,
        )
        for fault in outcome.faults:
            print("   ", fault.replace("\n", "\n      "), flush=True)


if __name__ == "__main__":
    main()
