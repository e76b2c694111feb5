"""Annotations of the published layout: what one says of its episode, checked as it is read.

Dimension key: N actions, T = N + 1 frames, A action components.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from training.data.episodes import file_of
from training.data.irasim.arm import arm_actions
from training.data.irasim.datasets import DataConfig

# An annotation's keys for a single camera and for several, and the entry's key in the latter.
CONTENT_KEYS = {
    "video": ("video_path", "videos", "video_path"),
    "latents": ("latent_video_path", "latent_videos", "latent_video_path"),
}
MISSING_CURE = {
    "video": "restore the annotation",
    "latents": "encode the videos with `irasim encode`, or read them with source 'video'",
}


def content_path(
    path: Path, annotation: dict[str, Any], source: Literal["video", "latents"], camera: int | str
) -> str:
    """Where the episode's video or latents lie, relative to the dataset's root.

    Raises:
        ValueError: The annotation names none, or not this camera.
    """
    single, several, entry_key = CONTENT_KEYS[source]
    if several in annotation:
        entries = annotation[several]
        known = cameras(path, annotation, source)
        if camera not in known:
            raise ValueError(f"{path}: camera {camera!r} of {several!r} asked for, it has {known}")
        entry = entries[camera]
        found = entry.get(entry_key) if isinstance(entry, dict) else entry
    elif single in annotation and camera != 0:
        raise ValueError(f"{path}: camera {camera!r} asked for, it has one camera only: 0")
    else:
        found = annotation.get(single)
    if found is None or found == "":
        raise ValueError(
            f"{path}: names no {source} file (keys {single!r}, {several!r}); {MISSING_CURE[source]}"
        )
    file_of(path.parents[2], found, path)
    return found


def recorded(path: Path, annotation: dict[str, Any], kind: Literal["direct", "arm"]) -> np.ndarray:
    """What actions are made of, float64.

    Returns:
        direct: actions (N, A). arm: states (T, 7): x y z, roll pitch yaw, gripper.

    Raises:
        ValueError: It is missing, or of wrong shape.
    """
    if kind == "direct":
        actions = _numbers(path, annotation, "actions")
        if actions.ndim != 2 or not actions.size:
            raise ValueError(f"{path}: 'actions' have shape {actions.shape}, expected (N, A)")
        return actions
    states = _numbers(path, annotation, "state")
    gripper = _numbers(path, annotation, "continuous_gripper_state")
    if states.ndim != 2 or states.shape[1] < 6 or len(states) < 2:
        raise ValueError(
            f"{path}: 'state' has shape {states.shape}, expected (T, 6 or more), T at least 2"
        )
    if gripper.shape != (len(states),):
        raise ValueError(
            f"{path}: 'continuous_gripper_state' has shape {gripper.shape}, expected one number "
            f"a state, ({len(states)},)"
        )
    return np.concatenate([states[:, :6], gripper[:, None]], axis=1)


def num_frames(recorded: np.ndarray, kind: Literal["direct", "arm"]) -> int:
    """How many frames the episode must have, T."""
    return len(recorded) + (kind == "direct")


def window_actions(
    recorded: np.ndarray, config: DataConfig, begin: int, num_frames: int
) -> np.ndarray:
    """Scaled actions between the frames of a window, float32 (num_frames - 1, A)."""
    if config.kind == "direct":
        actions = recorded[begin : begin + num_frames - 1]
    else:
        states = recorded[begin : begin + num_frames]
        actions = arm_actions(states[:, :6], states[:, 6], accumulate=config.accumulate)
    return (actions * np.asarray(config.action_scale)).astype(np.float32)


def _numbers(path: Path, annotation: dict[str, Any], key: str) -> np.ndarray:
    if key not in annotation:
        raise ValueError(
            f"{path}: lacks {key!r}; it has {', '.join(sorted(annotation)) or 'no keys'}"
        )
    try:
        numbers = np.asarray(annotation[key], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path}: {key!r} are lists of uneven length or no numbers ({error})"
        ) from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: {key!r} holds numbers that are not finite")
    return numbers


def with_latents(path: Path, annotation: dict[str, Any]) -> dict[str, Any]:
    """The annotation with a file of latents named for each of its videos, as published.

    A single video's latents are latent_videos/{split}/ID.pt, those of several
    latent_videos/{split}/ID/CAMERA.pt; names that are there already are kept.
    """
    single, several, key = CONTENT_KEYS["latents"]
    base = f"latent_videos/{path.parent.name}/{path.stem}"
    if several in annotation or single in annotation:
        return annotation
    if "videos" not in annotation:
        return {**annotation, single: f"{base}.pt"}
    if isinstance(annotation["videos"], dict):
        return {
            **annotation,
            several: {name: {key: f"{base}/{name}.pt"} for name in annotation["videos"]},
        }
    paths = [{key: f"{base}/{camera}.pt"} for camera in cameras(path, annotation)]
    return {**annotation, several: paths}


def cameras(
    path: Path, annotation: dict[str, Any], source: Literal["video", "latents"] = "video"
) -> list[int | str]:
    """What `camera` may be for this annotation: 0 where it has a single one.

    Raises:
        ValueError: There is something else where entries of cameras belong.
    """
    _, several, _ = CONTENT_KEYS[source]
    entries = annotation.get(several, [None])
    if not isinstance(entries, dict | list):
        raise ValueError(
            f"{path}: {several!r} is a {type(entries).__name__}, expected an entry for each camera"
        )
    return list(entries) if isinstance(entries, dict) else list(range(len(entries)))
