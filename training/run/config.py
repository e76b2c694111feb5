"""Options that kinds of training runs share. Kept free of torch, so that --help is quick."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# In a field's metadata: its value in runs from before the field was there, where that is not its
# default.
BEFORE = "before"
# What `budget` is for.
BY_THE_CLOCK = "for runs by the clock, and --max-steps counts steps"
# A run that goes on may be given more time, or report otherwise; all else must be as it was.
FREE = {"budget", "max_steps", "save_every", "validate_every", "validation_episodes"}


@dataclass(frozen=True, kw_only=True)
class WorldRunConfig:
    """Length, optimizer and reports of a run that makes a world."""

    budget: str = "20min"
    """Training time, such as 90s, 20min or 2h; evaluation and recording are not counted."""
    max_steps: int | None = None
    """Number of optimizer steps, instead of --budget; such a run can be repeated exactly."""
    seed: int = 0
    """Seed that determines the clips or frames, noise and noise levels."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the network's matrix products."""
    rate: float = 0.001
    """Learning rate (AdamW without weight decay)."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what the world is written with."""
    clip_norm: float = 1.0
    """Norm that gradients are clipped to."""
    warmup: int = 50
    """Number of steps over which the learning rate rises."""
    validate_every: str = "5min"
    """Interval between validations."""
    save_every: str = "2min"
    """Interval at which the state to resume from is written."""
    validation_episodes: int = 8
    """Number of validation episodes that are predicted."""
    cpu: bool = False
    """Train on the CPU even if there is a GPU."""

    def __post_init__(self) -> None:
        for text in (self.budget, self.validate_every, self.save_every):
            seconds(text)


@dataclass(frozen=True, kw_only=True)
class ClipRunConfig(WorldRunConfig):
    """A run that trains on clips."""

    clip_frames: int
    """Frames of a clip."""
    batch_clips: int = 8
    """Clips per optimizer step, over all processes."""
    accumulation: int = 1
    """Number of parts that the clips of a step are processed in (gradient accumulation)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_clips % self.accumulation:
            raise ValueError(
                f"batch_clips {self.batch_clips} does not divide into accumulation "
                f"{self.accumulation} parts"
            )


@dataclass(frozen=True, kw_only=True)
class EpisodeFilesConfig:
    """What a run reads and writes: what `--help` begins with."""

    preset: str = "default"
    """Which preset the other defaults come from; the names are listed above."""
    data: Path = Path("data/mine")
    """Episodes in the published layout, with splits train and val."""
    more_data: tuple[Path, ...] = ()
    """Further datasets whose train episodes are added, such as rollouts of a policy."""
    out: Path = Path("runs/mine")
    """Directory of the run: world/, samples/, TensorBoard logs, and state.pt to resume from."""
    name: str = "mine"
    """Name of the world."""


@dataclass(frozen=True, kw_only=True)
class EpisodesOfWorldConfig:
    """Of episodes in the world that a run makes: how they begin and end, and what acts there."""

    action_names: tuple[str, ...] = ()
    """Names of the action's components, used in messages."""
    success_on_termination: bool = False
    """Whether an episode that ends before the time limit is a success."""
    max_episode_steps: int | None = None
    """Time limit of the real environment."""
    start_frames: int = 4
    """Frames that an episode in the world begins with: the first of a validation episode."""
    max_starts: int = 100
    """Most of these starts that are stored in the world."""


def seconds(text: str) -> float:
    """A duration such as 90s, 20min or 1.5h, in seconds."""
    match = re.fullmatch(r"([0-9.]+)\s*(s|min|h)", text.strip())
    if not match:
        raise ValueError(f"duration {text!r} is not understood; write 90s, 20min or 1.5h")
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]
