"""The side of an upright body, which a camera that looks aslant sees below its top.

A pixel shows the side where the body's outline lies at a place farther from the camera's foot, up
to a share `tall` of the distance from there: that is how much farther the body's own foot appears
in the plane of its top.

Dimensions: B frames, H height, W width, P pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Places at which the outline is looked for between top and foot.
STEPS = 4
# Two colours are those of a top and a side from so many grey levels between them, each of this
# share of the body's pixels.
APART, LEAST_SHARE = 40.0, 0.1
# Grey levels that a mixture of background, top and side leaves, at most.
MIXED = 40.0


@dataclass(frozen=True, eq=False)
class Side:
    """How a body's side looks.

    Attributes:
        colour: Grey levels, (3,).
        tall: Its height, as a share of that of the camera over its top.
        foot: Place below the camera, in index coordinates of the rectified picture's pixels, (2,).
    """

    colour: np.ndarray
    tall: float
    foot: np.ndarray

    def behind(self, x: np.ndarray, y: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The places in the plane of the top below which pixels x, y show the body at a share of
        its height, counted from the top."""
        reach = share * self.tall
        return x + reach * (x - self.foot[0]), y + reach * (y - self.foot[1])

    def length(self, places: np.ndarray) -> np.ndarray:
        """How long it looks at places (..., 2), in pixels."""
        return self.tall * np.linalg.norm(places - self.foot, axis=-1)


def top_and_side(
    frames: np.ndarray, shown: np.ndarray, foot: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Colours (3,) of a body's top and side; None where it has one colour.

    Args:
        frames: uint8 (B, H, W, 3).
        shown: Where they show the body, bool (B, H, W).
        foot: As `Side` has it.
    """
    inside = np.stack([cv2.erode(one.astype(np.uint8), np.ones((3, 3))) > 0 for one in shown])
    colours = frames[inside].astype(np.float32)
    if len(colours) < 10:
        return None
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 30, 0.5)
    labels, middles = cv2.kmeans(colours, 2, np.empty(0, np.int32), stop, 3, cv2.KMEANS_PP_CENTERS)[
        1:
    ]
    first = labels.ravel() == 0
    if np.linalg.norm(middles[0] - middles[1]) < APART:
        return None
    if not LEAST_SHARE < first.mean() < 1 - LEAST_SHARE:
        return None
    frame, y, x = np.nonzero(inside)
    away = np.hypot(x - foot[0], y - foot[1])
    counts = [np.bincount(frame, mask, minlength=len(frames)) for mask in (first, ~first)]
    sums = [np.bincount(frame, mask * away, minlength=len(frames)) for mask in (first, ~first)]
    both = (counts[0] > 0) & (counts[1] > 0)
    if not both.any():
        return None
    farther = (sums[0][both] / counts[0][both] > sums[1][both] / counts[1][both]).mean() > 0.5
    typical = [np.median(colours[mask], axis=0) for mask in (first, ~first)]
    top, side = typical if farther else typical[::-1]
    return top, side


def without_side(
    frames: np.ndarray, background: np.ndarray, top: np.ndarray, side: np.ndarray
) -> np.ndarray:
    """Frames uint8 (B, H, W, 3) with the background in place of a body's side, float32.

    Each pixel is taken for a mixture of top, side and background; what is none stays.
    """
    seen, behind = frames.astype(np.float32), background.astype(np.float32)
    over, shade, change = top - behind, side - behind, seen - behind
    # Least squares of the two shares.
    oo, ss, os = (dot(a, b) for a, b in ((over, over), (shade, shade), (over, shade)))
    oc, sc = dot(over, change), dot(shade, change)
    area = np.maximum(oo * ss - os**2, 1e-3 * oo * ss + 1e-6)
    of_top, of_side = (oc * ss - sc * os) / area, (sc * oo - oc * os) / area
    alone = (sc / np.maximum(ss, 1e-6)).clip(0, 1)
    of_side = np.where(of_top < 0, alone, of_side).clip(0, 1)
    of_top = of_top.clip(0, 1)
    total = np.maximum(of_top + of_side, 1)
    of_top, of_side = (of_top / total)[..., None], (of_side / total)[..., None]
    left = change - of_top * over - of_side * shade
    mixed = dot(left, left) < MIXED**2
    return np.where(mixed[..., None], seen - of_side * shade, seen)


def dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of colours (..., 3) and (..., 3): (...)."""
    return (first * second).sum(-1)
