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


def fuzz(name: str, count: int, seed: int = 0) -> Outcome:
    """Damage inputs of a kind `count` times."""
    outcome, first = Outcome(), 0
    while first < count:
        arguments = ["--count", str(count), "--seed", str(seed), "--first", str(first)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.robustness.worker", name, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            check=False,
        )
        damage, number = "", first - 1
        for line in done.stdout.splitlines():
            answer = json.loads(line)
            number = answer["number"]
            if "damage" in answer:
                damage = answer["damage"]
                continue
            outcome.results.update(answer["results"])
            outcome.faults += [f"{number} [{damage}] {fault}" for fault in answer["faults"]]
        if done.returncode == 0:
            break
        if number < first:
            raise AssertionError(f"{name}: the worker did not begin:\n{done.stderr[-3000:]}")
        how = DEATHS.get(done.returncode, f"death with {done.returncode}")
        outcome.results[how] += 1
        outcome.faults.append(f"{number} [{damage}] {how}: {done.stderr[-1500:]}")
        first = number + 1
    return outcome


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
        outcome = fuzz(fuzzed.name, options.count, options.seed)
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
