"""Search for a sprite in whole pictures, at every place and many angles.

How much of the squared error a sprite explains, at each place, is a sum of correlations of the
picture with the sprite's alpha and colours, which Fourier transforms give for all places at once.

Dimensions: B frames, A angles, H height, W width.
"""

from functools import cached_property

import numpy as np
from scipy import ndimage

from training.data.labels.sprite import Sprite

# Angles of the search, and how many of the best are refined.
NUM_ANGLES, CANDIDATES = 48, 4
# Deviation of the blur of the sprite, in pixels, so that no angle between two is missed.
BLUR = 0.7


class Search:
    """Finds one sprite in pictures of one size."""

    def __init__(
        self,
        sprite: Sprite,
        background: np.ndarray,
        num_angles: int = NUM_ANGLES,
        symmetry: int = 1,
    ):
        """Of a sprite before a background (H, W, 3), at so many angles; fewer where it looks the
        same after 1 / `symmetry` of a turn, or (0) however it is turned."""
        self.sprite, self.background = sprite, background.astype(np.float32)
        num_angles = max(1, num_angles // symmetry) if symmetry else 1
        self.angles = np.arange(num_angles) * 2 * np.pi / (num_angles * max(1, symmetry))
        height, width = background.shape[:2]
        margin = int(np.ceil(sprite.reach)) + 1
        self.size = (
            even_beyond(height + margin),
            even_beyond(width + margin),
        )

    @cached_property
    def kernels(self) -> np.ndarray:
        """Transforms of alpha's products with colours: complex64 (A, 9, ...)."""
        soft = self.sprite.blurred(BLUR)
        reach = int(np.ceil(self.sprite.reach)) + 2
        side = 2 * reach + 1
        found = []
        for angle in self.angles:
            alpha, colour = soft.drawn(angle, (side, side))
            square = alpha**2
            # gain = 2 a (C - B).(I - B) - a^2 |C - B|^2, sorted by what it is multiplied with
            parts = np.stack(
                [
                    *(2 * alpha * colour[..., i] for i in range(3)),  # I - B
                    -2 * alpha,  # B.(I - B)
                    -square * (colour**2).sum(-1),  # 1
                    *(2 * square * colour[..., i] for i in range(3)),  # B
                    -square,  # |B|^2
                ]
            )
            padded = np.zeros((len(parts), *self.size), np.float32)
            padded[:, :side, :side] = parts
            padded = np.roll(padded, (-reach, -reach), axis=(1, 2))
            found.append(np.conj(np.fft.rfft2(padded)).astype(np.complex64))
        return np.stack(found)

    def candidates(self, frame: np.ndarray, free: np.ndarray) -> np.ndarray:
        """The likeliest poses in a frame float32 (H, W, 3) where bool (H, W) is free: (K, 3)."""
        background = self.background
        seen = np.where(free[..., None], frame - background, 0)
        behind = np.where(free[..., None], background, 0)
        maps = np.stack(
            [
                *np.moveaxis(seen, -1, 0),
                (seen * behind).sum(-1),
                free.astype(np.float32),
                *np.moveaxis(behind, -1, 0),
                (behind**2).sum(-1),
            ]
        )
        transformed = np.fft.rfft2(maps, s=self.size).astype(np.complex64)
        height, width = frame.shape[:2]
        gains = np.fft.irfft2((self.kernels * transformed).sum(1), s=self.size)[:, :height, :width]
        gains = gains.reshape(len(self.angles), -1)
        places, best = gains.argmax(1), gains.max(1)
        neighbours = np.maximum(np.roll(best, 1), np.roll(best, -1))
        peaks = np.flatnonzero(best >= neighbours)
        peaks = peaks[np.argsort(-best[peaks])][:CANDIDATES]
        return np.stack(
            [places[peaks] % width, places[peaks] // width, self.angles[peaks]], axis=1
        ).astype(np.float64)


def even_beyond(size: int) -> int:
    """The next multiple of 8: quick enough for transforms."""
    return -(-size // 8) * 8


def blurred(pictures: np.ndarray, sigma: float) -> np.ndarray:
    """Pictures (..., H, W, 3) blurred by a Gaussian of `sigma` pixels."""
    deviations = (0,) * (pictures.ndim - 3) + (sigma, sigma, 0)
    return ndimage.gaussian_filter(pictures, deviations, mode="nearest", truncate=2.5)
