"""From recorded episodes to the config and the starts of a world."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.data.clips import ClipStore
from training.data.environment import Bounds, collected_pictures, inspect_environment
from training.data.episodes import list_episodes, read_annotation, read_episode
from training.data.labels.plane import LabelledPlane, labelled_plane
from training.streaming.config import TrainConfig
from training.streaming.proxy import proxy_config
from world_model import Start, Starts, StreamingConfig
from world_model.config import CodecConfig, GroundTruthConfig, KeysConfig, ObservationConfig
from world_model.streaming.config import DenoiserConfig, SamplerConfig
from world_model.streaming.states.config import PlanarConfig, ProxyConfig, StatesConfig
from world_model.tasks import find_task


def describe_world(config: TrainConfig, store: ClipStore, codec: CodecConfig) -> StreamingConfig:
    """The config of the world that a training run makes.

    Bounds of actions and observations are those of the environment's spaces if the episodes name
    one that can be made here, else the range of the data.
    """
    spaces, actions, own = describe_episodes(config.data, store)
    return world_config(config, store, spaces, actions, codec=codec, **own)


def describe_episodes(
    data: Path, store: ClipStore
) -> tuple[Mapping[str, Bounds], np.ndarray, dict[str, Any]]:
    """What recorded episodes say of a world of any engine.

    Returns:
        The bounds of their environment's spaces, by name, if it can be made here; the recorded
        actions (n, A); and what `WorldConfig` says of them besides.
    """
    annotation = read_annotation(data, "train", store.episode_ids[0])
    known = inspect_environment(annotation["env_id"], annotation.get("env_kwargs", {}))
    spaces = known.bounds if known is not None else {}
    # An episode's first frame has no action that led to it.
    acted = np.setdiff1d(np.arange(len(store.actions)), store.offsets[:-1])
    rewards = store.rewards[~store.rewards.isnan()]
    rewarded = bool((rewards != 0).any())
    if not rewarded:
        print(
            "all recorded rewards are 0: the world will know no reward and no end of an episode "
            "(info['reward_available'] is False); give it a reward_fn where one is needed"
        )
    task = find_task(annotation["env_id"]) if annotation["env_id"] else None
    own = {
        "fps": float(annotation["fps"]),
        "choices": None if known is None else known.choices,
        "reward_head": rewarded,
        "reward_low": min(0.0, float(rewards.min())) if rewarded else 0.0,
        "reward_high": max(1e-6, float(rewards.max())) if rewarded else 1.0,
        "ground_truth": (
            None
            if known is None
            else GroundTruthConfig(
                env_id=annotation["env_id"],
                kwargs=annotation.get("env_kwargs", {}),
                **collected_pictures(data),
            )
        ),
        "keys": KeysConfig() if task is None else task.keys,
    }
    return spaces, store.actions.cpu().numpy()[acted], own


def world_config(
    config: TrainConfig,
    store: ClipStore,
    spaces: Mapping[str, Bounds],
    actions: np.ndarray,
    **own: Any,
) -> StreamingConfig:
    """The config of a world by what a run asks for and what its episodes show.

    Args:
        config: Of the run.
        store: The episodes.
        spaces: Bounds of actions and observations, where they are known.
        actions: Those recorded, (n, A), whose range counts where they are not.
        own: What else `StreamingConfig` says.
    """
    turned = config.symmetric and not config.states  # about 0, where moves have it in their midst
    low, high = spaces.get("action") or data_bounds(actions, even=turned)
    bounds = state_bounds(store, spaces, even=turned)
    plane = labelled_plane(config.data, config.poses)
    aslant = plane is not None and plane.homography is not None
    points = tuple(name for name in config.points if name != "action")
    edges = (0.0, 0.0), (1.0, 1.0)
    if config.points:
        check_points(config, store)
        edges = plane_edges(config, bounds) if aslant else picture_edges(config, spaces)
        bounds |= dict.fromkeys(points, edges)
        bounds |= dict.fromkeys(config.poses, ((*edges[0], -1.0, -1.0), (*edges[1], 1.0, 1.0)))
        if "action" in config.points:
            low, high = edges
    tracked = {name: ObservationConfig(low=low, high=high) for name, (low, high) in bounds.items()}
    _, height, width, _ = store.frames.shape
    states = None
    if config.states and tracked:
        across = edges[1][0] - edges[0][0] if aslant else width
        hidden = {name: tracked[name] for name in config.hidden}
        states = describe_states(config, store, hidden, plane, across)
    return StreamingConfig(
        name=config.name,
        height=height,
        width=width,
        action_low=low,
        action_high=high,
        action_names=config.action_names,
        observations={name: one for name, one in tracked.items() if name not in config.hidden},
        states=states,
        success_on_termination=config.success_on_termination,
        max_episode_steps=config.max_episode_steps,
        denoiser=DenoiserConfig(
            network=config.network,
            patch=config.patch,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            parts=config.parts,
            blend_contrast=config.blend_contrast,
            # A plain U-Net is shown where an action points, as on the rungs that it was chosen by.
            action_frequencies=0 if config.network == "unet" and states is None else 6,
            context=config.context,
        ),
        sampler=SamplerConfig(
            num_steps=config.num_steps,
            noise_scale=config.noise_scale,
            change_threshold=config.change_threshold,
        ),
        **own,
    )


def describe_states(
    config: TrainConfig,
    store: ClipStore,
    hidden: dict[str, ObservationConfig],
    plane: LabelledPlane | None,
    across: float,
) -> StatesConfig:
    """What a world knows of states.

    Args:
        config: Of the run.
        store: The episodes.
        hidden: The hidden states.
        plane: That of the labels, if poses were labelled.
        across: Width of the picture in pixels, or of that plane if the camera sees it aslant.
    """
    return StatesConfig(
        hidden=hidden,
        labelled=store.found,
        planar=PlanarConfig(
            action="action" in config.points,
            points=tuple(name for name in config.points if name != "action"),
            poses=config.poses,
            # As before there were symmetries, where there are none.
            symmetries=() if plane is None or set(plane.symmetries) <= {1} else plane.symmetries,
            homography=None if plane is None else plane.homography,
            mask_radii=() if config.proxy else config.mask_radii,
        ),
        proxy=proxy_config(config.data, config.poses, across) if config.proxy else ProxyConfig(),
        refinement_iterations=config.refinement_iterations,
        reward_sees_motion=True,
        reward_frequencies=config.reward_frequencies,
    )


def known_kinds(world: StreamingConfig) -> dict[str, Any]:
    """Hidden states of a world, which of them are poses, and the orders of their symmetry: what its
    episodes are to be read with."""
    states = world.states or StatesConfig()
    return {
        "hidden": tuple(states.hidden),
        "poses": states.planar.poses,
        "symmetries": states.planar.symmetries,
    }


def state_bounds(
    store: ClipStore, spaces: Mapping[str, Bounds], *, even: bool = False
) -> dict[str, Bounds]:
    """Of each state its space's bounds, else the range of the data; see `data_bounds`."""
    return {
        name: spaces.get(name) or data_bounds(values.cpu().numpy(), even=even)
        for name, values in store.states.items()
    }


def check_points(config: TrainConfig, store: ClipStore) -> None:
    """Raise ValueError if a point is none of the observations."""
    for name in config.points:
        if name != "action" and name not in store.states:
            raise ValueError(
                f"--points {name}: no such observation; there are {', '.join(store.states)}, and "
                "the word action"
            )


def picture_edges(config: TrainConfig, spaces: Mapping[str, Bounds]) -> Bounds:
    """Left and top, right and bottom of the picture, in the units of what lies in it.

    Raises:
        ValueError: Nothing says where the edges are.
    """
    if config.frame_edges is not None:
        return config.frame_edges[:2], config.frame_edges[2:]
    unknown = [name for name in config.points if name not in spaces]
    if unknown:
        raise ValueError(
            f"--points {unknown[0]}: its space is not known, so neither are the picture's edges; "
            "say --frame-edges LEFT TOP RIGHT BOTTOM in its units"
        )
    return spaces[config.points[0]]


def plane_edges(config: TrainConfig, bounds: Mapping[str, Bounds]) -> Bounds:
    """Low and high of a plane that the camera sees aslant: what is asked for, or the range of all
    that lies in it."""
    if config.frame_edges is not None:
        return config.frame_edges[:2], config.frame_edges[2:]
    inside = [bounds[name] for name in (*config.points, *config.poses) if name in bounds]
    low = np.min([low[:2] for low, _ in inside], axis=0)
    high = np.max([high[:2] for _, high in inside], axis=0)
    return tuple(low.tolist()), tuple(high.tolist())


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


def data_bounds(values: np.ndarray, *, even: bool = False) -> Bounds:
    """Range of data (n, k), a little widened.

    What never changes has no range; a hundredth of its size is taken, or of 1 where it is smaller.

    Args:
        values: The data.
        even: A range with 0 in its midst becomes as wide on both of its sides.
    """
    values = values.astype(np.float64)
    low, high = values.min(0), values.max(0)
    size = np.maximum(np.abs(low), np.abs(high))
    # Of changes that float32 hardly tells apart, too.
    still = high - low <= 1e-5 * size
    margin = np.where(still, 0.01 * np.maximum(size, 1), 0.02 * (high - low))
    low, high = low - margin, high + margin
    if even:
        wide = np.where((low < 0) & (high > 0), np.maximum(-low, high), 0)
        low, high = np.minimum(low, -wide), np.maximum(high, wide)
    return tuple(map(float, low)), tuple(map(float, high))
