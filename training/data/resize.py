"""Frames to another size without torch, which alone takes more memory than a long conversion.

Bilinear and antialiased: a pixel is the mean of those below it, weighted by a triangle as wide as
two of the new pixels. That is what `published_content.resize_frames` does with tensors, to the
rounding; a test holds the two together.
"""

from functools import lru_cache

import numpy as np

# Rows of the result that are made at a time: their inputs overlap, so a few share one product.
BAND = 8

Bands = list[tuple[slice, slice, np.ndarray]]


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) to (*size, 3)."""
    height, width, channels = frame.shape
    if (height, width) == size:
        return frame
    rows = _scale(frame.reshape(height, -1), size[0])  # (h, W * 3)
    columns = rows.reshape(size[0], width, channels).transpose(1, 0, 2).reshape(width, -1)
    pixels = _scale(columns, size[1]).reshape(size[1], size[0], channels)  # (w, h, 3)
    return np.rint(pixels.transpose(1, 0, 2)).clip(0, 255).astype(np.uint8)


def _scale(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows (n, k) to float32 (size, k)."""
    result = np.empty((size, rows.shape[1]), np.float32)
    for made, used, weights in _bands(len(rows), size):
        np.matmul(weights, rows[used].astype(np.float32, copy=False), out=result[made])
    return result


@lru_cache(maxsize=8)
def _bands(old: int, new: int) -> Bands:
    """Parts of the result, the parts of the input that they are made of, and by what weights."""
    scale = old / new
    support = max(scale, 1.0)
    center = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old)[None] + 0.5 - center[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distance)  # (new, old)
    weights /= weights.sum(1, keepdims=True)
    bands: Bands = []
    for begin in range(0, new, BAND):
        part = weights[begin : begin + BAND]
        inputs = np.nonzero(part.any(0))[0]
        used = slice(int(inputs[0]), int(inputs[-1]) + 1)
        bands.append(
            (
                slice(begin, begin + len(part)),
                used,
                np.ascontiguousarray(part[:, used], np.float32),
            )
        )
    return bands
