"""Options of `irasim label`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from training.data.episodes import SPLITS
from world_model.config_fields import check_least


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Label rigid bodies in recorded episodes from the video alone: position, angle and visible
    share of each, for `irasim train --hidden NAME --poses NAME`. Needs a fixed camera that looks
    down on a plane, or aslant on one in which a mark on the robot is where a recorded state of two
    numbers says; reports what it cannot label."""

    data: Annotated[Path, tyro.conf.Positional]
    """Directory of the episodes, as `irasim collect` and `irasim convert` write them."""
    splits: tuple[str, ...] = SPLITS
    """Splits to label."""
    names: tuple[str, ...] = ()
    """Names of the bodies, the largest first (default: body_0, body_1, ...)."""
    bodies: int | None = None
    """Label at most this many bodies, the ones visible most often (default: all that are found)."""
    robot: tuple[str, ...] | None = None
    """Low-dimensional observations that the robot's appearance may depend on (default: all that are
    recorded; --robot without names: none)."""
    plane: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom edge of the frame in the units that labels are to have (default:
    those of the environment's task, if it has any, else pixels)."""
    like: Path | None = None
    """A labelled dataset of the same scene, to reuse the bodies, names and origins of."""
    overwrite: bool = False
    """Find the bodies again and discard all existing labels, those of other splits included.
    Recorded states are never discarded."""
    fit_frames: int = 600
    """Number of frames, drawn from all episodes, that background, robot and bodies are found in."""
    seed: int = 0
    """Seed that draws those frames."""

    def __post_init__(self):
        if unknown := sorted(set(self.splits) - set(SPLITS)):
            raise ValueError(
                f"splits are {', '.join(unknown)}, expected some of {', '.join(SPLITS)}"
            )
        check_least(self, bodies=1, fit_frames=50)
        if len(set(self.names)) < len(self.names) or not all(
            name.isidentifier() for name in self.names
        ):
            raise ValueError(
                f"names are {', '.join(self.names)}: expected different ones of letters, digits "
                "and _"
            )
        if self.like is not None and (self.names or self.bodies is not None or self.robot):
            raise ValueError("--like takes bodies and names from there: leave out the others")
