"""Recorded episodes on disk, in the layout of IRASim's published data.

    root/annotation/{split}/ID.json      actions and what else is known about the episode
    root/videos/{split}/ID.mp4           its frames, without loss

Time contract: `frames[t]` is what is seen before `actions[t]`, which leads to `frames[t + 1]`;
`rewards[t]` and `terminated[t]` belong to that transition. N actions go with N + 1 frames.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from world_model.video import read_video, write_video

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One recorded episode: N actions, N + 1 frames.

    Attributes:
        frames: uint8 (N + 1, H, W, 3), RGB.
        actions: float32 (N, A), in the environment's own units, as they were stepped.
        rewards: float64 (N,).
        terminated: bool (N,).
        states: low-dimensional observations by name, float64 (N + 1, n).
        hidden: what else the simulator says of its state, which no observation shows, likewise.
        seed: of the environment's reset; with the actions it replays the episode.
        env_id, env_kwargs: what `gymnasium.make` was given.
        policy: kind of the policy that acted.
        fps: frames a second.
    """

    episode_id: str
    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    states: dict[str, np.ndarray] = field(default_factory=dict)
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    seed: int
    env_id: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    policy: str
    fps: float

    def __post_init__(self):
        _check_lengths(
            f"episode {self.episode_id}",
            self.actions,
            self.rewards,
            self.terminated,
            self.states | self.hidden,
        )
        _check_frames(f"episode {self.episode_id}", self.frames, self.actions)


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
    """Write an episode: the video first and the annotation last, each complete or absent."""
    annotation = annotation_path(root, split, episode.episode_id)
    video = video_path(root, split, episode.episode_id)
    annotation.parent.mkdir(parents=True, exist_ok=True)
    video.parent.mkdir(parents=True, exist_ok=True)
    write_video(video, episode.frames, episode.fps)
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
    write_json(annotation, content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, all of it or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, allow_nan=False))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, such as an annotation, as it is on disk.

    Raises:
        ValueError: The file is missing, no JSON, or no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: is not readable as JSON ({error}); delete it or restore it"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a JSON {type(content).__name__}, expected an object")
    return content


def read_annotation(root: str | Path, split: str, episode_id: str) -> dict[str, Any]:
    """An episode's annotation as it is on disk, without its video.

    Raises:
        ValueError: The annotation is missing, is no JSON object, or lacks a key.
    """
    path = annotation_path(root, split, episode_id)
    content = read_json(path)
    required = ("actions", "rewards", "terminated", "seed", "env_id", "policy", "fps")
    missing = [key for key in required if key not in content]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}")
    return content


def read_episode(root: str | Path, split: str, episode_id: str) -> Episode:
    """An episode with its frames; keys of the annotation that are not known here are left alone.

    Raises:
        ValueError: Names the file: annotation missing or unreadable, video missing, unreadable, or
            not of one frame more than there are actions, lists of wrong length.
    """
    path = annotation_path(root, split, episode_id)
    content = read_annotation(root, split, episode_id)
    video = Path(root) / content.get("video_path", video_path("", split, episode_id))
    if not video.is_file():
        raise ValueError(f"{video}: missing, though {path} describes it; restore it or delete both")
    try:
        actions = np.asarray(content["actions"], dtype=np.float32)
        rewards = np.asarray(content["rewards"], dtype=np.float64)
        terminated = np.asarray(content["terminated"], dtype=bool)
        states, hidden = (
            {
                name: np.asarray(values, dtype=np.float64)
                for name, values in content.get(kind, {}).items()
            }
            for kind in ("states", "hidden")
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: lists of uneven length or of no numbers ({error})") from error
    _check_lengths(str(path), actions, rewards, terminated, states | hidden)
    frames = read_video(video)
    _check_frames(str(video), frames, actions)
    return Episode(
        episode_id=episode_id,
        frames=frames,
        actions=actions,
        rewards=rewards,
        terminated=terminated,
        states=states,
        hidden=hidden,
        seed=int(content["seed"]),
        env_id=content["env_id"],
        env_kwargs=content.get("env_kwargs", {}),
        policy=content["policy"],
        fps=float(content["fps"]),
    )


def _check_lengths(
    name: str,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    states: dict[str, np.ndarray],
) -> None:
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


def _check_frames(name: str, frames: np.ndarray, actions: np.ndarray) -> None:
    if len(frames) != len(actions) + 1:
        raise ValueError(
            f"{name}: {len(frames)} frames for {len(actions)} actions, expected {len(actions) + 1}"
        )
