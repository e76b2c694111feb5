"""A scatter plot of measured points with their intervals, as a PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIDE, MARGIN, LEGEND = 640, 80, 320  # pixels: the plot, around it, beside it
BLACK, GREY, LIGHT = (0, 0, 0), (128, 128, 128), (224, 224, 224)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A named point; both coordinates in [0, 1]."""

    name: str
    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]


def write_scatter(
    path: Path, points: Sequence[Point], *, x_label: str, y_label: str, title: str
) -> None:
    """Draw points in the unit square with their intervals, the diagonal, and their names beside."""
    height, width = SIDE + 2 * MARGIN, SIDE + 2 * MARGIN + LEGEND
    picture = np.full((height, width, 3), 255, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(MARGIN + x * SIDE), round(MARGIN + (1 - y) * SIDE)

    def line(begin: tuple[int, int], end: tuple[int, int], colour: tuple, thick: int = 1) -> None:
        cv2.line(picture, begin, end, colour, thick, cv2.LINE_AA)

    def write(text: str, place: tuple[int, int], colour: tuple = BLACK, size: float = 0.5) -> None:
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)

    for tick in np.linspace(0, 1, 6):
        line(at(tick, 0), at(tick, 1), LIGHT)
        line(at(0, tick), at(1, tick), LIGHT)
        x, y = at(tick, 0)
        write(f"{tick:.1f}", (x - 12, y + 22))
        x, y = at(0, tick)
        write(f"{tick:.1f}", (x - 36, y + 5))
    line(at(0, 0), at(1, 1), GREY)
    cv2.rectangle(picture, at(0, 1), at(1, 0), GREY, 1)
    colours = _colours(len(points))
    for number, (point, colour) in enumerate(zip(points, colours, strict=True), 1):
        line(at(point.x_interval[0], point.y), at(point.x_interval[1], point.y), colour)
        line(at(point.x, point.y_interval[0]), at(point.x, point.y_interval[1]), colour)
        cv2.circle(picture, at(point.x, point.y), 6, colour, -1, cv2.LINE_AA)
        x, y = at(point.x, point.y)
        write(str(number), (x + 8, y - 8), colour)
        place = (MARGIN + SIDE + 30, MARGIN + 24 * number)
        write(f"{number} {point.name}", place, colour)
    write(title, (MARGIN, 36), size=0.6)
    write(x_label, (MARGIN, SIDE + MARGIN + 52))
    turned = np.full((24, SIDE, 3), 255, np.uint8)
    cv2.putText(turned, y_label, (0, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, BLACK, 1, cv2.LINE_AA)
    picture[MARGIN : MARGIN + SIDE, 8:32] = np.rot90(turned)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise ValueError(f"{path}: could not be written; is the directory writable?")


def _colours(count: int) -> list[tuple[int, int, int]]:
    """Colours (BGR) that differ, dark enough for white paper."""
    hues = (np.arange(count) * 180 / max(count, 1)).astype(np.uint8)
    hsv = np.stack([hues, np.full(count, 255), np.full(count, 176)], axis=-1).astype(np.uint8)
    bgr = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2BGR)[0]
    return [(int(blue), int(green), int(red)) for blue, green, red in bgr]
