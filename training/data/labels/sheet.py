"""A sheet of pictures for a person: frames with the outlines of what was found in them."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from training.data.labels.scene import Scene
from training.data.labels.scene_file import write_png
from training.data.labels.sprite import FINE, Sprite, turn
from training.data.labels.track import Track

# Pictures of a sheet: half of them the worst, half evenly from all. So many beside each other.
PICTURES, ACROSS = 24, 6
# Height of a picture on the sheet, and of the line below it, in pixels.
TALL, LINE = 288, 16
COLOURS = ((230, 30, 30), (20, 150, 40), (160, 40, 200), (220, 130, 0))


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture of a sheet, and how badly it is explained."""

    badness: float
    frame: np.ndarray
    where: str
    poses: np.ndarray
    labelled: np.ndarray
    visible: np.ndarray


@dataclass(eq=False)
class Sheet:
    """Collects frames of all episodes, and draws some."""

    scene: Scene
    worst: list[Shown] = field(default_factory=list)
    others: list[Shown] = field(default_factory=list)

    def add(self, where: str, frames: np.ndarray, tracks: list[Track]) -> None:
        """Take an episode into account."""
        typical = np.sqrt([body.error for body in self.scene.bodies])
        badness = np.max(
            [track.residual / usual for track, usual in zip(tracks, typical, strict=True)], axis=0
        )
        for t in {int(badness.argmax()), len(frames) // 2}:
            shown = Shown(
                float(badness[t]),
                frames[t].copy(),
                f"{where} frame {t}",
                np.stack([track.poses[t] for track in tracks]),
                np.array([track.labelled[t] for track in tracks]),
                np.array([track.visible[t] for track in tracks]),
            )
            (self.worst if t == int(badness.argmax()) else self.others).append(shown)
        self.worst = sorted(self.worst, key=lambda one: -one.badness)[: PICTURES // 2]

    def write(self, path: Path) -> None:
        """Draw it."""
        count = PICTURES - len(self.worst)
        step = max(1, len(self.others) // count)
        chosen = [*self.worst, *self.others[::step][:count]]
        tiles = [self._tile(one) for one in chosen]
        if not tiles:
            return
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % min(ACROSS, len(tiles)))
        across = min(ACROSS, len(tiles))
        rows = [np.concatenate(tiles[i : i + across], axis=1) for i in range(0, len(tiles), across)]
        write_png(path, np.concatenate(rows))

    def _tile(self, shown: Shown) -> np.ndarray:
        zoom = max(1, round(TALL / len(shown.frame)))
        picture = cv2.resize(shown.frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
        words = shown.where
        for number, body in enumerate(self.scene.bodies):
            found = bool(shown.labelled[number])
            words += f"  {shown.visible[number]:.2f}" if found else "  not found"
            if found:
                draw_outline(
                    picture, body.sprite, shown.poses[number], zoom, COLOURS[number % len(COLOURS)]
                )
        line = np.full((LINE, picture.shape[1], 3), 255, np.uint8)
        cv2.putText(line, words, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
        tile = np.concatenate([picture, line])
        return np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255)


def draw_outline(
    picture: np.ndarray, sprite: Sprite, pose: np.ndarray, zoom: int, colour: tuple[int, int, int]
) -> None:
    """Draw a sprite's outline and its own x direction into a picture `zoom` times the frame."""
    half = (len(sprite.alpha) - 1) / 2
    outlines, _ = cv2.findContours(
        (sprite.alpha > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    lines = [(outline[:, 0] - half) / FINE for outline in outlines]
    arrow = np.array([[0.0, 0.0], [0.5 * sprite.reach, 0.0]])
    for places, closed in (*((line, True) for line in lines), (arrow, False)):
        at = (turn(places, pose[2]) + pose[:2] + 0.5) * zoom
        shifted = np.rint(at * 16 - 8).astype(np.int32)  # of a sixteenth of a pixel
        cv2.polylines(picture, [shifted], closed, colour, 1, cv2.LINE_AA, 4)
