"""Episodes that cannot be imported: collected, counted by fault, then listed or refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from training.data.lerobot.index import BrokenEpisodeError

# Messages that are listed in full, of each kind of fault.
NAMED = 3


class Broken:
    """The broken episodes of a conversion.

    Args:
        what: "error" refuses to go on with any, "skip" leaves them out.
        total: How many episodes are asked for.
    """

    def __init__(self, what: Literal["error", "skip"], total: int):
        self.what, self.total = what, total
        self.problems: dict[int, BrokenEpisodeError] = {}

    @contextmanager
    def noted(self, index: int) -> Iterator[None]:
        """What is wrong with an episode inside is kept for later."""
        try:
            yield
        except BrokenEpisodeError as error:
            self.problems[index] = error
        except ValueError as error:
            self.problems[index] = BrokenEpisodeError(str(error), "cannot be imported")

    def stop_if_wanted(self) -> None:
        """Raise ValueError if there are broken episodes and they are not left out, or all are."""
        if not self.problems:
            return
        if self.what == "error":
            raise ValueError(
                "\n  ".join(
                    [
                        f"broken episodes: {len(self.problems)} of {self.total} (--broken skip "
                        "leaves them out):",
                        *self._kinds(),
                    ]
                )
            )
        if len(self.problems) == self.total:
            raise ValueError(
                "\n  ".join(
                    [f"broken episodes: all of {self.total}, none is left:", *self._kinds()]
                )
            )

    def lines(self) -> list[str]:
        """What was left out, in words."""
        if not self.problems:
            return []
        return [f"{len(self.problems)} of {self.total} episodes left out:", *self._kinds("  ")]

    def _kinds(self, indent: str = "") -> Iterator[str]:
        """A line for each kind of fault, and some of its messages below."""
        kinds: dict[str, list[int]] = {}
        for index, error in sorted(self.problems.items()):
            kinds.setdefault(error.kind, []).append(index)
        for kind, indices in kinds.items():
            yield f"{indent}{kind}: {spans(indices)}"
            for index in indices[:NAMED]:
                yield f"{indent}  {self.problems[index]}"
            if len(indices) > NAMED:
                yield f"{indent}  and {len(indices) - NAMED} more"


def spans(numbers: list[int]) -> str:
    """Sorted numbers in short: [0, 1, 2, 5] is "0 to 2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(
        f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts
    )
