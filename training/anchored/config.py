"""What a training run of an anchored world is, and the preset for a real robot's recordings.

Kept free of torch, so that `irasim train --help` is quick.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.run.config import seconds
from world_model.config_fields import check_least, check_positive, check_within


@dataclass(frozen=True, kw_only=True)
class AnchoredTrainConfig:
    """One training run, from a robot's recorded episodes to a world directory.

    For a fixed camera, and episodes with a low-dimensional observation of the robot: its joints,
    or where its parts are. The robot's states are predicted from the actions, and each frame is
    painted from the episode's first one and the states (docs/robot_video.md).
    """

    preset: str = "robot_video"
    """Where the other defaults come from."""
    data: Path = Path("data/mine")
    """Episodes in the published layout, with splits train and val."""
    more_data: tuple[Path, ...] = ()
    """Further datasets whose train episodes are added."""
    out: Path = Path("runs/robot")
    """The run's directory: world/, samples/, tensorboard logs, state.pt to resume from."""
    name: str = "robot"
    """The world's name."""
    budget: str = "30min"
    """Time to train, as 90s, 20min or 2h; evaluation not counted."""
    max_steps: int | None = None
    """Optimizer steps, in place of the budget: a run that can be repeated exactly."""
    seed: int = 0
    """With a sample's number it fixes which frames it is of."""

    coarse: int = 2
    """Pixels per coarse pixel, along each side: most of the work is done at that size. Take 4 for
    pictures of 256 pixels and more."""
    channels: int = 32
    """Of the painter's finest level; coarser ones have two and four times as many."""
    refiner_channels: int = 32
    """Of what refines the picture at full size."""
    references: int = 1024
    """Recorded frames that the world keeps, at most: each frame is painted with the one at hand in
    which the robot is nearest to where it shall be. None are kept of fewer than five episodes."""
    lags: int = 5
    """Actions that the states follow: the present one and those before it."""
    action_names: tuple[str, ...] = ()
    """Names of the action's components, for messages."""

    batch: int = 16
    """Frames an optimizer step."""
    rate: float = 0.001
    """Learning rate (AdamW, no decay of weights)."""
    ema: float = 0.998
    """Decay of the averaged weights, which are the ones that are kept."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    warmup: int = 100
    """Steps over which the rate rises."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the painter's products in training."""
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

    validate_every: str = "10min"
    """How often validation runs and sample videos are written."""
    save_every: str = "2min"
    """How often the state to resume from is written."""
    validation_episodes: int = 12
    """Episodes of the validation split that are predicted."""
    cpu: bool = False
    """Train on the processor even where there is a GPU."""

    success_on_termination: bool = False
    """Reaching the end is success."""
    max_episode_steps: int | None = None
    """The time limit of an episode in the world."""
    start_frames: int = 4
    """Frames of a start: the first of an episode of the validation split."""
    max_starts: int = 100
    """How many starts the world keeps."""

    def __post_init__(self) -> None:
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
        check_least(self, batch=1, references=0)
        check_positive("floor", self.floor)
        for text in (self.budget, self.validate_every, self.save_every):
            seconds(text)


ANCHORED_PRESETS: dict[str, Callable[[], AnchoredTrainConfig]] = {
    "robot_video": AnchoredTrainConfig,
}
