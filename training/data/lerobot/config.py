"""Options of `irasim convert`."""

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
    """Import a LeRobot dataset as episodes, or export episodes as a LeRobot dataset, depending on
    what SOURCE is."""

    source: Annotated[str, tyro.conf.Positional]
    """SOURCE: a LeRobot dataset of version 2.0, 2.1 or 3.0 (a directory, or a Hub id such as
    owner/name) to import; or a directory of episodes to export as a dataset of version 3.0."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write. An import that was stopped continues with the episodes that are
    missing."""
    camera: str | None = None
    """Import: the feature that holds the frames, or the last part of its name; required if there
    are several cameras."""
    states: tuple[str, ...] | None = None
    """Import: the features that become states, such as a robot's joints; all others are left out
    (default: all features called observation or state with up to 512 numbers)."""
    action: str = "action"
    """Import: the feature that holds the actions."""
    reward: str = "next.reward"
    """Import: the feature that holds the rewards; rewards are zero if there is none."""
    done: str = "next.done"
    """Import: the feature that says whether an action ended the task; none does if there is
    none."""
    height: int | None = None
    """Import: resize frames to this height, in pixels."""
    width: int | None = None
    """Import: resize frames to this width, in pixels."""
    fps: float | None = None
    """Import: frame rate to reduce the recording to; 10 keeps every third frame of 30 a second."""
    commands: Commands = "absolute"
    """Import with --fps: what actions mean. absolute: where to be, such as a joint's target; the
    last command before a kept frame is used. relative: how far to move; the commands between two
    kept frames are added up."""
    absolute_components: tuple[str, ...] = ()
    """Import with --commands relative: components of the action, by name or index, that are
    absolute nevertheless, such as that of a gripper."""
    episodes: tuple[str, ...] = ()
    """Import: only these episodes, by number or range, as in 0 2 10:20 (20 is not included)."""
    broken: Literal["error", "skip"] = "error"
    """Import: on broken episodes, stop before anything is written (error), or leave them out and
    list them (skip)."""
    val: int | None = None
    """Import: use this many of the last training episodes as the val split (default: a tenth, or
    none if the dataset has a val split)."""
    test: int | None = None
    """Import: use this many of the last training episodes as the test split (default: a tenth, or
    none if the dataset has a val or test split, or --val is given)."""
    env_id: str | None = None
    """Import: the Gymnasium id of the environment that the data was recorded in, if there is
    one."""
    lossless: bool = False
    """Export: keep every pixel exactly (H.264 in RGB, which browsers do not play), instead of
    yuv420p, which is lossy."""
    task: str | None = None
    """Export: description of the task in words (default: that of the imported dataset, else the
    environment's id)."""
    episodes_per_file: int = 100
    """Export: number of episodes that share a parquet file and a video."""

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
