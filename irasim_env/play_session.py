"""A person's episodes in a learned world, with the real simulator beside it on request.

Knows no window and no clock but the model's: `Player` calls `step` when one is due.
"""

import statistics
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from irasim_env.controls import KeyControls
from irasim_env.env import WorldEnv
from irasim_env.ground_truth import GroundTruth
from irasim_env.snapshot import Snapshot
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """One moment of a session's episode, to go back to: often, it stays as it is."""

    snapshot: Snapshot
    frame: np.ndarray
    """uint8 (H, W, 3)"""
    action: np.ndarray
    """(A,)"""
    actions: tuple[np.ndarray, ...]
    """All since the start, (A,) each: they put the real simulator there too."""
    reward: float | None
    uncertainty: float | None
    start: int
    seed: int | None
    ending: str | None


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
        uncertainty: Of the last step, in grey levels; None where no samples are drawn.
        start: Index of the episode's start.
        seed: The last seed that was given; what came after follows from it.
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
        self.env = WorldEnv(world)
        self.seed = seed
        self._limit = max_episode_steps
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
        action = self.next_action(held, pointer)
        began = time.perf_counter()
        result = self.env.step(action)
        self.take(action, result, time.perf_counter() - began)

    def next_action(
        self, held: Collection[str], pointer: tuple[float, float] | None = None
    ) -> np.ndarray:
        """The action (A,) that keys and mouse ask for; the step that follows has to take it."""
        assert self.ending is None, "an episode that has ended takes no step"
        return self.controls.next_action(self.action, held, pointer)

    def take(self, action: np.ndarray, result: tuple[Any, ...], seconds: float) -> None:
        """Go to where a step of `env` has led.

        Args:
            action: The action that was taken, (A,).
            result: What `env.step(action)` returned.
            seconds: How long that took.
        """
        self.action = action
        self.frame, reward, terminated, _, info = result
        self._latencies.append(seconds)
        self._actions.append(self.action)
        self.reward = float(reward) if info["reward_available"] else None
        self.uncertainty = info.get("uncertainty")
        self.steps += 1
        self.total_steps += 1
        if self.reality is not None:
            self._step_reality(self.action)
        if terminated or self.steps == self._limit:
            how = "time is up" if not terminated else "success" if "is_success" in info else "over"
            self.ending = f"{how} after {self.steps} step{'s' * (self.steps > 1)}"
        self._finished_at.append(time.perf_counter())

    def begin(self, start: int | None, seed: int) -> None:
        """Begin as a new session with this start and seed would."""
        if start is not None and not self._has(start):
            return
        self.seed = seed
        self._begin(start, seed)

    def moment(self) -> Moment:
        """Where the episode is now, for `return_to`."""
        return Moment(
            snapshot=self.env.snapshot(),
            frame=self.frame,
            action=self.action,
            actions=tuple(self._actions),
            reward=self.reward,
            uncertainty=self.uncertainty,
            start=self.start,
            seed=self.seed,
            ending=self.ending,
        )

    def return_to(self, moment: Moment) -> None:
        """Go back to a moment of this session: the same actions then lead to the same frames."""
        self.env.restore(moment.snapshot)
        self.frame, self.action = moment.frame, moment.action
        self.reward, self.uncertainty = moment.reward, moment.uncertainty
        self.start, self.seed, self.ending = moment.start, moment.seed, moment.ending
        self._actions = list(moment.actions)
        self.steps = len(self._actions)
        self.rest()
        self._show_reality_anew()

    def reset(self) -> None:
        """Begin again at the same start, with other noise."""
        self._begin(self.start, None)

    def choose_start(self, index: int) -> None:
        """Begin at another start."""
        if self._has(index):
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
        frame, info = self.env.reset(seed=seed, options=options)
        self.frame: np.ndarray = np.asarray(frame)
        self.start: int = info["start"]
        self.action = self.controls.first_action(self.world.starts[self.start])
        self.reward: float | None = None
        self.uncertainty: float | None = None
        self.steps = 0
        self.ending: str | None = None
        self._actions.clear()
        self.rest()
        self._show_reality_anew()

    def _has(self, start: int) -> bool:
        """Whether there is such a start; says so where there is none."""
        count = len(self.world.starts)
        if not 0 <= start < count:
            self.message = f"no start {start}: this world has 0 to {count - 1}"
        return 0 <= start < count

    def _show_reality_anew(self) -> None:
        """Put the real simulator, where it is shown, to where the episode is."""
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
