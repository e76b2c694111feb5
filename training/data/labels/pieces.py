"""Connected pieces of what a background does not explain, and the kinds that they come in.

A kind is what shows again and again with the same colour and size: a body, or a part of the robot.
Two bodies that touch make a piece of another kind, which is told by that it shows only where they
do not.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# What is smaller than this is a speck, in pixels.
LEAST_AREA = 6
# Grey levels and logarithms of areas that count as one unit of distance between pieces.
COLOUR_UNIT, AREA_UNIT = 16.0, 0.2
# A kind shows in this share of the frames, at least.
LEAST_SHARE = 0.1
# Pieces of one kind are so many units from its middle, at most.
WITHIN = 2.0


@dataclass(frozen=True, eq=False)
class Piece:
    """A connected region of one frame.

    Attributes:
        frame: number of its frame.
        centre: (x, y), index coordinates of pixels.
        colour: its mean, (3,).
        area: in pixels.
        reach: distance of its farthest pixel from its centre.
        whole: it touches neither the picture's border nor what is left out.
        pixels: its (row, column), (area, 2).
    """

    frame: int
    centre: np.ndarray
    colour: np.ndarray
    area: int
    reach: float
    whole: bool
    pixels: np.ndarray


def find_pieces(
    frames: np.ndarray, foreground: np.ndarray, left_out: np.ndarray | None = None
) -> list[Piece]:
    """Connected regions of `foreground` bool (N, H, W), less what is `left_out`, likewise."""
    pieces = []
    for number, (frame, mask) in enumerate(zip(frames, foreground, strict=True)):
        out = None if left_out is None else left_out[number]
        mask = mask if out is None else mask & ~out
        count, labels, stats, centres = cv2.connectedComponentsWithStats(
            mask.astype(np.uint8), connectivity=8
        )
        grown = None if out is None else cv2.dilate(out.astype(np.uint8), np.ones((3, 3))) > 0
        for i in range(1, count):
            area = int(stats[i, cv2.CC_STAT_AREA])
            if area < LEAST_AREA:
                continue
            rows, columns = np.nonzero(labels == i)
            whole = (
                rows.min() > 0
                and columns.min() > 0
                and rows.max() < mask.shape[0] - 1
                and columns.max() < mask.shape[1] - 1
            )
            if grown is not None:
                whole = whole and not grown[rows, columns].any()
            away = np.hypot(columns - centres[i][0], rows - centres[i][1])
            colour = frame[rows, columns].mean(0)
            pixels = np.stack([rows, columns], axis=1)
            reach = float(away.max())
            pieces.append(Piece(number, centres[i], colour, area, reach, bool(whole), pixels))
    return pieces


def find_kinds(pieces: list[Piece], num_frames: int) -> list[list[Piece]]:
    """Kinds of whole pieces, those that show most often first; each at most once a frame."""
    whole = [piece for piece in pieces if piece.whole]
    least = max(3, LEAST_SHARE * num_frames)
    features = np.array(
        [[*(p.colour / COLOUR_UNIT), np.log(p.area) / AREA_UNIT] for p in whole]
    ).reshape(-1, 4)
    free = np.ones(len(whole), bool)
    kinds: list[list[Piece]] = []
    shown: list[set[int]] = []
    while free.sum() >= least:
        left = features[free]
        some = left[:: max(1, len(left) // 500)]
        distance = np.linalg.norm(some[:, None] - left[None], axis=-1)
        middle = some[(distance < WITHIN / 2).sum(1).argmax()]
        for _ in range(3):
            middle = left[np.linalg.norm(left - middle, axis=1) < WITHIN].mean(0)
        mine = free & (np.linalg.norm(features - middle, axis=1) < WITHIN)
        free &= ~mine
        if mine.sum() < least:
            if not mine.any():
                break
            continue
        kind = [whole[i] for i in np.flatnonzero(mine)]
        frames = {piece.frame for piece in kind}
        # Where two bodies touch, neither shows alone.
        alone = all(
            len(frames & others) > 0.3 * len(frames) * len(others) / num_frames for others in shown
        )
        if alone:
            kinds.append(kind)
            shown.append(frames)
    return kinds


def free_of_others(piece: Piece, foreground: np.ndarray) -> np.ndarray:
    """Pixels that show the piece or the background, and are beside nothing else: bool (H, W)."""
    others = foreground.copy()
    others[piece.pixels[:, 0], piece.pixels[:, 1]] = False
    return cv2.dilate(others.astype(np.uint8), np.ones((3, 3))) == 0
