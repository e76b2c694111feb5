"""Predictions to look at: videos and a strip, the true frames beside the predicted ones."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.windows import Window
from world_model.video import write_video

GAP = 4  # pixels between pictures
WHITE = 255


def spread_kinds(windows: Sequence[Window], count: int) -> list[int]:
    """Indices of up to `count` windows, of each kind of policy in turn."""
    turn: dict[str, int] = {}
    ranked = []
    for index, window in enumerate(windows):
        turn[window.policy] = turn.get(window.policy, -1) + 1
        ranked.append((turn[window.policy], index))
    return [index for _, index in sorted(ranked)[:count]]


def side_by_side(window: Window, prediction: Prediction) -> np.ndarray:
    """True | predicted, the context frames first on both sides, uint8 (C + L, H, 2 W + gap, 3)."""
    true = window.frames
    pred = np.concatenate([window.context, prediction.frames[: window.num_predicted]])
    gap = np.full((*true.shape[:2], GAP, 3), WHITE, np.uint8)
    return np.concatenate([true, gap, pred], axis=2)


def write_videos(
    directory: Path, windows: Sequence[Window], predictions: Sequence[Prediction], fps: float
) -> list[Path]:
    """One mp4 a window, enlarged, that browsers play (and that is not exact)."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for window, prediction in zip(windows, predictions, strict=True):
        path = directory / f"{window.episode_id}_{window.policy}.mp4"
        frames = side_by_side(window, prediction)
        factor = max(1, 384 // frames.shape[1])
        enlarged = frames.repeat(factor, axis=1).repeat(factor, axis=2)
        write_video(path, enlarged, fps, lossless=False)
        paths.append(path)
    return paths


def write_strip(
    path: Path,
    windows: Sequence[Window],
    predictions: Sequence[Prediction],
    horizons: Sequence[int],
) -> None:
    """A PNG: for each window a row of true frames above a row of predicted ones, by horizon.

    The first column is the last context frame; a frame past an episode's end is white.
    """
    rows = []
    for window, prediction in zip(windows, predictions, strict=True):
        for frames in (window.future, prediction.frames[: window.num_predicted]):
            blank = np.full_like(window.context[-1], WHITE)
            chosen = [frames[h - 1] if h <= len(frames) else blank for h in horizons]
            rows.append(_join([window.context[-1], *chosen], axis=1))
    picture = _join(rows, axis=0)
    factor = max(1, 192 // windows[0].frames.shape[1])
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise ValueError(f"{path}: could not be written; is the directory writable?")


def _join(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Pictures with gaps between them."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, WHITE // 2, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:], axis=axis)
