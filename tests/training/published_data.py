"""Small datasets in the published layout, in which frames, states and actions tell their time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.irasim.datasets import DataConfig
from world_model.video import write_video

STEP = np.array([1.0, 2.0, 4.0, 3.0, 1.0, 2.0, 5.0, 6.0])


def positions(num_frames: int, offset: float = 0.0) -> np.ndarray:
    """Where something is at each frame: (T,), by steps of uneven size."""
    steps = STEP[np.arange(num_frames - 1) % len(STEP)]
    return offset + np.concatenate([[0.0], np.cumsum(steps)])


def make_frames(values: np.ndarray, height: int = 16, width: int = 24) -> np.ndarray:
    """Frames whose grey level is the value: uint8 (T, H, W, 3)."""
    levels = values.astype(np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (len(values), height, width, 3)).copy()


def make_latents(values: np.ndarray) -> torch.Tensor:
    """Latents whose every number is the value: float32 (T, 4, 2, 3)."""
    return torch.from_numpy(values).float()[:, None, None, None].expand(-1, 4, 2, 3).clone()


def save(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def annotate(root: Path, split: str, episode_id: str, annotation: dict[str, Any]) -> Path:
    path = root / "annotation" / split / f"{episode_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(annotation))
    return path


def write_plane(
    root: Path, episode_id: str = "a", num_frames: int = 20, split: str = "train"
) -> Path:
    """An episode in Language-Table's form; actions are (step, -step)."""
    values = positions(num_frames)
    video = root / "videos" / split / f"{episode_id}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    write_video(video, make_frames(values), 10)
    latents = f"latent_videos/{split}/{episode_id}.pt"
    save(root / latents, {"obs": make_latents(values)})
    steps = np.diff(values)
    annotation = {
        "episode_id": episode_id,
        "actions": np.stack([steps, -steps], axis=1).tolist(),
        "video_path": f"videos/{split}/{episode_id}.mp4",
        "latent_video_path": latents,
    }
    return annotate(root, split, episode_id, annotation)


def write_arm(
    root: Path, episode_id: str = "7", num_frames: int = 20, split: str = "train", cameras: int = 1
) -> Path:
    """An episode in the form of RT-1 and Bridge: moves along x, the gripper is t / 100.

    Camera c shows x + 10 c.
    """
    values = positions(num_frames)
    for camera in range(cameras):
        video = root / "videos" / split / episode_id / f"rgb{camera}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        write_video(video, make_frames(values + 10 * camera), 5)
        latents = root / "latent_videos" / split / episode_id / f"{camera}.pt"
        save(latents, make_latents(values + 10 * camera))
    annotation = {
        "episode_id": episode_id,
        "state": [[x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0] for x in values],
        "continuous_gripper_state": [t / 100 for t in range(num_frames)],
        "videos": [
            {"video_path": f"videos/{split}/{episode_id}/rgb{c}.mp4"} for c in range(cameras)
        ],
        "latent_videos": [
            {"latent_video_path": f"latent_videos/{split}/{episode_id}/{c}.pt"}
            for c in range(cameras)
        ],
    }
    return annotate(root, split, episode_id, annotation)


def plane(root: Path, **changes: Any) -> DataConfig:
    """Direct actions, unscaled; windows of 5 frames, from videos as recorded."""
    base: dict[str, Any] = {"source": "video", "action_scale": (1.0, 1.0), "num_frames": 5}
    return DataConfig(root=root, kind="direct", **(base | changes))


def arm(root: Path, **changes: Any) -> DataConfig:
    """As `plane`, of an arm."""
    base: dict[str, Any] = {"source": "video", "action_scale": (1.0,) * 7, "num_frames": 5}
    return DataConfig(root=root, kind="arm", **(base | changes))
