"""Which published data to read, and how: IRASim's layout for RT-1, Bridge and Language-Table.

    root/annotation/{train,val,test}/ID.json     actions or states, and where the videos lie
    root/videos/{split}/ID.mp4                   Language-Table and our own: key "video_path"
    root/videos/{split}/ID/rgb.mp4               RT-1, Bridge: key "videos", one entry a camera
    root/latent_videos/{split}/ID.pt             key "latent_video_path"
    root/latent_videos/{split}/ID/CAMERA.pt      key "latent_videos", one entry a camera

Time contract. An action lies between two frames:

    frames    f[0]      f[1]      f[2]     ...   f[N]        N + 1 frames
                 \\    /     \\    /                 /
    actions      a[0]      a[1]      ...   a[N-1]            N actions
    states    s[0]      s[1]      s[2]     ...   s[N]        one a frame (RT-1, Bridge)

f[t] is the frame before a[t], which leads to f[t + 1]. Actions of an arm are computed: a[t] is the
motion from s[t] to s[t + 1], with the gripper of s[t + 1]. A window of T frames from frame b is
f[b], ..., f[b + T - 1] with the T - 1 actions between them, a[b], ..., a[b + T - 2]. A video may
go on past the last state or action; those frames are not used.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from training.data.irasim.arm import ARM_ACTION_SCALE
from training.data.size import Resized
from world_model.config_fields import check_least

Split = Literal["train", "val", "test"]
PLANE_SCALE = (20.0, 20.0)
# The reference validates and tests on windows that do not overlap.
EVALUATION_INTERVAL = 16


@dataclass(frozen=True, kw_only=True)
class DataConfig(Resized):
    """A split of a dataset in the published layout, cut into windows."""

    root: Path
    """Directory that holds annotation/, videos/ and latent_videos/."""
    split: Split = "train"
    """Which annotations."""
    kind: Literal["direct", "arm"]
    """Actions as recorded (Language-Table, our own), or computed from an arm's states (RT-1,
    Bridge)."""
    accumulate: bool = False
    """Arm: measure every motion from the window's first state, not from the one before."""
    action_scale: tuple[float, ...]
    """What each action is multiplied by; its length is the number of an action's components."""
    source: Literal["video", "latents"] = "latents"
    """Frames from the videos, or what `irasim encode` (or the publisher) made of them."""
    camera: int | str = 0
    """Which entry of the annotation's "videos": its position, or its key where they have keys."""
    num_frames: int = 16
    """Frames of a window."""
    start_interval: int = 1
    """Frames from one window's beginning to the next one's."""
    count_last_frame: bool = True
    """Windows may end on an episode's last frame. The reference's for Language-Table never do:
    off where its windows are wanted."""
    height: int | None = None
    """Resize frames of videos to this height (default: as recorded)."""
    width: int | None = None
    """Resize frames of videos to this width."""
    broken: Literal["error", "skip"] = "error"
    """What to do about broken episodes: refuse to start, or print them and leave them out."""

    def __post_init__(self):
        if not self.action_scale:
            raise ValueError("action_scale is empty, expected a number for each action component")
        if self.kind == "arm" and len(self.action_scale) != len(ARM_ACTION_SCALE):
            raise ValueError(
                f"action_scale has {len(self.action_scale)} numbers, actions of an arm have "
                f"{len(ARM_ACTION_SCALE)}: x y z roll pitch yaw gripper"
            )
        if self.accumulate and self.kind != "arm":
            raise ValueError("accumulate is for actions computed from states: kind 'arm'")
        check_least(self, num_frames=2, start_interval=1)
        self.check_size()


def rt1(root: Path, split: Split = "train", **changes: Any) -> DataConfig:
    """RT-1 as published: 256 x 320, arm actions."""
    return _arm(root, split, changes)


def bridge(root: Path, split: Split = "train", **changes: Any) -> DataConfig:
    """Bridge as published: 256 x 320, arm actions."""
    return _arm(root, split, changes)


def languagetable(root: Path, split: Split = "train", **changes: Any) -> DataConfig:
    """Language-Table as published: 288 x 512, actions of the effector in the plane."""
    config = DataConfig(
        root=root,
        split=split,
        kind="direct",
        action_scale=PLANE_SCALE,
        start_interval=_interval(split),
        count_last_frame=False,
        height=288,
        width=512,
    )
    return replace(config, **changes)


def _arm(root: Path, split: Split, changes: dict[str, Any]) -> DataConfig:
    config = DataConfig(
        root=root,
        split=split,
        kind="arm",
        action_scale=ARM_ACTION_SCALE,
        start_interval=_interval(split),
        height=256,
        width=320,
    )
    return replace(config, **changes)


def _interval(split: Split) -> int:
    return 1 if split == "train" else EVALUATION_INTERVAL


# The published datasets by name; each function takes root, split and any field to change.
PRESETS: dict[str, Callable[..., DataConfig]] = {
    "rt1": rt1,
    "bridge": bridge,
    "languagetable": languagetable,
}
