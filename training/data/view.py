"""What of an environment's observations is recorded: one picture, and numbers beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from world_model.observed import (
    Part,
    as_numbers,
    as_picture,
    choose_picture,
    find_parts,
    read_part,
)


@dataclass(frozen=True, kw_only=True)
class View:
    """What is taken, and what is left out."""

    picture: Part | None
    """The picture; None is what the environment renders."""
    states: tuple[str, ...]
    """Names of the numbers."""
    left_out: tuple[str, ...]
    """What is not recorded, in words."""
    size: tuple[int, int] | None = None
    """Height and width that pictures are brought to; None leaves them."""

    def frame(self, observation: Any) -> np.ndarray:
        """The observed picture, uint8 (H, W, 3), in its own size."""
        assert self.picture is not None, "rendered pictures are not observed"
        return as_picture(read_part(observation, self.picture.name), self.picture)

    def numbers(self, observation: Any) -> dict[str, np.ndarray]:
        """The numbers by name, float64 (n,) each."""
        return {name: as_numbers(read_part(observation, name)) for name in self.states}


def choose_view(
    space: Any,
    *,
    camera: str | None = None,
    states: Iterable[str] | None = None,
    size: tuple[int, int] | None = None,
) -> View:
    """What to record of observations of a space.

    Args:
        space: The environment's observation space.
        camera: Name of the picture, or "render"; None where there is no choice.
        states: Names of the numbers; None is all that are low-dimensional.
        size: Height and width to bring pictures to.

    Raises:
        ValueError: No such picture or numbers, or several pictures and none is named.
    """
    parts = find_parts(space)
    picture = choose_picture(parts, camera)
    numbers = [part.name for part in parts if part.numbers]
    if states is None:
        taken = [part.name for part in parts if part.small]
    else:
        taken = list(dict.fromkeys(states))
        if unknown := [name for name in taken if name not in numbers]:
            raise ValueError(
                f"it observes no numbers {unknown[0]!r}; there are {', '.join(numbers) or 'none'}"
            )
    known = {*taken, *([picture.name] if picture is not None else [])}
    return View(
        picture=picture,
        states=tuple(taken),
        left_out=tuple(part.describe() for part in parts if part.name not in known),
        size=size,
    )
