"""What `irasim convert` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from training.data.lerobot.rate import Commands
from training.data.size import Resized
from world_model.config_fields import check_least

# What a conversion may depend on.
VERSIONS_NOTED = ("irasim-env", "numpy", "av", "pyarrow", "opencv-python")


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(Resized):
    """Bring a LeRobot dataset into our episodes, or write our episodes as one: the source tells the
    direction."""

    source: Annotated[str, tyro.conf.Positional]
    """A LeRobot dataset of version 2.0, 2.1 or 3.0 (directory, or Hub id as owner/name), which
    is brought in; or a directory of our episodes, which are written as one of version 3.0."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write. Bringing in goes on with what is missing there."""
    camera: str | None = None
    """Bringing in: the feature with the frames, or the last part of its name; needed where there
    are several cameras."""
    states: tuple[str, ...] | None = None
    """Bringing in: the features that become states, as a robot's joints; all others are left out.
    Default: all features called observation or state, of up to 512 numbers."""
    action: str = "action"
    """Bringing in: the feature with the actions."""
    reward: str = "next.reward"
    """Bringing in: the feature with the rewards; zeros if there is none."""
    done: str = "next.done"
    """Bringing in: the feature that says whether an action ended the task; no if there is none."""
    height: int | None = None
    """Bringing in: resize frames to this height."""
    width: int | None = None
    """Bringing in: resize frames to this width."""
    fps: float | None = None
    """Bringing in: keep so many frames a second of those recorded, as every third of 30 for 10."""
    commands: Commands = "absolute"
    """Bringing in with --fps: what actions say. absolute: where to be (a joint's target), so the
    last command before a kept frame is the one that leads there. relative: how far to move, so the
    commands between two kept frames are added up."""
    absolute_components: tuple[str, ...] = ()
    """Bringing in with --commands relative: components of the action, by name or position, that say
    where to be all the same, such as a gripper's."""
    episodes: tuple[str, ...] = ()
    """Bringing in: only these episodes, by number or as spans, as in 0 2 10:20 (20 is not among
    them)."""
    broken: Literal["error", "skip"] = "error"
    """Bringing in: what to do about broken episodes: stop before anything is written, or leave them
    out and say which."""
    val: int | None = None
    """Bringing in: this many of the last training episodes become the val split. Default: a tenth,
    or none where the dataset has such a split itself."""
    test: int | None = None
    """Bringing in: this many of the last training episodes become the test split. Default: a tenth,
    or none where the dataset has val or test itself, or --val is given."""
    env_id: str | None = None
    """Bringing in: the Gymnasium id of the environment it was recorded in, if there is one."""
    lossless: bool = False
    """Writing: keep every pixel (H.264 in RGB, which browsers do not play); else yuv420p, which
    is not exact."""
    task: str | None = None
    """Writing: what is to be done, in words (default: as it was when the episodes were brought in,
    else the environment's id)."""
    episodes_per_file: int = 100
    """Writing: episodes that share a parquet file and a video."""

    def __post_init__(self):
        self.check_size()
        check_least(self, val=0, test=0, episodes_per_file=1)
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps is {self.fps}, expected a positive number")
        if self.absolute_components and self.commands != "relative":
            raise ValueError(
                "--absolute-components are exceptions among relative commands: give --commands "
                "relative with them"
            )
