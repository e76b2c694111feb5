"""What every run on clips is given, whatever it trains. Kept free of torch: --help is quick."""

import re
from dataclasses import dataclass
from typing import Literal

# A run that goes on may be given more time, or report otherwise; all else must be as it was.
FREE = {"budget", "max_steps", "save_every", "validate_every", "validation_episodes"}


@dataclass(frozen=True, kw_only=True)
class ClipRunConfig:
    """Length, optimizer and reports of a run on clips."""

    budget: str = "20min"
    """Time to train, as 90s, 20min or 2h; evaluation and collecting not counted."""
    max_steps: int | None = None
    """Optimizer steps, in place of the budget: a run that can be repeated exactly."""
    seed: int = 0
    """With a sample's number it fixes its clip, noise and levels."""
    clip_frames: int
    """Frames of a clip."""
    batch_clips: int = 8
    """Clips an optimizer step, over all processes."""
    accumulation: int = 1
    """Parts that a step's clips are worked through in."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the network's matrix products."""
    rate: float = 0.001
    """Learning rate (AdamW, no decay of weights)."""
    ema: float = 0.998
    """Decay of the averaged weights, which are the ones that are kept."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    warmup: int = 50
    """Steps over which the rates rise."""
    validate_every: str = "5min"
    """How often validation runs."""
    save_every: str = "2min"
    """How often the state to resume from is written."""
    validation_episodes: int = 8
    """Episodes of the validation split that are predicted."""
    cpu: bool = False
    """Train on the processor even where there is a GPU."""

    def __post_init__(self) -> None:
        if self.batch_clips % self.accumulation:
            raise ValueError(
                f"batch_clips {self.batch_clips} does not divide into accumulation "
                f"{self.accumulation} parts"
            )
        for text in (self.budget, self.validate_every, self.save_every):
            seconds(text)


def seconds(text: str) -> float:
    """A duration such as 90s, 20min or 1.5h, in seconds."""
    match = re.fullmatch(r"([0-9.]+)\s*(s|min|h)", text.strip())
    if not match:
        raise ValueError(f"duration {text!r} is not understood; write 90s, 20min or 1.5h")
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]
