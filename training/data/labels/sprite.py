"""A sprite: what a rigid body looks like, with how much of each place it covers.

It is finer than the picture, since it is made of many frames in which the body lies at other
places and directions, and holds the camera's blur. A frame is then

    frame(p) = background(p) + alpha(u) (colour(u) - background(p)),   u = R(-angle) (p - place).

Places are in index coordinates: the middle of a picture's pixel (i, j) is at x = j, y = i; what is
written to a data set adds 0.5. Angles turn from x to y, which is clockwise as pictures are shown.

Dimensions: B frames, P pixels of all of them, G cells along a sprite's side.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from training.data.labels.side import STEPS, Side

# Cells a pixel.
FINE = 4
# Numbers a cell: alpha and its slopes, colours and theirs.
TABLE = 12
# Alpha below this is nothing.
LEAST_ALPHA = 0.04
# How much a cell's colour is held to that of the nearest cell that is all the body's.
COLOUR_PRIOR = 0.05


@dataclass(frozen=True, eq=False)
class Sprite:
    """Alpha float32 (G, G) from 0 to 1 and colour float32 (G, G, 3), grey levels."""

    alpha: np.ndarray
    colour: np.ndarray
    side: Side | None = None
    """Of an upright body before a camera that looks aslant; the sprite is then its top."""

    @property
    def radius(self) -> float:
        """Half of its side, in pixels."""
        return (len(self.alpha) - 1) / 2 / FINE

    @cached_property
    def reach(self) -> float:
        """How far from the middle it covers anything, in pixels."""
        rows, columns = np.nonzero(self.alpha > LEAST_ALPHA)
        middle = (len(self.alpha) - 1) / 2
        away = np.hypot(rows - middle, columns - middle)
        return float(away.max()) / FINE if len(away) else 0.0

    @cached_property
    def area(self) -> float:
        """Pixels that it covers."""
        return float(self.alpha.sum()) / FINE**2

    @cached_property
    def table(self) -> np.ndarray:
        """Alpha, its slopes along x and y, colour, its slopes: float32 (G * G, TABLE)."""
        slopes = [np.gradient(self.alpha, axis=axis) * FINE for axis in (1, 0)]
        tints = [np.gradient(self.colour, axis=axis) * FINE for axis in (1, 0)]
        parts = [self.alpha[..., None], slopes[0][..., None], slopes[1][..., None]]
        parts += [self.colour, *tints]
        return np.concatenate(parts, axis=-1).reshape(-1, TABLE).astype(np.float32)

    @cached_property
    def away(self) -> np.ndarray:
        """How far each cell is from what it covers, in pixels, (G, G)."""
        return np.asarray(ndimage.distance_transform_edt(self.alpha <= LEAST_ALPHA)) / FINE

    def near(self, margin: float) -> np.ndarray:
        """Cells within a margin, in pixels, of what it covers: bool (G, G)."""
        return self.away <= margin

    def blurred(self, sigma: float) -> "Sprite":
        """As it looks in a picture blurred by a Gaussian of `sigma` pixels."""
        pad = int(np.ceil(2 * sigma)) * FINE
        alpha = np.pad(self.alpha, pad)
        tinted = np.pad(self.colour * self.alpha[..., None], ((pad, pad), (pad, pad), (0, 0)))
        alpha_blurred = ndimage.gaussian_filter(alpha, sigma * FINE)
        tinted = ndimage.gaussian_filter(tinted, (sigma * FINE, sigma * FINE, 0))
        colour = tinted / np.maximum(alpha_blurred, 1e-3)[..., None]
        return replace(self, alpha=alpha_blurred, colour=colour)

    def at(self, places: np.ndarray) -> np.ndarray:
        """The table at places (P, 2) of its own coordinates, bilinear; nothing outside: (P, 12)."""
        side = len(self.alpha)
        cells = places * FINE + (side - 1) / 2
        inside = np.all((cells >= 0) & (cells < side - 1.001), axis=1)
        cells = np.where(inside[:, None], cells, 0).astype(np.float32)
        corner = cells.astype(np.int32)
        share_x, share_y = (cells - corner).T[..., None]
        first = corner[:, 1] * side + corner[:, 0]
        table = self.table
        above = table[first] * (1 - share_x) + table[first + 1] * share_x
        first = first + side
        below = table[first] * (1 - share_x) + table[first + 1] * share_x
        found = above * (1 - share_y) + below * share_y
        found[~inside] = 0
        return found

    def side_at(
        self, x: np.ndarray, y: np.ndarray, poses: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How much pixels x, y (P,) show of the side of bodies at poses (P, 3), one each.

        Returns:
            Alpha (P,), its slopes in the sprite's own coordinates (P, 2), and where that is in them
            (P, 2).
        """
        assert self.side is not None
        side, middle = len(self.alpha), (len(self.alpha) - 1) / 2
        cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        dx, dy = x - poses[:, 0], y - poses[:, 1]
        # Along the body's own axes the way from the camera's foot, by which places are sought.
        far_x, far_y = self.side.behind(x, y, 1.0)
        far_x, far_y = far_x - x, far_y - y
        at_x, at_y = cos * dx + sin * dy, cos * dy - sin * dx
        way_x, way_y = cos * far_x + sin * far_y, cos * far_y - sin * far_x
        best, cell = np.full(len(x), -1.0, np.float32), np.zeros(len(x), np.int32)
        share = np.zeros(len(x), np.float32)
        alpha = self.alpha.reshape(-1)
        for step in range(1, STEPS + 1):
            part = step / STEPS
            columns = ((at_x + part * way_x) * FINE + (middle + 0.5)).astype(np.int32)
            rows = ((at_y + part * way_y) * FINE + (middle + 0.5)).astype(np.int32)
            inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
            cells = np.where(inside, rows * side + columns, 0)
            found = np.where(inside, alpha[cells], 0)
            more = found > best
            best = np.where(more, found, best)
            cell, share = np.where(more, cells, cell), np.where(more, part, share)
        slopes = np.where((best > 0)[:, None], self.table[cell, 1:3], 0)
        places = np.stack([at_x + share * way_x, at_y + share * way_y], axis=1)
        return best, slopes, places

    def drawn(self, angle: float, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Alpha (H, W) and colour (H, W, 3) with its middle at (W // 2, H // 2)."""
        height, width = size
        y, x = np.mgrid[:height, :width]
        offsets = np.stack([x - width // 2, y - height // 2], axis=-1).reshape(-1, 2)
        found = self.at(turn(offsets, -angle))
        return found[:, 0].reshape(size), found[:, 3:6].reshape(*size, 3)

    def principal(self) -> np.ndarray:
        """Its centroid and longer axis, the heavier end at the axis' negative side: (x, y, angle).

        A sprite of no longer axis keeps its direction, but for half a turn.
        """
        middle = (len(self.alpha) - 1) / 2
        rows, columns = np.nonzero(self.alpha > LEAST_ALPHA)
        weights = self.alpha[rows, columns].astype(np.float64)
        places = (np.stack([columns, rows], axis=1) - middle) / FINE
        centroid = np.average(places, axis=0, weights=weights)
        sizes, axes = np.linalg.eigh(np.cov((places - centroid).T, aweights=weights))
        angle = 0.0
        if sizes[1] > 1.1 * sizes[0]:
            angle = float(np.arctan2(axes[1, 1], axes[0, 1]))
        for axis in (0, 1):  # the first that tells one end from the other
            local = turn(places - centroid, -angle)[:, axis]
            skew = np.average(local**3, weights=weights) / np.sqrt(sizes[1]) ** 3
            if abs(skew) > 0.05:
                angle += np.pi if skew < 0 else 0.0
                break
        return np.array([*centroid, (angle + np.pi) % (2 * np.pi) - np.pi])


def turn(places: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """Places (..., 2) turned about the origin by angles (...), from x to y."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = places[..., 0], places[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def build_sprite(
    frames: np.ndarray,
    background: np.ndarray,
    free: np.ndarray,
    poses: np.ndarray,
    radius: float,
    *,
    contrast: float,
    smooth: float = 0.8,
) -> Sprite:
    """The sprite that explains frames in which a body lies at known poses, by least squares.

    Args:
        frames: uint8 (B, H, W, 3).
        background: float32 (H, W, 3), or one for each frame (B, H, W, 3).
        free: bool (B, H, W): pixels that show nothing but this body and the background.
        poses: (B, 3).
        radius: Of the sprite, in pixels.
        contrast: Grey levels that tell a body from the background.
        smooth: Deviation over which cells are averaged, in cells.
    """
    half = int(np.ceil(radius * FINE))
    side = 2 * half + 1
    cells, seen, behind = _samples(frames, background, free, poses, half)

    def total(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(cells, values, minlength=side * side).reshape(side, side)
        return ndimage.gaussian_filter(sums, smooth, mode="constant")

    def totals(values: np.ndarray) -> np.ndarray:
        return np.stack([total(values[:, i]) for i in range(values.shape[1])], axis=-1)

    count = np.maximum(total(np.ones(len(cells))), 1e-6)
    known = count > 0.02
    differs = total((np.abs(seen - behind).max(1) > contrast).astype(float)) / count
    surely = ndimage.binary_erosion((differs > 0.9) & known, iterations=FINE // 2)
    if not surely.any():
        surely = (differs > 0.5) & known
    nearest = _spread(totals(seen) / count[..., None], np.asarray(surely))
    colour, alpha = nearest, np.zeros((side, side))
    for round_ in range(2):
        difference = colour.reshape(-1, 3)[cells] - behind
        alpha = total(((seen - behind) * difference).sum(1)) / np.maximum(
            total((difference**2).sum(1)), 1e-6 * count
        )
        alpha = np.where(known, alpha, 0).clip(0, 1)
        if round_ == 0:
            share = alpha.reshape(-1)[cells]
            wanted = totals(share[:, None] * (seen - (1 - share)[:, None] * behind))
            prior = COLOUR_PRIOR * count
            colour = (wanted + prior[..., None] * nearest) / (total(share**2) + prior)[..., None]
            colour = colour.clip(0, 255)
    # What does not hang together with the body is none of it.
    labels = np.empty(alpha.shape, np.int32)
    if ndimage.label(alpha > 0.3, output=labels):
        sizes = np.bincount(labels.ravel(), alpha.ravel())
        sizes[0] = 0
        body = ndimage.binary_dilation(labels == sizes.argmax(), iterations=FINE)
        alpha = np.where(body, alpha, 0)
    alpha = np.where(alpha > LEAST_ALPHA, alpha, 0)
    return Sprite(alpha.astype(np.float32), _spread(colour, alpha > 0.5).astype(np.float32))


def _samples(
    frames: np.ndarray, background: np.ndarray, free: np.ndarray, poses: np.ndarray, half: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all pixels near the body: its cell, the colour seen and that of the background."""
    side = 2 * half + 1
    height, width = frames.shape[1:3]
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x, y], axis=-1)
    cells, seen, behind = [], [], []
    backgrounds = np.broadcast_to(background, frames.shape)
    for frame, under, usable, pose in zip(frames, backgrounds, free, poses, strict=True):
        local = np.rint(turn(pixels - pose[:2], -pose[2]) * FINE).astype(int) + half
        inside = usable & ((local >= 0) & (local < side)).all(-1)
        local = local[inside]
        cells.append(local[:, 1] * side + local[:, 0])
        seen.append(frame[inside].astype(np.float64))
        behind.append(under[inside].astype(np.float64))
    return np.concatenate(cells), np.concatenate(seen), np.concatenate(behind)


def _spread(colour: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours (G, G, 3), where they are not known that of the nearest cell where they are."""
    if not known.any():
        return colour
    rows, columns = np.asarray(
        ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    )
    return colour[rows, columns]
