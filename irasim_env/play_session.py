"""A person's episodes in a learned world, with the real simulator beside it on request.

Knows no window and no clock but the model's: `Player` calls `step` when one is due.
"""

import statistics
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from irasim_env.controls import KeyControls
from irasim_env.ground_truth import GroundTruth
from world_model import WorldModel

# Steps that a measured speed looks back on.
_RECENT = 20


@dataclass(frozen=True, kw_only=True)
class Reality:
    """What the real simulator shows now."""

    frame: np.ndarray
    """uint8 (H, W, 3)"""
    reward: float | None
    """Of the last step, None before the first."""
    ended_at: int | None
    """Step of the episode at which the simulator ended it; it goes on to be shown."""


class PlaySession:
    """Episodes from chosen starts, under keys and mouse.

    Args:
        world: The world.
        controls: What keys and mouse do.
        start: Start of the first episode; None lets the seed draw it.
        seed: Seed of the first episode; those after it follow from it.
        max_episode_steps: Time limit; None for none.

    Attributes:
        frame: What the world shows, uint8 (H, W, 3).
        action: The last action (A,), or the one at rest.
        reward: Of the last step; None before the first, and where the world knows no reward.
        start: Index of the episode's start.
        steps: Steps in this episode.
        total_steps: Steps in all.
        ending: None, or how the episode ended.
        message: What there is to say about the last key, or "".
        reality: The real simulator, where it is shown.
    """

    def __init__(
        self,
        world: WorldModel,
        controls: KeyControls,
        *,
        start: int | None = None,
        seed: int = 0,
        max_episode_steps: int | None = None,
    ):
        self.world = world
        self.controls = controls
        limit = -1 if max_episode_steps is None else max_episode_steps
        self.env: gym.Env = gym.make(
            "irasim_env:IRASim/World-v0", world=world, max_episode_steps=limit
        )
        self.message = ""
        self.total_steps = 0
        self.reality: Reality | None = None
        self._truth: GroundTruth | None = None
        self._actions: list[np.ndarray] = []
        self._latencies: deque[float] = deque(maxlen=10_000)
        self._finished_at: deque[float] = deque(maxlen=_RECENT + 1)
        self._begin(start, seed)

    @property
    def latency_ms(self) -> float | None:
        """Median time of a step of the world, decode included; None before the first."""
        return 1000 * statistics.median(self._latencies) if self._latencies else None

    @property
    def pace(self) -> float | None:
        """Steps a second as they were lately taken; None after a pause or before the second."""
        if len(self._finished_at) < 2:
            return None
        return (len(self._finished_at) - 1) / (self._finished_at[-1] - self._finished_at[0])

    def rest(self) -> None:
        """Measure the pace anew: steps stop coming for a while."""
        self._finished_at.clear()

    def step(self, held: Collection[str], pointer: tuple[float, float] | None = None) -> None:
        """Take one step with the action that keys and mouse ask for."""
        assert self.ending is None, "an episode that has ended takes no step"
        self.action = self.controls.next_action(self.action, held, pointer)
        began = time.perf_counter()
        self.frame, reward, terminated, truncated, info = self.env.step(self.action)
        self._latencies.append(time.perf_counter() - began)
        self._actions.append(self.action)
        self.reward = float(reward) if info["reward_available"] else None
        self.steps += 1
        self.total_steps += 1
        if self.reality is not None:
            self._step_reality(self.action)
        if terminated or truncated:
            how = "time is up" if not terminated else "success" if "is_success" in info else "over"
            self.ending = f"{how} after {self.steps} step{'s' * (self.steps > 1)}"
        self._finished_at.append(time.perf_counter())

    def reset(self) -> None:
        """Begin again at the same start, with other noise."""
        self._begin(self.start, None)

    def choose_start(self, index: int) -> None:
        """Begin at another start."""
        if not 0 <= index < len(self.world.starts):
            self.message = f"no start {index}: this world has 0 to {len(self.world.starts) - 1}"
            return
        self._begin(index, None)

    def change_start(self, by: int) -> None:
        """Begin at the next start (1) or the one before (-1), round and round."""
        self._begin((self.start + by) % len(self.world.starts), None)

    def toggle_reality(self) -> None:
        """Show the real simulator, put where the episode is now, or show it no more."""
        if self.reality is not None:
            self.reality = None
            return
        try:
            self.show_reality()
        except (ValueError, gym.error.Error) as error:
            self.message = str(error)

    def show_reality(self) -> None:
        """Show the real simulator, put where the episode is now by replaying its actions.

        Raises:
            ValueError: the world names no simulator, or its start does not lead there.
            gym.error.Error: the simulator is not installed or not known.
        """
        if self._truth is None:
            self._truth = GroundTruth(self.world.config)
        self._truth.reset_to(self.world.starts[self.start])
        self.reality = Reality(frame=self._truth.frame, reward=None, ended_at=None)
        for step, action in enumerate(self._actions, start=1):
            self._step_reality(action, step)

    def close(self) -> None:
        """Close world and simulator."""
        self.env.close()
        if self._truth is not None:
            self._truth.close()

    def _begin(self, start: int | None, seed: int | None) -> None:
        options = None if start is None else {"start": start}
        self.frame, info = self.env.reset(seed=seed, options=options)
        self.start: int = info["start"]
        self.action = self.controls.first_action(self.world.starts[self.start])
        self.reward: float | None = None
        self.steps = 0
        self.ending: str | None = None
        self._actions.clear()
        self.rest()
        if self.reality is not None:
            self.reality = None
            self.toggle_reality()

    def _step_reality(self, action: np.ndarray, step: int | None = None) -> None:
        assert self._truth is not None
        assert self.reality is not None
        _, reward, terminated, truncated, _ = self._truth.step(action)
        ended_at = self.reality.ended_at
        if ended_at is None and (terminated or truncated):
            ended_at = self.steps if step is None else step
        self.reality = Reality(frame=self._truth.frame, reward=reward, ended_at=ended_at)
