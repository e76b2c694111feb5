"""How held keys become a discrete action: arithmetic only, no window and no model.

Dimensions: D choices that make up an action, A components of their one-hot vectors together.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from irasim_env.controls import FURTHER_KEYS, LETTER, OPPOSITE, KeyControls

if TYPE_CHECKING:
    from world_model import Start
    from world_model.choices import ChoicesConfig

# Keys of a single choice: arrows (or W A S D), then letters.
SINGLE_KEYS = (
    *((arrow, letter) for arrow, letter in LETTER.items()),
    *((key,) for pair in FURTHER_KEYS for key in pair),
)


@dataclass(frozen=True, kw_only=True)
class ChoiceControls(KeyControls):
    """Keys of a world's discrete actions.

    A single choice has a key for each of what there is to choose, arrows first; without one it is
    the first. Where an action is several choices, each has a pair of keys, as components of
    `KeyControls` have: of two to choose from one key takes the second, of three the pair takes the
    outer ones, of more it goes on to the next and back, and stays. The mouse does nothing.
    """

    choices: "ChoicesConfig"

    @property
    def single(self) -> bool:
        """Whether an action is one choice."""
        return len(self.choices.counts) == 1

    @property
    def pairs(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """By choice: names of the keys that add, names of those that take away; all keys of a
        single choice add."""
        if self.single:
            held = SINGLE_KEYS[: self.choices.counts[0]]
            return ((tuple(key for keys in held for key in keys), ()),)
        first, second = self.directions
        arrows = [
            ((way, LETTER[way]), (OPPOSITE[way], LETTER[OPPOSITE[way]])) for way in (first, second)
        ]
        further = [((add,), (take,)) for add, take in FURTHER_KEYS]
        return tuple((arrows + further)[: len(self.choices.counts)])

    @property
    def labels(self) -> tuple[str, ...]:
        """What to call each component."""
        numbers = [
            range(first, first + count)
            for first, count in zip(self.choices.first, self.choices.counts, strict=True)
        ]
        if self.single:
            return tuple(f"action {number}" for number in numbers[0])
        return tuple(f"{i}: {number}" for i, some in enumerate(numbers) for number in some)

    @property
    def help(self) -> tuple[tuple[str, str], ...]:
        """Keys and what they do, in pairs."""
        if self.single:
            first, count = self.choices.first[0], self.choices.counts[0]
            lines = [
                (" or ".join(key.upper() for key in keys), f"action {first + i}")
                for i, keys in enumerate(SINGLE_KEYS[:count])
            ]
            lines.append(("no key", f"action {first}"))
            if count > len(SINGLE_KEYS):
                lines.append(("no keys", f"actions from {first + len(SINGLE_KEYS)}"))
            return tuple(lines)
        lines = [
            (f"{add[0].upper()} / {take[0].upper()}", f"action component {i}: on / back")
            for i, (add, take) in enumerate(self.pairs)
        ]
        if len(self.choices.counts) > len(self.pairs):
            lines.append(("no keys", f"components from {len(self.pairs)}"))
        return tuple(lines)

    def first_action(self, start: "Start | None" = None) -> np.ndarray:
        """The action before any key, one-hot float32 (A,)."""
        return self._vector([self._rest(count) for count in self.choices.counts])

    def held_direction(self, held: Collection[str]) -> np.ndarray:
        """What held keys ask for, float32 (A,): 1 at what a single choice shall be; of several
        choices -1, 0 or 1 at the first component of each."""
        direction = np.zeros(self.choices.size, np.float32)
        if self.single:
            for i, keys in enumerate(SINGLE_KEYS[: self.choices.counts[0]]):
                direction[i] = any(key in held for key in keys)
            return direction
        for begin, (add, take) in zip(self._begins, self.pairs, strict=False):
            direction[begin] = any(key in held for key in add) - any(key in held for key in take)
        return direction

    def move(self, previous: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The action one step after `previous`, one-hot float32 (A,), for what `held_direction`
        gave."""
        if self.single:
            return self._vector([int(np.argmax(direction))])
        chosen = []
        for begin, count in zip(self._begins, self.choices.counts, strict=True):
            way = int(np.sign(direction[begin]))
            now = int(np.argmax(previous[begin : begin + count]))
            before = self._rest(count) if count <= 3 else now
            chosen.append(min(max(before + way, 0), count - 1))
        return self._vector(chosen)

    def next_action(
        self,
        previous: np.ndarray,
        held: Collection[str],
        pointer: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """The action one step after `previous`, one-hot float32 (A,); the mouse does nothing."""
        return self.move(previous, self.held_direction(held))

    def target(self, action: np.ndarray) -> None:
        """Nowhere: a choice is no place in the picture."""

    @property
    def _begins(self) -> list[int]:
        """Where the one-hot vector of each choice begins."""
        return np.cumsum((0, *self.choices.counts))[:-1].tolist()

    def _rest(self, count: int) -> int:
        return 1 if count == 3 and not self.single else 0

    def _vector(self, chosen: list[int]) -> np.ndarray:
        parts = zip(self.choices.counts, chosen, strict=True)
        return np.concatenate([np.eye(count, dtype=np.float32)[at] for count, at in parts])
