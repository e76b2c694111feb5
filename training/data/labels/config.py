"""What `irasim label` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from training.data.episodes import SPLITS


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Label rigid bodies in recorded episodes from the video itself: place, angle and visible
    share of each, which `irasim train --hidden NAME --poses NAME` takes. For a fixed camera above a
    plane; says what it cannot label."""

    data: Annotated[Path, tyro.conf.Positional]
    """Directory of the episodes, as `irasim collect` and `irasim convert` write them."""
    splits: tuple[str, ...] = SPLITS
    """Which splits."""
    names: tuple[str, ...] = ()
    """Names of the bodies, the largest first (default: body_0, body_1, ...)."""
    bodies: int | None = None
    """Label no more than so many bodies, those that show most often (default: all found)."""
    robot: tuple[str, ...] | None = None
    """Low-dimensional observations that the robot's layer may follow (default: all that are
    recorded); none, where no name follows."""
    plane: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of the picture in the units that labels shall have (default: the
    plane of the environment's task, if it has one; else pixels from the picture's corner)."""
    like: Path | None = None
    """A labelled data set of the same scene: its bodies, names and origins are taken."""
    overwrite: bool = False
    """Find the bodies anew and drop all labels that are there, of other splits too; recorded
    states never are."""
    fit_frames: int = 600
    """Frames, of as many episodes as there are, in which background, robot and bodies are found."""
    seed: int = 0
    """Draws those frames."""

    def __post_init__(self):
        if unknown := sorted(set(self.splits) - set(SPLITS)):
            raise ValueError(
                f"splits are {', '.join(unknown)}, expected some of {', '.join(SPLITS)}"
            )
        if self.bodies is not None and self.bodies < 1:
            raise ValueError(f"bodies is {self.bodies}, expected at least 1")
        if self.fit_frames < 50:
            raise ValueError(f"fit_frames is {self.fit_frames}, expected at least 50")
        if len(set(self.names)) < len(self.names) or not all(
            name.isidentifier() for name in self.names
        ):
            raise ValueError(
                f"names are {', '.join(self.names)}: expected different ones of letters, digits "
                "and _"
            )
        if self.like is not None and (self.names or self.bodies is not None or self.robot):
            raise ValueError("--like takes bodies and names from there: leave out the others")
