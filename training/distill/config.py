"""What `irasim distill` takes."""

from dataclasses import dataclass
from pathlib import Path

from training.run.config import ClipRunConfig


@dataclass(frozen=True, kw_only=True)
class DistillConfig(ClipRunConfig):
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

    start_frames: int = 4
    """Frames of a clip that are given."""
    clip_frames: int = 10
    """Frames of a clip; those after the given ones are drawn by both worlds, from a past that is
    recorded at first, then the student's own."""
    batch_clips: int = 4
    rate: float = 0.0001
    """Learning rate (AdamW, no decay of weights), falling linearly to nothing."""
    warmup: int = 20
    ema: float = 0.98

    def __post_init__(self) -> None:
        super().__post_init__()
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
