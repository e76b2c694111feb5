"""A camera that looks aslant at the plane in which the robot moves, found from the video.

Some colour of the robot, such as that of its tip, lies where the observation says: its pixels
against the observed places give the camera. Pictures are then taken into the plane, in which a
body's top is rigid. Planes at other heights are the same picture but for a scale about the
camera's foot, the place in the plane below it, so the height of the top need not be known.

Dimensions: N frames, H height, W width, P places.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares

# Colours that the foreground is divided into, and pixels that these are found from.
COLOURS, COLOUR_PIXELS = 16, 30000
# A region of one colour is looked at from so many pixels on.
LEAST_AREA = 4
# A colour is the robot's where its places are, in so large a share of the frames in which it shows,
# within so many pixels of where the observation says, and shows in so large a share of the frames.
SHARE, NEAR, SHOWN = 0.75, 0.75, 0.5
# How far beyond the observed places the plane is looked at, as a share of their range.
BEYOND = 0.2


@dataclass(frozen=True, eq=False)
class Camera:
    """From pictures to the plane.

    Attributes:
        homography: Index coordinates of a picture's pixel (x, y, 1) to the plane's units, (3, 3).
        left, top: Of the rectified picture, in the plane's units.
        scale: Units a rectified pixel.
        size: Of the rectified picture (H, W).
        foot: The place in the plane that lies below the camera, in index coordinates of rectified
            pixels, (2,).
        off: Median distance of the robot's places from where it is seen, in pixels.
        state: Name of the observation that says where the robot is.
    """

    homography: np.ndarray
    left: float
    top: float
    scale: float
    size: tuple[int, int]
    foot: np.ndarray
    off: float
    state: str

    @property
    def to_picture(self) -> np.ndarray:
        """Index coordinates of rectified pixels to those of the picture, (3, 3)."""
        to_plane = np.array(
            [
                [self.scale, 0, self.left + self.scale / 2],
                [0, self.scale, self.top + self.scale / 2],
                [0, 0, 1],
            ]
        )
        return np.linalg.inv(self.homography) @ to_plane

    def rectify(self, frames: np.ndarray) -> np.ndarray:
        """Pictures uint8 (N, H, W, 3) as seen from above: (N, *size, 3)."""
        height, width = self.size
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.stack(
            [
                cv2.warpPerspective(
                    frame,
                    self.to_picture,
                    (width, height),
                    flags=how,
                    borderMode=cv2.BORDER_REPLICATE,
                )
                for frame in frames
            ]
        )

    def seen(self, size: tuple[int, int]) -> np.ndarray:
        """Rectified pixels that lie in pictures (H, W): bool."""
        height, width = self.size
        y, x = np.mgrid[:height, :width]
        places = project(self.to_picture, np.stack([x, y], axis=-1))
        inside = (places >= 0) & (places <= np.array(size)[::-1] - 1)
        return np.asarray(inside.all(-1))


def project(homography: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places (..., 2) through a homography (3, 3)."""
    found = places @ homography[:, :2].T + homography[:, 2]
    return found[..., :2] / found[..., 2:]


def find_camera(
    frames: np.ndarray, foreground: np.ndarray, observations: dict[str, np.ndarray]
) -> Camera | None:
    """The camera; None where no colour follows an observation of two numbers in perspective.

    Args:
        frames: uint8 (N, H, W, 3).
        foreground: What is not background, bool (N, H, W).
        observations: By name, (N, Q) each.
    """
    known = {name: values for name, values in observations.items() if values.shape[1] == 2}
    best: tuple[float, str, np.ndarray, np.ndarray] | None = None
    for rows, pixels in _regions(frames, foreground) if known else ():
        for name, values in known.items():
            if len(rows) < SHOWN * len(frames) or (values[rows].std(0) < 1e-9).any():
                continue
            homography = fit_homography(values[rows], pixels)
            off = np.linalg.norm(project(homography, values[rows]) - pixels, axis=1)
            if np.quantile(off, SHARE) < NEAR and (best is None or np.median(off) < best[0]):
                best = (float(np.median(off)), name, rows, pixels)
    if best is None:
        return None
    _, name, rows, pixels = best
    return _camera(known[name][rows], pixels, frames.shape[1:3], name)


def _regions(frames: np.ndarray, foreground: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each colour of the foreground: numbers of the frames that show it, and the middle (x, y)
    of its largest region there."""
    colours = frames[foreground].astype(np.float32)
    if len(colours) < COLOURS:
        return []
    cv2.setRNGSeed(0)
    some = colours[np.random.default_rng(0).permutation(len(colours))[:COLOUR_PIXELS]]
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    middles = cv2.kmeans(some, COLOURS, np.empty(0, np.int32), stop, 2, cv2.KMEANS_PP_CENTERS)[2]
    which = np.full(foreground.shape, -1)
    distances = [((colours - middle) ** 2).sum(1) for middle in middles]
    which[foreground] = np.argmin(distances, axis=0)
    found = []
    for colour in range(COLOURS):
        rows, places = [], []
        for row, one in enumerate(which):
            mask = (one == colour).astype(np.uint8)
            _, _, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
            sizes = stats[1:, cv2.CC_STAT_AREA]
            if len(sizes) and sizes.max() >= LEAST_AREA:
                rows.append(row)
                places.append(centres[1 + sizes.argmax()])
        found.append((np.array(rows, int), np.array(places).reshape(-1, 2)))
    return found


def fit_homography(places: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """From places (P, 2) in the plane to pixels (P, 2), by least absolute distances: (3, 3)."""
    mean, scale = places.mean(0), places.std(0)
    x, y = ((places - mean) / scale).T
    u, v = pixels.T
    nothing, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, nothing, nothing, nothing, -u * x, -u * y], axis=1),
            np.stack([nothing, nothing, nothing, x, y, one, -v * x, -v * y], axis=1),
        ]
    )
    wanted, weights = np.concatenate([u, v]), np.ones(len(x))
    found = np.eye(3)
    for _ in range(20):
        twice = np.tile(weights, 2)
        solved = np.linalg.lstsq(rows * twice[:, None], wanted * twice, rcond=None)[0]
        found = np.append(solved, 1.0).reshape(3, 3)
        away = np.linalg.norm(project(found, np.stack([x, y], axis=1)) - pixels, axis=1)
        weights = np.sqrt(1 / np.maximum(away, 0.1))
    centred = np.diag([*(1 / scale), 1.0])
    centred[:2, 2] = -mean / scale
    return found @ centred


def _camera(
    places: np.ndarray, pixels: np.ndarray, size: tuple[int, int], state: str
) -> Camera | None:
    """The camera of square pixels, its axis through the middle of pictures (H, W), that sees places
    (P, 2) at pixels (P, 2); None where nothing tells how it is turned."""
    middle = (np.array(size)[::-1] - 1) / 2
    first = fit_homography(places, pixels - middle)
    begin = _pose(first)
    if begin is None:
        return None
    focal, turn, shift = begin

    def seen(parameters: np.ndarray) -> np.ndarray:
        axes = cv2.Rodrigues(parameters[1:4])[0]
        matrix = np.stack([axes[:, 0], axes[:, 1], parameters[4:]], axis=1)
        return np.diag([np.exp(parameters[0]), np.exp(parameters[0]), 1.0]) @ matrix

    def away(parameters: np.ndarray) -> np.ndarray:
        return (project(seen(parameters), places) + middle - pixels).ravel()

    start = np.array([np.log(focal), *cv2.Rodrigues(turn)[0].ravel(), *shift])
    found = least_squares(away, start, loss="soft_l1", f_scale=0.2, x_scale="jac").x
    forward = seen(found)
    forward[:2] += middle[:, None] * forward[2]
    homography = np.linalg.inv(forward)
    homography /= homography[2, 2]
    off = float(np.median(np.linalg.norm(away(found).reshape(-1, 2), axis=1)))
    eye = -cv2.Rodrigues(found[1:4])[0].T @ found[4:]
    low, high = places.min(0), places.max(0)
    low, high = low - BEYOND * (high - low), high + BEYOND * (high - low)
    # As fine as the picture is where it is seen best, in the middle.
    at = (low + high) / 2
    step = 1e-3 * (high - low).max()
    slopes = (project(forward, at + step * np.eye(2)) - project(forward, at)) / step
    scale = 1 / float(np.linalg.svd(slopes)[1].max())
    shape = np.ceil((high - low) / scale).astype(int)
    return Camera(
        homography,
        float(low[0]),
        float(low[1]),
        scale,
        (int(shape[1]), int(shape[0])),
        (eye[:2] - low) / scale - 0.5,
        off,
        state,
    )


def _pose(homography: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Focal length, rotation (3, 3) and shift (3,) of a camera by its homography from a plane to
    pixels from the picture's middle: the plane's axes are of one length and at right angles."""
    h = homography / np.linalg.norm(homography[:, 0])
    known = np.array([h[0, 0] * h[0, 1] + h[1, 0] * h[1, 1], *[0.0]])
    known[1] = h[0, 0] ** 2 + h[1, 0] ** 2 - h[0, 1] ** 2 - h[1, 1] ** 2
    wanted = -np.array([h[2, 0] * h[2, 1], h[2, 0] ** 2 - h[2, 1] ** 2])
    inverse = float(known @ wanted / max(known @ known, 1e-12))
    if not inverse > 0:
        return None
    focal = inverse**-0.5
    columns = np.diag([1 / focal, 1 / focal, 1.0]) @ h
    columns /= np.linalg.norm(columns[:, :2], axis=0).mean()
    if columns[2, 2] < 0:  # the plane lies before the camera
        columns = -columns
    axes = np.stack([columns[:, 0], columns[:, 1], np.cross(columns[:, 0], columns[:, 1])], axis=1)
    left, _, right = np.linalg.svd(axes)
    return focal, left @ right, columns[:, 2]
