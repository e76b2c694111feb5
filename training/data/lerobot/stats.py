"""Statistics of features as LeRobot datasets carry them; LeRobot's policies normalise by them.

Numbers: over the rows. Pictures: for each channel, over some frames, in [0, 1], shape (3, 1, 1).
"""

from collections.abc import Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
# Frames of an episode that its pictures' statistics are taken from.
FRAMES_TAKEN = 20

Stats = dict[str, np.ndarray]


def number_stats(values: np.ndarray) -> Stats:
    """Of a column (L, n) or (L,): arrays (n,), and their count (1,)."""
    rows = values.astype(np.float64).reshape(len(values), -1)
    stats = {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        "count": np.array([len(rows)]),
    }
    return stats | {name: np.quantile(rows, q, axis=0) for name, q in QUANTILES.items()}


def picture_stats(frames: np.ndarray) -> Stats:
    """Of frames uint8 (T, H, W, 3): arrays (3, 1, 1) in [0, 1], and how many frames were taken."""
    taken = np.unique(np.linspace(0, len(frames) - 1, FRAMES_TAKEN).round().astype(int))
    stats = number_stats(frames[taken].reshape(-1, frames.shape[-1]) / 255.0)
    pictures = {name: value.reshape(-1, 1, 1) for name, value in stats.items()}
    return pictures | {"count": np.array([len(taken)])}


def combine(parts: Sequence[Stats]) -> Stats:
    """Statistics of all from those of each: exact but for quantiles, which are averaged."""
    counts = np.array([part["count"][0] for part in parts], np.float64)
    weights = counts / counts.sum()

    def average(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.tensordot(weights, np.stack(values), axes=1)

    mean = average([part["mean"] for part in parts])
    variance = average([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
        **{name: average([part[name] for part in parts]) for name in QUANTILES},
    }
