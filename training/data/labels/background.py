"""The background of a fixed camera: for each pixel the colour that it shows most often.

Dimensions: N frames, H height, W width.
"""

from dataclasses import dataclass

import numpy as np

# A mode is the middle of the window of so many grey levels to both sides that holds most frames.
MODE_WINDOW = 4
# Grey levels by which something is told from the background, at least, and in deviations of noise.
LEAST_CONTRAST, NOISE_CONTRAST = 12.0, 6.0
# Of the pixels of half of the frames, the background must explain this share.
EXPLAINED = 0.7
# The least share of frames that must show the background, in nine pixels of ten.
SEEN = 0.35


@dataclass(frozen=True, eq=False)
class Background:
    """What is seen where nothing moves.

    Attributes:
        picture: float32 (H, W, 3), grey levels from 0 to 255.
        noise: deviation of a pixel that shows it, in grey levels.
        explained: share of a frame's pixels that show it, the median over frames.
        seen: share of frames that show it, of the pixel at the lowest tenth.
    """

    picture: np.ndarray
    noise: float
    explained: float
    seen: float

    @property
    def contrast(self) -> float:
        """Grey levels, in any channel, by which a pixel shows something else."""
        return max(LEAST_CONTRAST, NOISE_CONTRAST * self.noise)

    def foreground(self, frames: np.ndarray) -> np.ndarray:
        """Pixels of frames (..., H, W, 3) that show something else, bool (..., H, W)."""
        return np.abs(frames.astype(np.float32) - self.picture).max(-1) > self.contrast

    def check(self) -> None:
        """Raise ValueError unless there is a background that frames have in common."""
        if self.explained >= EXPLAINED and self.seen >= SEEN:
            return
        raise ValueError(
            "the frames have no constant background: half of them differ from it by more than "
            f"{self.contrast:.0f} grey levels in {1 - self.explained:.0%} of their pixels (at most "
            f"{1 - EXPLAINED:.0%} can be labelled), and a tenth of the pixels show it in fewer "
            f"than {self.seen:.0%} of the frames (at least {SEEN:.0%}). Bodies are only found "
            "before a fixed camera: label recordings of one camera position, or train without "
            "--hidden"
        )


def noise_between(frames: np.ndarray) -> float:
    """Deviation of a pixel's noise, grey levels: half of the pixels of successive frames uint8
    (T, H, W, 3) show the same thing twice."""
    steps = np.abs(np.diff(frames.astype(np.int16), axis=0))
    if not steps.size:
        return 0.0
    # The median of whole levels is too coarse: as many are above it as below, by interpolation.
    counts = np.bincount(steps.ravel(), minlength=2).cumsum() / steps.size
    level = int(np.searchsorted(counts, 0.5))
    below = counts[level - 1] if level else 0.0
    median = level - 0.5 + (0.5 - below) / (counts[level] - below) if level else 0.0
    return float(1.4826 * median / np.sqrt(2))


def fit_background(frames: np.ndarray, noise: float) -> Background:
    """The background of uint8 (N, H, W, 3), of as many episodes as there are, and their noise."""
    count, height = len(frames), frames.shape[1]
    picture = np.empty(frames.shape[1:], np.float32)
    levels = np.arange(256)
    low = np.clip(levels - MODE_WINDOW, 0, 256)
    high = np.clip(levels + MODE_WINDOW + 1, 0, 256)
    for row in range(height):  # so that a large picture's histograms do not fill the memory
        values = frames[:, row].reshape(count, -1).astype(np.int64)  # (N, W * 3)
        pixels = values.shape[1]
        histogram = np.bincount(
            (values + 256 * np.arange(pixels)).ravel(), minlength=256 * pixels
        ).reshape(pixels, 256)
        sums = np.pad(histogram.cumsum(1), ((0, 0), (1, 0)))
        best = (sums[:, high] - sums[:, low]).argmax(1)
        near = np.abs(levels - best[:, None]) <= MODE_WINDOW
        weights = histogram * near
        picture[row] = ((weights * levels).sum(1) / weights.sum(1)).reshape(-1, 3)
    background = Background(picture, noise, 1.0, 1.0)
    shown = ~background.foreground(frames)
    return Background(
        picture,
        noise,
        float(np.median(shown.mean((1, 2)))),
        float(np.quantile(shown.mean(0), 0.1)),
    )
