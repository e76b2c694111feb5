"""What a training run of an anchored world is, and the preset for a real robot's recordings.

Kept free of torch, so that `irasim train --help` is quick.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from training.run.config import (
    BEFORE,
    BY_THE_CLOCK,
    EpisodeFilesConfig,
    EpisodesOfWorldConfig,
    WorldRunConfig,
)
from world_model.config_fields import check_least, check_positive, check_within


@dataclass(frozen=True, kw_only=True)
class AnchoredTrainConfig(EpisodesOfWorldConfig, WorldRunConfig, EpisodeFilesConfig):
    """One training run, from a robot's recorded episodes to a world directory.

    For a fixed camera, and episodes with a low-dimensional observation of the robot: its joints,
    or where its parts are. The robot's states are predicted from the actions, and each frame is
    painted from the episode's first one and the states (docs/robot_video.md).
    """

    preset: str = "robot_video"
    out: Path = Path("runs/robot")
    name: str = "robot"
    budget: str = "30min"
    warmup: int = 100
    validate_every: str = "10min"
    validation_episodes: int = 12

    coarse: int = 2
    """Pixels per coarse pixel, along each side: most of the work is done at that size. Take 4 for
    pictures of 256 pixels and more."""
    channels: int = 32
    """Of the painter's finest level; coarser ones have two and four times as many."""
    refiner_channels: int = 32
    """Of what refines the picture at full size."""
    references: int = field(default=1024, metadata={BEFORE: 0})
    """Recorded frames that the world keeps, at most: each frame is painted with those at hand in
    which the robot is nearest to where it shall be. None are kept of fewer than five episodes."""
    references_per_frame: int = field(default=3, metadata={BEFORE: 1})
    """How many of them a frame is painted with in the world, each by itself; it is their mean."""
    detail_contrast: float | None = None
    """How decidedly fine detail is chosen from its sources in the world: 1 mixes them as in
    training, more is sharper. It comes from the nearest reference alone; 0: from the mean, as all
    else does (default: where frames would have less than 0.8 of the sharpness of validation
    episodes after 16 steps, the first of 1, 2, 3, 5, 10 by which they have it; else 0)."""
    rest_within: float | None = None
    """How far the robot must have moved from the anchor, about as the picture changes, before a
    frame is painted in the world; until then it is the anchor. Needs references (default: of 0 to
    1.5 what is nearest to the first frames of validation episodes)."""
    lags: int = 5
    """Actions that the states follow: the present one and those before it."""

    batch: int = 16
    """Frames an optimizer step."""
    logarithm_from: float = 0.15
    """Share of the run after which each frame's error counts by its logarithm: before, frames with
    much motion rule, and motion is learned; after, a frame at rest counts as much as they do, and
    rest becomes exact."""
    floor: float = 2.0
    """Grey levels below which an error hardly counts in it."""
    refine_from: float = 0.3
    """Share of the run after which frames are painted at full size; before, at the coarse one."""
    sharpen_from: float = 0.8
    """Share of the run after which a discriminator of patches sharpens; 1: never."""
    sharpen_weight: float = 0.7
    """Its weight, as a share of the other loss's gradient."""
    still_weight: float = 0.2
    """Weight of the anchor's share of the blend, where nothing has moved."""
    decay_from: float = 0.5
    """Share of the run after which the rate falls linearly to nothing."""
    first_anchored: float = 0.5
    """Share of samples whose anchor is their episode's first frame; else any frame before."""
    near: float = 0.15
    """Share of all samples whose anchor is near their frame, or that frame itself: there rest is
    learned, and how motion begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = (
            "logarithm_from",
            "refine_from",
            "sharpen_from",
            "decay_from",
            "first_anchored",
            "near",
        )
        check_within(self, 0, 1, *shares)
        if not self.logarithm_from <= self.refine_from <= self.sharpen_from:
            raise ValueError(
                "phases are out of order: logarithm_from, refine_from and sharpen_from are "
                f"{self.logarithm_from}, {self.refine_from} and {self.sharpen_from}, expected to "
                "rise"
            )
        check_least(self, batch=1, references=0, references_per_frame=1)
        for name in ("detail_contrast", "rest_within"):
            if getattr(self, name) is not None:
                check_within(self, 0, 100, name)
        check_positive("floor", self.floor)

    def without_effect(self) -> dict[str, tuple[str, ...]]:
        """Fields that change nothing here, by what they are for."""
        unused: dict[str, tuple[str, ...]] = {}
        if self.max_steps is not None:
            unused[BY_THE_CLOCK] = ("budget",)
        if self.references == 0:
            names = "references_per_frame", "rest_within"
            unused["for worlds with references, and there are none (--references 0)"] = names
        if self.sharpen_from == 1:
            unused["for the discriminator, which is left out (--sharpen-from 1)"] = (
                "sharpen_weight",
            )
        return unused


ANCHORED_PRESETS: dict[str, Callable[[], AnchoredTrainConfig]] = {
    "robot_video": AnchoredTrainConfig,
}
