"""Kills commands at random moments, runs them again to their end, and compares what they made.

python -m tests.robustness.kills [--kills 20] [--seed 0] [COMMAND ...]
"""

import argparse
import random
import shutil
import signal
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.robustness.commands import COMMANDS, Command
from tests.robustness.outcome import differences, outcome
from tests.robustness.zygote import Ended, Zygote

# Calls that are killed before one may end: a command that gets no further would never.
MOST_KILLS_OF_A_RUN = 4


@dataclass
class Report:
    """What kills did to a command."""

    seconds: float
    kills: int = 0
    runs: int = 0
    problems: list[str] = field(default_factory=list)


class Killer:
    """An undisturbed run of a command, and disturbed ones.

    Args:
        zygote: Forks the commands.
        command: The command.
        place: An empty directory.
        seed: Of the moments.
    """

    def __init__(self, zygote: Zygote, command: Command, place: Path, seed: int):
        self.zygote, self.command, self.place = zygote, command, place
        self.random = random.Random(zlib.crc32(f"{seed} {command.name}".encode()))
        self.given = place / "given"
        self.given.mkdir(parents=True)
        command.prepare(self.given)
        self.whole, first = self._fresh("whole")
        self.first = self._call(first)
        if self.first.code:
            raise AssertionError(f"{command.name} does not run:\n{self.first.output}")
        self.expected = outcome(first / command.made)
        self.report = Report(seconds=self.first.seconds)

    def kill(self, count: int) -> Report:
        """Runs with `count` kills in all: half by the clock, half between changes of files."""
        while self.report.kills < count:
            self._disturbed()
        return self.report

    def _disturbed(self) -> None:
        """A run that is killed up to a few times."""
        _, directory = self._fresh("killed")
        said = []
        for _ in range(self.random.randint(1, MOST_KILLS_OF_A_RUN)):
            how = self._moment()
            ended = self._call(directory, **how)
            said.append(f"{how}: {ended.code}")
            if ended.code != -signal.SIGKILL:
                break
            self.report.kills += 1
        else:
            ended = self._call(directory)
            said.append(f"to its end: {ended.code}")
        self.report.runs += 1
        where = "; ".join(said)
        if ended.code:
            tail = "\n".join(ended.output.splitlines()[-12:])
            self.report.problems.append(f"[{where}] ends with {ended.code}:\n{tail}")
            return
        for line in differences(self.expected, outcome(directory / self.command.made)):
            self.report.problems.append(f"[{where}] {line}")

    def _moment(self) -> dict[str, Any]:
        if self.random.random() < 0.5:
            return {"kill_after": self.random.uniform(0, 1.1 * self.first.seconds)}
        return {"kill_before_change": self.random.randint(1, max(1, self.first.changes))}

    def _fresh(self, name: str) -> tuple[Path, Path]:
        place = self.place / name
        if place.exists():
            shutil.rmtree(place)
        shutil.copytree(self.given, place / "run")
        return place, place / "run"

    def _call(self, directory: Path, **kill: Any) -> Ended:
        return self.zygote.run(list(self.command.arguments), directory, **kill)


def main() -> None:
    """Kill, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", help="names (default: all)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = [one for one in COMMANDS if not options.commands or one.name in options.commands]
    with Zygote() as zygote:
        for command in chosen:
            begin = time.monotonic()
            with tempfile.TemporaryDirectory() as place:
                try:
                    report = Killer(zygote, command, Path(place), options.seed).kill(options.kills)
                except AssertionError as error:
                    print(error, flush=True)
                    continue
            print(
                f"{command.name}: {report.seconds:.1f} s undisturbed; {report.kills} kills in "
                f"{report.runs} runs, {len(report.problems)} problems, "
                f"{time.monotonic() - begin:.0f} s",
                flush=True,
            )
            for problem in report.problems:
                print(f"  {problem}", flush=True)


if __name__ == "__main__":
    main()
