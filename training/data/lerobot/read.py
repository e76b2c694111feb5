"""Datasets in LeRobot's formats v2.0, v2.1 and v3.0, read with pyarrow and PyAV.

Time: a row has a frame and the action that was taken there, as many frames as actions. What the
last action of an episode led to was not recorded, so an episode of L rows is one of L frames and
L - 1 actions by our contract; "next.reward" and "next.done" of a row belong to its action, and
those of the last row go to the last transition that is there (rate.py).

Frames are found by their number, not by their time (index.py). They come one by one, so that
memory does not grow with an episode.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.lerobot.features import choose, components
from training.data.lerobot.index import BrokenEpisodeError, LeRobotIndex, Place, read_info
from training.data.lerobot.note import NOTE, read_note
from training.data.lerobot.rate import (
    Commands,
    count_transitions,
    merge_actions,
    merge_outcomes,
    step_for,
)
from training.data.lerobot.rows import LeRobotRows, column_array
from world_model.video import frames_by_number

# A frame that comes so many frames' times after the one before it was waited for.
PAUSE = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class LeRobotEpisode:
    """One episode by our time contract, without its T frames: T - 1 actions.

    Attributes:
        actions: float32 (T - 1, A).
        rewards: float64 (T - 1,), zeros if not recorded.
        terminated: bool (T - 1,), False if not recorded.
        states: low-dimensional observations by name, float64 (T, n).
        tasks: what was to be done, in words.
    """

    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    states: dict[str, np.ndarray]
    tasks: list[str]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is known of an episode once it was looked through."""

    size: tuple[int, int]
    """Height and width of its frames."""
    ended: bool
    """Its last transition is the end of the task."""
    pause: str | None = None
    """Where its video stood still, in words, if it did: frames may be lost there."""


class LeRobotReader:
    """A LeRobot dataset in a directory.

    Args:
        root: Directory with meta/, data/ and videos/.
        camera: Feature with the frames; may be left out if there is one.
        action, reward, done: Features with these.
        states: Features with low-dimensional observations; None for all that are called so.
        fps: Frames a second that are wanted, of those recorded; None for all.
        commands: Whether actions say where to be or how far to move, which decides what a slower
            action is.
        held: Components of actions, by name or position, that are absolute in any case.

    Raises:
        ValueError: No such dataset, another version, or features that it does not have.
    """

    def __init__(
        self,
        root: Path,
        *,
        camera: str | None = None,
        action: str = "action",
        reward: str = "next.reward",
        done: str = "next.done",
        states: Sequence[str] | None = None,
        fps: float | None = None,
        commands: Commands = "absolute",
        held: Sequence[str] = (),
    ):
        self.root = root
        self.info = read_info(root)
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.chosen = choose(
            root,
            self.features,
            camera=camera,
            action=action,
            reward=reward,
            done=done,
            states=states,
        )
        recorded = float(self.info["fps"])
        self.step = step_for(recorded, fps)
        self.fps = recorded / self.step
        self.commands: Commands = commands
        self.held = components(self.features[action], held, "--absolute-components")
        self.note = read_note(root)
        self.is_video = self.features[self.camera]["dtype"] == "video"
        self.index = LeRobotIndex(root, self.info, self.camera if self.is_video else None)
        noted = self.note.get("episodes")
        if noted is not None and len(noted) != self.index.count:
            raise ValueError(
                f"{root / NOTE}: describes {len(noted)} episodes, there are {self.index.count}; "
                "restore it, or delete it to bring the dataset in as anybody's"
            )
        self.rows = LeRobotRows(root, [action, reward, done, *self.chosen.states])

    @property
    def camera(self) -> str:
        """The feature with the frames."""
        return self.chosen.camera

    def __len__(self) -> int:
        return self.index.count

    def num_frames(self, index: int) -> int:
        """How many frames are kept of an episode."""
        return count_transitions(self.index[index].length, self.step) + 1

    def tasks(self, index: int) -> list[str]:
        """What was to be done, in words."""
        return self.index[index].tasks

    def read(self, index: int) -> LeRobotEpisode:
        """Episode `index` without its frames.

        Raises:
            BrokenEpisodeError: Names the file in which something is missing.
        """
        place = self._place(index)
        table = self.rows.read(place)
        length, recorded = place.length, set(table.column_names)
        rewards, done = np.zeros(length), np.zeros(length, bool)
        if self.chosen.reward in recorded:
            rewards = column_array(place.data, table, self.chosen.reward)[:, 0].astype(np.float64)
        if self.chosen.done in recorded:
            done = column_array(place.data, table, self.chosen.done)[:, 0].astype(bool)
        if "episodes" in self.note:  # we wrote it: the last row repeats the one before
            rewards[-1], done[-1] = 0.0, False
        actions = column_array(place.data, table, self.chosen.action).astype(np.float32)
        rewards, done = merge_outcomes(rewards, done, self.step)
        kept = slice(0, len(actions), self.step)
        states = {name: values[kept] for name, values in self._states(place, table).items()}
        return LeRobotEpisode(
            actions=merge_actions(actions, self.step, self.commands, self.held),
            rewards=rewards,
            terminated=done,
            states=states,
            tasks=place.tasks,
        )

    def frames(self, index: int) -> Iterator[np.ndarray]:
        """The kept frames of episode `index`, uint8 (H, W, 3), RGB, one at a time.

        Raises:
            BrokenEpisodeError: Names the file in which something is missing.
        """
        place = self._place(index)
        try:
            if self.is_video:
                times, begin = self.index.frames_of(place)
                assert place.video is not None
                yield from frames_by_number(
                    place.video, times, begin, self.num_frames(index), self.step
                )
            else:
                yield from self._pictures(place)
        except BrokenEpisodeError:
            raise
        except ValueError as error:
            raise BrokenEpisodeError(str(error), "video damaged") from error

    def check(self, index: int) -> Checked:
        """Look for all that can be wrong with an episode, short of decoding its frames.

        Raises:
            BrokenEpisodeError: Something is; names the file.
        """
        place = self._place(index)
        if self.is_video:
            self.index.need_video(place)
        episode = self.read(index)
        named = {self.chosen.action: episode.actions, self.chosen.reward: episode.rewards}
        for name, values in (named | episode.states).items():
            if not np.isfinite(values).all():
                raise BrokenEpisodeError(
                    f"{place.data}: episode {index} has {name!r} that is no finite number",
                    "numbers that are not finite",
                )
        ended = bool(episode.terminated[-1])
        if not self.is_video:
            height, width, _ = next(self._pictures(place)).shape
            return Checked(size=(height, width), ended=ended)
        times, begin = self.index.frames_of(place)
        gaps = np.diff(times.seconds[begin : begin + place.length])
        longest = int(gaps.argmax())
        pause = None
        if gaps[longest] * float(self.info["fps"]) >= PAUSE:
            pause = f"episode {index}: {gaps[longest]:.3f} s from frame {longest} to the next"
        return Checked(size=times.size, ended=ended, pause=pause)

    def _place(self, index: int) -> Place:
        place = self.index[index]
        if count_transitions(place.length, self.step) < 1:
            raise BrokenEpisodeError(
                f"{self.root}: episode {index} has {place.length} frames, expected "
                f"{self.step + 1} or more",
                "too short",
            )
        return place

    def _states(self, place: Place, table: Any) -> dict[str, np.ndarray]:
        found = {
            self.chosen.state_name(name): column_array(place.data, table, name).astype(np.float64)
            for name in self.chosen.states
        }
        sizes = self.note.get("states")
        joined = found.get("state")
        if not sizes or joined is None or sum(sizes.values()) != joined.shape[1]:
            return found
        # We wrote it: our states one after another in "observation.state".
        ends = np.cumsum(list(sizes.values()))[:-1]
        return dict(zip(sizes, np.split(joined, ends, axis=1), strict=True))

    def _pictures(self, place: Place) -> Iterator[np.ndarray]:
        size: tuple[int, ...] = ()
        for cell in self.rows.pictures(place, self.camera, self.step):
            picture = _decode_image(self.root, place, cell)
            size = size or picture.shape
            if picture.shape != size:
                raise BrokenEpisodeError(
                    f"{place.data}: episode {place.index} has pictures of {size[0]} x {size[1]} "
                    f"and of {picture.shape[0]} x {picture.shape[1]}, expected one size",
                    "pictures of unlike size",
                )
            yield picture


def _decode_image(root: Path, place: Place, cell: dict[str, Any]) -> np.ndarray:
    """A picture that lies in the table itself, or in a file of the dataset that it names."""
    import cv2

    content, name = cell.get("bytes") or b"", cell.get("path")
    if not content and isinstance(name, str):
        path = (root / name).resolve()
        if path.is_relative_to(root.resolve()) and path.is_file():
            content = path.read_bytes()
    encoded = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise BrokenEpisodeError(
            f"{place.data}: a picture of episode {place.index} ({name}) cannot be decoded",
            "pictures cannot be decoded",
        )
    return np.ascontiguousarray(image[:, :, ::-1])
