"""Episodes of a policy in a learned world and in its ground truth, from the same starts.

Both begin at the last frame of one of the world's starts and see the same observations; the world
runs many episodes in one batch, the simulator one after the other. An episode's seed (of the
policy and of the world's noise) depends on its start alone, so that an episode is the same in any
batch, and a run that goes on where it stopped gives what an unbroken one does.

Dimensions: B slots, T frames, H W pixels, A action components.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irasim_env.actions import as_vectors
from irasim_env.ground_truth import GroundTruth
from irasim_env.vector_env import WorldVectorEnv
from policies.actors.actors import Actor
from world_model import WorldModel

# Seeds of policies and of the world's noise: those of start i.
SEED_STRIDE = 1_000_003


@dataclass(frozen=True, kw_only=True)
class PlayedEpisode:
    """One episode of a policy."""

    start: int
    """Index of the world's start."""
    rewards: tuple[float, ...]
    """Of each step."""
    ended: bool
    """Whether it ended (in the world: said the head) before the time limit."""
    frames: np.ndarray
    """uint8 (steps, H, W, 3), the frame after each action."""


def episode_seed(seed: int, start: int) -> int:
    """Seed of the episode from a start, of the policy and of the noise."""
    return (seed * SEED_STRIDE + start) % 2**31


def observation_type(world: WorldModel) -> str:
    """`obs_type` that shows pixels and all low-dimensional observations of a world."""
    return "_".join(["pixels", *world.config.observations])


def play_in_world(
    world: WorldModel,
    actor: Actor,
    starts: Sequence[int],
    *,
    max_steps: int,
    batch: int,
    seed: int,
    rows: int | None = None,
    reward_fn: Callable[[np.ndarray, np.ndarray], tuple[float, bool]] | None = None,
) -> Iterator[PlayedEpisode]:
    """Play the starts in the learned world, each as it finishes.

    Args:
        world: A loaded world.
        actor: What acts.
        starts: Indices of the world's starts.
        max_steps: Longest episode.
        batch: Episodes at once, B.
        seed: Of the evaluation.
        rows: Of the batch, if it shall be as large for fewer starts: a batch of another size is
            rounded otherwise. Default: as many as are used.
        reward_fn: Judges instead of the world's head; see `irasim_env.env.WorldEnv`.
    """
    if not starts:
        return
    waiting = list(starts)
    size = rows or min(batch, len(waiting))
    envs = WorldVectorEnv(
        world,
        size,
        obs_type=observation_type(world),
        reward_fn=reward_fn,
        max_episode_steps=max_steps,
        autoreset_mode="Disabled",
    )
    observations: Any  # arrays, as no other output is asked for
    playing: list[int | None] = [waiting.pop(0) if waiting else None for _ in range(size)]
    logs = [_Log() for _ in range(size)]
    try:
        first = [start or 0 for start in playing]
        seeds = [episode_seed(seed, start) for start in first]
        observations, _ = envs.reset(seed=seeds, options={"start": first})
        for slot, slot_seed in enumerate(seeds):
            if playing[slot] is not None:
                actor.begin(slot, slot_seed)
        actions = np.zeros((size, world.config.action_dim), np.float32)
        while any(start is not None for start in playing):
            busy = [slot for slot in range(size) if playing[slot] is not None]
            actions[busy] = as_vectors(world.config, actor.act(observations, busy))
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            frames = _pixels(observations)
            over = np.asarray(terminated) | np.asarray(truncated)
            for slot in busy:
                logs[slot].add(frames[slot], float(rewards[slot]))
                start = playing[slot]
                if over[slot] and start is not None:
                    yield logs[slot].episode(start, bool(terminated[slot]))
                    playing[slot] = waiting.pop(0) if waiting else None
            if over.any():
                observations = _begin_anew(envs, actor, over, playing, logs, seed)
    finally:
        envs.close()


def _begin_anew(
    envs: WorldVectorEnv,
    actor: Actor,
    over: np.ndarray,
    playing: Sequence[int | None],
    logs: list["_Log"],
    seed: int,
) -> Any:
    """Give the slots that are over their next start; idle ones start 0, which nobody plays."""
    starts = [start or 0 for start in playing]
    seeds = [
        episode_seed(seed, start) if ended else None
        for start, ended in zip(starts, over, strict=True)
    ]
    observations, _ = envs.reset(seed=seeds, options={"reset_mask": over, "start": starts})
    for slot in np.flatnonzero(over).tolist():
        logs[slot] = _Log()
        if playing[slot] is not None:
            actor.begin(slot, episode_seed(seed, starts[slot]))
    return observations


def play_in_truth(
    world: WorldModel,
    truth: GroundTruth,
    actor: Actor,
    starts: Sequence[int],
    *,
    max_steps: int,
    seed: int,
) -> Iterator[PlayedEpisode]:
    """Play the starts in the simulator that the world was learned from, one after the other.

    Actions out of bounds are clipped, as in the world.

    Args:
        world: Whose starts they are.
        truth: The world's ground truth.
        actor: What acts.
        starts: Indices of the world's starts.
        max_steps: Longest episode.
        seed: Of the evaluation.

    Raises:
        ValueError: a start does not say how to get there.
    """
    low, high = np.array(world.config.action_low), np.array(world.config.action_high)
    for start in starts:
        observation = truth.reset_to(world.starts[start])
        actor.begin(0, episode_seed(seed, start))
        log, terminated = _Log(), False
        while len(log) < max_steps and not terminated:
            observed = _as_batch(truth.observations(observation), truth.frame)
            action = np.clip(as_vectors(world.config, actor.act(observed, [0]))[0], low, high)
            observation, reward, terminated, _, _ = truth.step(action.astype(np.float32))
            log.add(truth.frame, reward)
        yield log.episode(start, terminated)


class _Log:
    """What an episode has shown so far."""

    def __init__(self) -> None:
        self._frames: list[np.ndarray] = []
        self._rewards: list[float] = []

    def __len__(self) -> int:
        return len(self._rewards)

    def add(self, frame: np.ndarray, reward: float) -> None:
        """One step."""
        self._frames.append(frame.copy())
        self._rewards.append(reward)

    def episode(self, start: int, ended: bool) -> PlayedEpisode:
        """The whole of it."""
        return PlayedEpisode(
            start=start, rewards=tuple(self._rewards), ended=ended, frames=np.stack(self._frames)
        )


def _pixels(observations: Any) -> np.ndarray:
    return observations["pixels"] if isinstance(observations, dict) else observations


def _as_batch(observed: dict[str, np.ndarray], frame: np.ndarray) -> Any:
    """What the simulator shows as a batch of one, in the form that the world gives it."""
    if not observed:
        return frame[None]
    return {"pixels": frame[None], **{name: values[None] for name, values in observed.items()}}
