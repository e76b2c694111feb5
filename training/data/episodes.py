"""Recorded episodes on disk, in the layout of IRASim's published data.

    root/annotation/{split}/ID.json      actions and what else is known about the episode
    root/videos/{split}/ID.mp4           its frames, without loss

Time contract: `frames[t]` is the frame before `actions[t]`, which leads to `frames[t + 1]`;
`rewards[t]` and `terminated[t]` belong to that transition. N actions go with N + 1 frames.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from world_model.io.json_files import parse_json
from world_model.io.whole_files import whole_file, write_whole
from world_model.video import read_video, video_encoder

SPLITS = ("train", "val", "test")
# In bytes: a file's name may have 255, and a temporary one adds to it.
LONGEST_ID = 200
# The policy of episodes that do not say whose they are.
RECORDED = "recorded"


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeNumbers:
    """What an episode of N actions holds besides its N + 1 frames; all numbers are finite.

    Attributes:
        episode_id: name of its files, without a path.
        actions: float32 (N, A), in the environment's own units, as they were stepped.
        rewards: float64 (N,).
        terminated: bool (N,).
        states: low-dimensional observations by name, float64 (N + 1, n).
        hidden: what else the simulator says of its state, which no observation shows, likewise.
        seed: of the environment's reset; with the actions it replays the episode. None where there
            is nothing to replay, as with the recordings of a real robot.
        env_id, env_kwargs: what `gymnasium.make` was given; None where it was no such environment.
        policy: kind of the policy that acted.
        fps: frames a second.

    Raises:
        ValueError: An array or a label is of another form, or holds what is no finite number.
    """

    episode_id: str
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    states: dict[str, np.ndarray] = field(default_factory=dict)
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    seed: int | None = None
    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    policy: str = RECORDED
    fps: float

    def __post_init__(self):
        name = f"episode {self.episode_id}"
        check_id(self.episode_id)
        _check_numbers(name, self.actions, self.rewards, self.terminated, self.states | self.hidden)
        for key, value in labels_of(name, vars(self)).items():
            object.__setattr__(self, key, value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode(EpisodeNumbers):
    """One recorded episode, its frames with it.

    Attributes:
        frames: uint8 (N + 1, H, W, 3), RGB.

    Raises:
        ValueError: As `EpisodeNumbers`, or the frames are of another form or number.
    """

    frames: np.ndarray

    def __post_init__(self):
        super().__post_init__()
        _check_frames(f"episode {self.episode_id}", self.frames, self.actions)


def check_id(episode_id: Any) -> None:
    """Raise ValueError unless this can be the name of an episode's files."""
    if (
        not isinstance(episode_id, str)
        or not episode_id.isprintable()
        or "/" in episode_id
        or episode_id.startswith(".")
        or not 0 < len(episode_id.encode()) <= LONGEST_ID
    ):
        raise ValueError(f"episode_id is {str(episode_id)[:300]!r}, expected a file's name")


def annotation_path(root: str | Path, split: str, episode_id: str) -> Path:
    """Where an episode's annotation lies."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    return Path(root) / "annotation" / split / f"{episode_id}.json"


def video_path(root: str | Path, split: str, episode_id: str) -> Path:
    """Where an episode's video lies."""
    return Path(root) / "videos" / split / f"{episode_id}.mp4"


def list_episodes(root: str | Path, split: str) -> list[str]:
    """Ids of the complete episodes of a split, sorted."""
    return sorted(path.stem for path in annotation_path(root, split, "x").parent.glob("[!.]*.json"))


def write_episode(root: str | Path, split: str, episode: Episode) -> None:
    """Write an episode, in place of one of that id: all of it, or else what was there stays.

    Raises:
        ValueError: `env_kwargs` hold what JSON does not.
    """
    write_streamed(root, split, episode, [episode.frames])


def write_streamed(
    root: str | Path, split: str, episode: EpisodeNumbers, parts: Iterable[np.ndarray]
) -> None:
    """As `write_episode`, for frames that come in parts, uint8 (T, H, W, 3), and are let go.

    Both files are complete under temporary names before either takes its place. Then an annotation
    that is there goes, the video comes, and the annotation comes last: killed in between, the
    episode is absent; never are one episode's frames beside another's actions.

    Raises:
        ValueError: `env_kwargs` hold what JSON does not, or the frames are not one more than the
            actions; and whatever the parts raise.
    """
    annotation = annotation_path(root, split, episode.episode_id)
    video = video_path(root, split, episode.episode_id)
    content = {
        "episode_id": episode.episode_id,
        "video_path": str(video.relative_to(root).as_posix()),
        "policy": episode.policy,
        "seed": episode.seed,
        "env_id": episode.env_id,
        "env_kwargs": episode.env_kwargs,
        "fps": episode.fps,
        "actions": episode.actions.tolist(),
        "rewards": episode.rewards.tolist(),
        "terminated": episode.terminated.tolist(),
        "states": {name: values.tolist() for name, values in episode.states.items()},
        "hidden": {name: values.tolist() for name, values in episode.hidden.items()},
    }
    text = _json_text(annotation, content)
    with _whole_episode(annotation, video) as (new_annotation, new_video):
        new_annotation.write_text(text)
        count = 0
        with video_encoder(new_video, episode.fps, name=video) as write:
            for part in parts:
                write(part)
                count += len(part)
        if count != len(episode.actions) + 1:
            raise ValueError(_wrong_count(f"episode {episode.episode_id}", count, episode.actions))


def place_episode(
    root: str | Path, split: str, episode_id: str, annotation: bytes, video: bytes
) -> None:
    """As `write_episode`, for the contents of both files of an episode that was written elsewhere.

    Raises:
        ValueError: There is no such split.
    """
    paths = (path(root, split, episode_id) for path in (annotation_path, video_path))
    with _whole_episode(*paths) as (new_annotation, new_video):
        new_annotation.write_bytes(annotation)
        new_video.write_bytes(video)


@contextmanager
def _whole_episode(annotation: Path, video: Path) -> Iterator[tuple[Path, Path]]:
    """Temporary names for both files, which take their places as `write_streamed` says."""
    annotation.parent.mkdir(parents=True, exist_ok=True)
    video.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(annotation) as new_annotation, whole_file(video) as new_video:
        yield new_annotation, new_video
        annotation.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, all of it or none.

    Raises:
        ValueError: The content holds what JSON does not; names the file.
    """
    write_whole(path, _json_text(path, content))


def _json_text(path: Path, content: dict[str, Any]) -> str:
    try:
        return json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be written as JSON ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, such as an annotation, as it is on disk.

    Raises:
        ValueError: The file is missing, no JSON, or no JSON object.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    content = parse_json(text, path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a JSON {type(content).__name__}, expected an object")
    return content


def read_annotation(root: str | Path, split: str, episode_id: str) -> dict[str, Any]:
    """An episode's annotation as it is on disk, without its video; what it may leave out is filled.

    Raises:
        ValueError: The annotation is missing, is no JSON object, or lacks a key.
    """
    path = annotation_path(root, split, episode_id)
    content = read_json(path)
    required = ("actions", "rewards", "terminated", "fps")
    missing = [key for key in required if key not in content]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}")
    return {"seed": None, "env_id": None, "policy": RECORDED, **content}


def read_record(
    root: str | Path, split: str, episode_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All of an episode but its frames: its arrays and its labels, as `Episode` names them.

    Keys of the annotation that are not known here are left alone.

    Raises:
        ValueError: Names the file: annotation missing or unreadable, lists of wrong length, or
            values that are null, not finite or of another type than `Episode` says.
    """
    path = annotation_path(root, split, episode_id)
    content = read_annotation(root, split, episode_id)
    try:
        with np.errstate(over="ignore"):  # what overflows is not finite, which is checked
            actions = np.asarray(content["actions"]).astype(np.float32, casting="same_kind")
        rewards = np.asarray(content["rewards"])
        terminated = np.asarray(content["terminated"])
        states, hidden = (
            {name: np.asarray(values) for name, values in content.get(kind, {}).items()}
            for kind in ("states", "hidden")
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: lists of uneven length or of no numbers ({error})") from error
    _check_numbers(str(path), actions, rewards, terminated, states | hidden)
    arrays = {
        "actions": actions,
        "rewards": rewards.astype(np.float64),
        "terminated": terminated.astype(bool),
        "states": {name: values.astype(np.float64) for name, values in states.items()},
        "hidden": {name: values.astype(np.float64) for name, values in hidden.items()},
    }
    named = content.get("video_path", f"videos/{split}/{episode_id}.mp4")
    return arrays, labels_of(str(path), content) | {"video": file_of(root, named, path)}


def file_of(root: str | Path, named: Any, source: Path) -> Path:
    """Where the file lies that an annotation names, within its dataset.

    Raises:
        ValueError: It is no file's name, or leads out of the dataset.
    """
    if not isinstance(named, str) or not named or not named.isprintable():
        raise ValueError(f"{source}: names the file {named!r}, expected a path in the dataset")
    path = os.path.normpath(os.path.join(root, named))
    if not Path(path).is_relative_to(os.path.normpath(root)):
        raise ValueError(
            f"{source}: names the file {named!r}, which leads out of the dataset {root}; move the "
            "file there, or put a link to it there"
        )
    return Path(root) / named


def read_episode(root: str | Path, split: str, episode_id: str) -> Episode:
    """An episode with its frames.

    Raises:
        ValueError: As `read_record`; or its video is missing, unreadable, or not of one frame more
            than there are actions.
    """
    path = annotation_path(root, split, episode_id)
    arrays, labels = read_record(root, split, episode_id)
    video = labels.pop("video")
    if not video.is_file():
        raise ValueError(f"{video}: missing, though {path} describes it; restore it or delete both")
    try:
        frames = read_video(video)
    except ValueError as error:
        raise ValueError(
            f"{error}; restore it, or delete it and {path}: the same `irasim collect` then records "
            "that episode again"
        ) from error
    _check_frames(str(video), frames, arrays["actions"])
    return Episode(episode_id=episode_id, frames=frames, **arrays, **labels)


def _check_numbers(
    name: str,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    states: dict[str, np.ndarray],
) -> None:
    """Shapes by the time contract; numbers, all of them finite."""
    if actions.ndim != 2 or not actions.size:
        raise ValueError(f"{name}: actions have shape {actions.shape}, expected (N, A)")
    count = len(actions)
    for key, values in (("rewards", rewards), ("terminated", terminated)):
        if values.shape != (count,):
            raise ValueError(f"{name}: {key} have shape {values.shape}, expected ({count},)")
    for key, values in states.items():
        if values.ndim != 2 or len(values) != count + 1:
            raise ValueError(
                f"{name}: states {key!r} have shape {values.shape}, expected ({count + 1}, n)"
            )
    named = {"actions": actions, "rewards": rewards}
    named |= {f"states {key!r}": values for key, values in states.items()}
    for key, values in named.items():
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            cure = "; write 0 where a reward is unknown" if key == "rewards" else ""
            raise ValueError(
                f"{name}: {key} hold what is no finite number (null, NaN or text){cure}"
            )
    # bool, or 0 and 1
    if terminated.dtype.kind not in "biuf" or not np.isin(terminated, (0, 1)).all():
        raise ValueError(f"{name}: terminated holds something else than true and false")


def labels_of(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Seed, environment, policy and rate of an episode, as Python's own types."""
    seed, fps = content.get("seed"), content["fps"]
    if seed is not None and (
        not isinstance(seed, int | float | np.integer | np.floating)
        or isinstance(seed, bool)
        or seed % 1 != 0
    ):
        raise ValueError(f"{name}: seed is {seed!r}, expected a whole number")
    if not isinstance(fps, int | float | np.integer | np.floating) or not (
        fps > 0 and math.isfinite(fps)
    ):
        raise ValueError(f"{name}: fps is {fps!r}, expected a positive number")
    env_id, policy = content.get("env_id"), content.get("policy", RECORDED)
    for key, text in (("env_id", env_id), ("policy", policy)):
        if not isinstance(text, str) and not (key == "env_id" and text is None):
            raise ValueError(f"{name}: {key} is {text!r}, expected text")
    env_kwargs = content.get("env_kwargs", {})
    if not isinstance(env_kwargs, dict):
        raise ValueError(f"{name}: env_kwargs are {env_kwargs!r}, expected arguments by name")
    return {
        "seed": None if seed is None else int(seed),
        "env_id": env_id,
        "env_kwargs": env_kwargs,
        "policy": policy,
        "fps": float(fps),
    }


def _wrong_count(name: str, count: int, actions: np.ndarray) -> str:
    return f"{name}: {count} frames for {len(actions)} actions, expected {len(actions) + 1}"


def _check_frames(name: str, frames: np.ndarray, actions: np.ndarray) -> None:
    if len(frames) != len(actions) + 1:
        raise ValueError(_wrong_count(name, len(frames), actions))
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"{name}: frames are {frames.dtype} {frames.shape}, expected uint8 (T, H, W, 3)"
        )
