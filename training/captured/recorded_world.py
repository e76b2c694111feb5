"""A world's config and starts from plain recordings (recorders.py), and a picture of its work."""

import json
from pathlib import Path

import cv2
import numpy as np

from training.captured.config import GpuTrainConfig
from training.captured.recorders import Arrays, states_of
from training.data.clips import ClipStore
from training.data.environment import environment_bounds
from training.data.record import make_env
from training.streaming.describe import world_config
from training.streaming.validate import Validation
from world_model import Start, Starts, StreamingConfig
from world_model.config import GroundTruthConfig


def describe(config: GpuTrainConfig, store: ClipStore) -> StreamingConfig:
    """The config of the world that a run makes; see `describe.describe_world`."""
    kwargs = json.loads(config.collect_env_kwargs)
    spaces = environment_bounds(str(config.collect_env), kwargs)
    rewards = store.rewards[~store.rewards.isnan()]
    return world_config(
        config,
        store,
        spaces,
        store.actions.cpu().numpy(),
        fps=frames_per_second(config),
        reward_head=bool(rewards.min() < rewards.max()),
        reward_low=min(0.0, float(rewards.min())),
        reward_high=max(1e-6, float(rewards.max())),
        ground_truth=GroundTruthConfig(env_id=str(config.collect_env), kwargs=kwargs),
    )


def frames_per_second(config: GpuTrainConfig) -> float:
    """Of the environment that is recorded, as it says itself."""
    env = make_env(str(config.collect_env), json.loads(config.collect_env_kwargs))
    try:
        return float(env.metadata.get("render_fps", 10))
    finally:
        env.close()


def first_clips(config: GpuTrainConfig, episodes: list[Arrays]) -> Starts:
    """The first frames of episodes, with the seed and actions that lead there."""
    starts = []
    for arrays in episodes[: config.max_starts]:
        frames = arrays["frames"][: config.start_frames]
        actions = arrays["actions"][: len(frames) - 1]
        states = {k: v[: len(frames)].astype(np.float32) for k, v in states_of(arrays).items()}
        seed = int(arrays["seed"])
        starts.append(
            Start(
                frames=frames,
                actions=actions,
                states=states,
                seed=seed,
                replay=actions,
                episode_id=f"val/{seed}",
            )
        )
    return Starts(starts)


def write_strip(result: Validation, path: Path, count: int = 4) -> None:
    """Some episodes at a few moments, true above predicted, as a PNG."""
    last = result.true.shape[1] - 1
    wanted = (0, 1, 4, 8, 16, 32)
    moments = [t for t in (result.num_given - 1 + step for step in wanted) if t <= last]
    rows = []
    for true, predicted in zip(result.true[:count], result.predicted[:count], strict=True):
        rows += [np.concatenate(list(clip[moments]), axis=1) for clip in (true, predicted)]
    picture = np.concatenate(rows).repeat(2, 0).repeat(2, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise ValueError(f"{path} cannot be written")
