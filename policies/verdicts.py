"""What success detectors say of an episode's frames."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Verdict(StrEnum):
    """What the frames of an episode say."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a detector found in an episode. Detectors add what they measured."""

    verdict: Verdict
    step: int | None
    """Index of the first frame that shows success."""
    unreadable: float
    """Share of the inspected frames in which what decides cannot be read."""


def check_episode(frames: np.ndarray) -> None:
    """Raise ValueError unless frames are (T, H, W, 3), T over 0."""
    if frames.ndim != 4 or not len(frames):
        raise ValueError(f"frames have shape {frames.shape}, expected (T, H, W, 3), T > 0")
