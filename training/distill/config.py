"""Options of `irasim distill`."""

from dataclasses import dataclass
from pathlib import Path

from training.run.config import ClipRunConfig


@dataclass(frozen=True, kw_only=True)
class DistillConfig(ClipRunConfig):
    """Distil a streaming world into one that takes one or two denoising passes per step."""

    world: str
    """The teacher, a streaming world: a shipped name, a directory, or a Hub id."""
    data: Path
    """Episodes of the world's environment in the published layout, with splits train and val."""
    out: Path = Path("runs/distilled")
    """Directory of the run: world/, TensorBoard logs, and state.pt to resume from."""
    passes: int = 2
    """Denoising passes per frame of the student."""
    teacher_passes: int = 8
    """Denoising passes per frame of the teacher."""

    start_frames: int = 4
    """Number of frames given at the beginning of a clip."""
    clip_frames: int = 10
    """Number of frames of a clip. Those after the given ones are predicted by both worlds, from a
    past that is recorded at first and then the student's own."""
    batch_clips: int = 4
    rate: float = 0.0001
    """Learning rate (AdamW without weight decay), which falls linearly to zero."""
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
