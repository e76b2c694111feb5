"""What `irasim distill` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.streaming.config import seconds

# A run that goes on may be given more time, or report otherwise; all else must be as it was.
FREE = {"budget", "max_steps", "save_every", "validate_every", "validation_episodes"}


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Distil a streaming world to one or two denoising passes a step."""

    world: str
    """The streaming world to make quicker: a shipped name, a directory, or a Hub id."""
    data: Path
    """Episodes in the published layout, with splits train and val: of the world's environment."""
    out: Path = Path("runs/distilled")
    """The run's directory: world/, tensorboard logs, state.pt to resume from."""
    passes: int = 2
    """Denoising passes a frame of the world that is made."""
    teacher_passes: int = 8
    """Denoising passes of the world when it teaches."""
    budget: str = "20min"
    """Time to train, as 90s, 20min or 2h; evaluation not counted."""
    max_steps: int | None = None
    """Optimizer steps, in place of the budget: a run that can be repeated exactly."""
    seed: int = 0
    """With a sample's number it fixes its clip and noise."""

    start_frames: int = 4
    """Frames of a clip that are given."""
    clip_frames: int = 10
    """Frames of a clip; those after the given ones are drawn by both worlds, from a past that is
    recorded at first, then the student's own."""
    batch_clips: int = 4
    """Clips an optimizer step, over all processes."""
    accumulation: int = 1
    """Parts that a step's clips are worked through in."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the network's matrix products, the teacher's too."""
    rate: float = 0.0001
    """Learning rate (AdamW, no decay of weights), falling linearly to nothing."""
    warmup: int = 20
    """Steps over which it rises."""
    ema: float = 0.98
    """Decay of the averaged weights, which are the ones that are kept."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""

    validate_every: str = "5min"
    """How often validation runs."""
    save_every: str = "2min"
    """How often the state to resume from is written."""
    validation_episodes: int = 8
    """Episodes of the validation split that are predicted."""
    cpu: bool = False
    """Train on the processor even where there is a GPU."""

    def __post_init__(self) -> None:
        if not 1 <= self.passes <= self.teacher_passes:
            raise ValueError(
                f"passes is {self.passes}, expected 1 to teacher_passes, {self.teacher_passes}: "
                "a student takes at most as many as its teacher"
            )
        if not 1 <= self.start_frames < self.clip_frames:
            raise ValueError(
                f"start_frames is {self.start_frames}, expected 1 to clip_frames - 1, "
                f"{self.clip_frames - 1}: some frames are given, some are drawn"
            )
        if self.batch_clips % self.accumulation:
            raise ValueError(
                f"batch_clips {self.batch_clips} does not divide into accumulation "
                f"{self.accumulation} parts"
            )
        for text in (self.budget, self.validate_every, self.save_every):
            seconds(text)
