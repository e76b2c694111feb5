"""From recorded episodes to the config and the starts of a world."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from training.data.clips import ClipStore
from training.data.environment import Bounds, collected_pictures, inspect_environment
from training.data.episodes import list_episodes, read_annotation, read_episode
from training.streaming.config import TrainConfig
from world_model import Start, Starts, StreamingConfig
from world_model.config import CodecConfig, GroundTruthConfig, KeysConfig, ObservationConfig
from world_model.streaming.config import DenoiserConfig, SamplerConfig
from world_model.streaming.states.config import PlaneConfig
from world_model.tasks import find_task


class Described(Protocol):
    """What a run says of its world, beside what its episodes do."""

    @property
    def data(self) -> Path: ...

    @property
    def name(self) -> str: ...

    @property
    def action_names(self) -> tuple[str, ...]: ...

    @property
    def success_on_termination(self) -> bool: ...

    @property
    def max_episode_steps(self) -> int | None: ...


def describe_data(config: Described, store: ClipStore) -> tuple[dict[str, Any], dict[str, Bounds]]:
    """What every engine's config says of episodes, and the spaces of their environment.

    Bounds of actions and observations are those of the environment's spaces if the episodes name
    one that can be made here, else the range of the data. Observations hold hidden states too.
    """
    annotation = read_annotation(config.data, "train", store.episode_ids[0])
    known = inspect_environment(annotation["env_id"], annotation.get("env_kwargs", {}))
    spaces = known.bounds if known is not None else {}
    # An episode's first frame has no action that led to it.
    acted = np.setdiff1d(np.arange(len(store.actions)), store.offsets[:-1])
    low, high = spaces.get("action") or data_bounds(store.actions.cpu().numpy()[acted])
    bounds = {
        name: spaces.get(name) or data_bounds(values.cpu().numpy())
        for name, values in store.states.items()
    }
    rewards = store.rewards[~store.rewards.isnan()]
    rewarded = bool((rewards != 0).any())
    if not rewarded:
        print(
            "all recorded rewards are 0: the world will know no reward and no end of an episode "
            "(info['reward_available'] is False); give it a reward_fn where one is needed"
        )
    _, height, width, _ = store.frames.shape
    task = find_task(annotation["env_id"]) if annotation["env_id"] else None
    described = {
        "name": config.name,
        "height": height,
        "width": width,
        "fps": float(annotation["fps"]),
        "action_low": low,
        "action_high": high,
        "action_names": config.action_names,
        "choices": None if known is None else known.choices,
        "observations": {
            name: ObservationConfig(low=low, high=high) for name, (low, high) in bounds.items()
        },
        "reward_head": rewarded,
        "reward_low": min(0.0, float(rewards.min())) if rewarded else 0.0,
        "reward_high": max(1e-6, float(rewards.max())) if rewarded else 1.0,
        "success_on_termination": config.success_on_termination,
        "max_episode_steps": config.max_episode_steps,
        "ground_truth": (
            None
            if known is None
            else GroundTruthConfig(
                env_id=annotation["env_id"],
                kwargs=annotation.get("env_kwargs", {}),
                **collected_pictures(config.data),
            )
        ),
        "keys": KeysConfig() if task is None else task.keys,
    }
    return described, spaces


def describe_world(config: TrainConfig, store: ClipStore, codec: CodecConfig) -> StreamingConfig:
    """The config of the streaming world that a training run makes; see `describe_data`."""
    described, spaces = describe_data(config, store)
    states: dict[str, ObservationConfig] = described["observations"]
    if config.points:
        low, high = picture_edges(config, spaces, store)
        edges = ObservationConfig(low=low, high=high)
        states |= {name: edges for name in config.points if name != "action"}
        turned = ObservationConfig(low=(*low, -1.0, -1.0), high=(*high, 1.0, 1.0))
        states |= dict.fromkeys(config.poses, turned)
        if "action" in config.points:
            described |= {"action_low": low, "action_high": high}
    described["observations"] = {k: v for k, v in states.items() if k not in config.hidden}
    return StreamingConfig(
        **described,
        hidden={name: states[name] for name in config.hidden},
        plane=PlaneConfig(
            action="action" in config.points,
            points=tuple(name for name in config.points if name != "action"),
            poses=config.poses,
            reach=config.reach,
        ),
        codec=codec,
        denoiser=DenoiserConfig(
            patch=config.patch,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            context=config.context,
            sees_states=config.sees_states and bool(states),
            reader_looks=config.reader_looks if states else 0,
        ),
        sampler=SamplerConfig(
            num_steps=config.num_steps,
            noise_scale=config.noise_scale,
            dead_zone=config.dead_zone,
        ),
    )


def picture_edges(config: TrainConfig, spaces: dict[str, Bounds], store: ClipStore) -> Bounds:
    """Left and top, right and bottom of the picture, in the units of what lies in it.

    Raises:
        ValueError: A point is none of the observations, or nothing says where the edges are.
    """
    for name in config.points:
        if name != "action" and name not in store.states:
            raise ValueError(
                f"--points {name}: no such observation; there are {', '.join(store.states)}, and "
                "the word action"
            )
    if config.plane is not None:
        return config.plane[:2], config.plane[2:]
    unknown = [name for name in config.points if name not in spaces]
    if unknown:
        raise ValueError(
            f"--points {unknown[0]}: its space is not known, so neither are the picture's edges; "
            "say --plane LEFT TOP RIGHT BOTTOM in its units"
        )
    return spaces[config.points[0]]


def take_starts(root: Path, split: str, num_frames: int, limit: int) -> Starts:
    """The first frames of a split's episodes, with the seed and actions that lead there, if any.

    An episode's last frame is left out: where it begins, nothing would be left to happen.
    """
    starts = []
    for episode_id in list_episodes(root, split)[:limit]:
        episode = read_episode(root, split, episode_id)
        count = min(num_frames, len(episode.actions))
        actions = episode.actions[: count - 1]
        starts.append(
            Start(
                frames=episode.frames[:count],
                actions=actions,
                states={k: v[:count].astype(np.float32) for k, v in episode.states.items()},
                seed=episode.seed,
                replay=None if episode.seed is None else actions,
                episode_id=f"{split}/{episode_id}",
            )
        )
    return Starts(starts)


def data_bounds(values: np.ndarray) -> Bounds:
    """Range of data (n, k), a little widened.

    What never changes has no range; a hundredth of its size is taken, or of 1 where it is smaller.
    """
    values = values.astype(np.float64)
    low, high = values.min(0), values.max(0)
    size = np.maximum(np.abs(low), np.abs(high))
    # Of changes that float32 hardly tells apart, too.
    still = high - low <= 1e-5 * size
    margin = np.where(still, 0.01 * np.maximum(size, 1), 0.02 * (high - low))
    return tuple(map(float, low - margin)), tuple(map(float, high + margin))
