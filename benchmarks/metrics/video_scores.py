"""PSNR and SSIM of videos as IRASim reports them: means over frames, then over videos.

Videos are arrays or folders (see videos.py). The first frame of a video is given to the model, not
predicted, and so is left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.metrics.frames import PSNR_CAP, psnr, ssim
from benchmarks.metrics.videos import pairs

# Grey is the reference's short protocol, RGB its long one.
FRAME_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "psnr_rgb": lambda pred, true: psnr(pred, true, cap=PSNR_CAP),
    "ssim_rgb": ssim,
    "psnr_gray": lambda pred, true: psnr(pred, true, gray=True, cap=PSNR_CAP),
    "ssim_gray": lambda pred, true: ssim(pred, true, gray=True),
}


def frame_means(pred: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Mean over all frames given, uint8 (T, H, W, 3) each, of each of `FRAME_SCORES`."""
    return {name: float(score(pred, true).mean()) for name, score in FRAME_SCORES.items()}


def video_means(pred: Any, true: Any, *, num_given: int = 1) -> dict[str, float]:
    """Mean over videos of the mean over their predicted frames.

    Args:
        pred: Predicted videos, see `open_videos`.
        true: True ones of the same names and shapes.
        num_given: Frames at the beginning that the model was given.
    """
    found = []
    for name, a, b in pairs(pred, true):
        if len(a) <= num_given:
            raise ValueError(
                f"{name} has {len(a)} frames, {num_given} of them given: none to score"
            )
        found.append(frame_means(a[num_given:], b[num_given:]))
    return mean_of(found)


def mean_of(items: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each score over items, for scores that all of them have."""
    names = [name for name in items[0] if all(name in item for item in items)]
    return {name: float(np.mean([item[name] for item in items])) for name in names}
