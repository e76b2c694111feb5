"""Policies that record the tabletop: pushes, play full of contacts, smooth motion, mixtures.

Each is made by `factory(env, seed)` and called as `policy(observation) -> action`; it reads the
simulator's true state from `env`, so it is for the simulator only. `policy.kind` names it and
`policy.max_steps` says how long its episodes are worth recording (None: to the end).
"""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from policies.tabletop.pushing import RADII, BlockPusher, PushConfig
from policies.tabletop.routes import next_corner
from policies.tabletop.scene import (
    NAMES,
    PUSHER_RADIUS,
    REACH_HIGH,
    REACH_LOW,
    STEP,
    rotation,
)
from policies.tabletop.simulator import TabletopSim

ARRIVED = 0.003  # m
LONGEST_WAY = 30  # steps to a place, at most


def simulator(env: gym.Env) -> TabletopSim:
    """The tabletop within wrappers.

    Raises:
        ValueError: it is another environment.
    """
    inside = env.unwrapped
    if not isinstance(inside, TabletopSim):
        raise ValueError(
            f"{inside} is not the tabletop's simulator, whose state this policy reads; make it "
            "with irasim_env:IRASim/TabletopSim-v0"
        )
    return inside


def hand(rng: np.random.Generator, scale: float) -> Iterator[np.ndarray]:
    """How a hand trembles: errors (2,) of an action, those of neighbouring steps alike."""
    error = rng.normal(0, scale, 2)
    while True:
        yield error
        error = 0.7 * error + (1 - 0.7**2) ** 0.5 * rng.normal(0, scale, 2)


class Pusher:
    """Pushes the one block to the other; at paces of its own."""

    kind = "pusher"
    max_steps: int | None = None

    def __init__(self, env: gym.Env, seed: int, *, pace: float | None = None):
        self._env = simulator(env)
        rng = np.random.default_rng([seed, 1])
        config = PushConfig(pace=float(rng.uniform(0.5, 1.0)) if pace is None else pace)
        self._pusher = BlockPusher(self._env.move, self._env.to, config)

    def forget(self) -> None:
        """Begin anew at the next step."""
        self._pusher.forget()

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        return self._pusher(self._env.poses[:, :2], self._env.effector_pos)


class NoisyPusher:
    """The same with a trembling hand and, now and then, a slip."""

    kind = "noisy_pusher"
    max_steps: int | None = 100

    def __init__(self, env: gym.Env, seed: int):
        self._rng = np.random.default_rng([seed, 2])
        self._pusher = Pusher(env, seed)
        self._tremble = hand(self._rng, self._rng.uniform(0.1, 0.6))
        self._slips = self._rng.uniform(0.02, 0.08)
        self._left, self._slip = 0, np.zeros(2)

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        if self._left == 0 and self._rng.uniform() < self._slips:
            self._left, self._slip = int(self._rng.integers(3, 9)), self._rng.uniform(-1, 1, 2)
            self._pusher.forget()
        if self._left:
            self._left -= 1
            action = self._slip
        else:
            action = self._pusher(observation)
        return np.clip(action + next(self._tremble), -1, 1).astype(np.float32)


class Play:
    """Seeks contact: pushes any block anywhere, off its middle too, through others and along the
    rim; also straight keys and rests, as people drive."""

    kind = "play"
    # Shares of pushes, pushes of a block to another, ways through blocks, keys, rests and ways
    # across the table.
    SHARES = (0.45, 0.15, 0.15, 0.1, 0.05, 0.1)

    def __init__(self, env: gym.Env, seed: int):
        self._env = simulator(env)
        self._rng = np.random.default_rng([seed, 3])
        self._moves: tuple[Callable[[], Iterator[np.ndarray]], ...] = (
            self._push,
            self._gather,
            self._through,
            self._keys,
            self._rest,
            self._roam,
        )
        self._doing: Iterator[np.ndarray] = iter(())
        self._tremble = hand(self._rng, self._rng.uniform(0.0, 0.25))
        self.max_steps: int | None = int(self._rng.integers(60, 101))

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        while (action := next(self._doing, None)) is None:
            chosen = self._rng.choice(len(self._moves), p=self.SHARES)
            self._doing = self._moves[chosen]()
        tremble = next(self._tremble) if action.any() else 0.0
        return np.clip(action + tremble, -1, 1).astype(np.float32)

    def _push(self) -> Iterator[np.ndarray]:
        block = int(self._rng.integers(len(NAMES)))
        if self._rng.uniform() < 0.5:  # towards the middle, so that not all ends at the rim
            aim = self._rng.uniform(-0.06, 0.06, 2) - self._env.poses[block, :2]
            direction = aim / max(float(np.linalg.norm(aim)), 1e-9)
        else:
            direction = rotation(self._rng.uniform(-np.pi, np.pi)) @ np.array([1.0, 0.0])
        touching = RADII[block] + PUSHER_RADIUS
        aside = np.array([-direction[1], direction[0]]) * self._rng.normal(0, 0.45) * touching
        start = self._env.poses[block, :2] - direction * (touching + 0.004) + aside
        yield from self._go(np.clip(start, REACH_LOW, REACH_HIGH))
        pace, length = self._rng.uniform(0.3, 1.0), self._rng.uniform(0.02, 0.16)
        turn = rotation(self._rng.normal(0, 0.08))
        for _ in range(int(length / (STEP * pace)) + 1):
            yield direction * pace
            direction = turn @ direction

    def _gather(self) -> Iterator[np.ndarray]:
        move, to = self._rng.choice(len(NAMES), 2, replace=False)
        if (NAMES[move], NAMES[to]) in (
            (self._env.move, self._env.to),
            (self._env.to, self._env.move),
        ):
            return  # that would end the episode
        config = PushConfig(pace=float(self._rng.uniform(0.4, 1.0)))
        pusher = BlockPusher(NAMES[move], NAMES[to], config)
        for _ in range(int(self._rng.integers(15, 35))):
            yield pusher(self._env.poses[:, :2], self._env.effector_pos)

    def _through(self) -> Iterator[np.ndarray]:
        begin = self._env.effector_pos
        block = self._rng.integers(len(NAMES))
        aim = self._env.poses[block, :2] + self._rng.normal(0, 0.015, 2)
        end = begin + (aim - begin) * self._rng.uniform(1.0, 2.0)
        yield from self._straight(end, self._rng.uniform(0.4, 1.0))

    def _keys(self) -> Iterator[np.ndarray]:
        for _ in range(self._rng.integers(1, 4)):
            direction = self._rng.integers(-1, 2, size=2) * self._rng.choice((0.35, 0.7, 1.0))
            for _ in range(self._rng.integers(2, 10)):
                yield direction

    def _rest(self) -> Iterator[np.ndarray]:
        for _ in range(self._rng.integers(2, 7)):
            yield np.zeros(2)

    def _roam(self) -> Iterator[np.ndarray]:
        yield from self._straight(
            self._rng.uniform(REACH_LOW, REACH_HIGH), self._rng.uniform(0.4, 1.0)
        )

    def _straight(self, end: np.ndarray, pace: float) -> Iterator[np.ndarray]:
        """Straight on to a place, whatever is in the way."""
        end = np.clip(end, REACH_LOW, REACH_HIGH)
        steps = int(np.ceil(np.abs(end - self._env.effector_pos).max() / (STEP * pace)))
        for _ in range(steps):
            yield towards(self._env.effector_pos, end, pace)

    def _go(self, end: np.ndarray) -> Iterator[np.ndarray]:
        """To a place, around all blocks."""
        pace = self._rng.uniform(0.6, 1.0)
        for _ in range(LONGEST_WAY):
            if np.linalg.norm(end - self._env.effector_pos) < ARRIVED:
                return
            yield towards(self._env.effector_pos, clear_way(self._env, end), pace)


class Smooth:
    """Moves smoothly at random, without looking; the rim turns it back."""

    kind = "smooth"

    def __init__(self, env: gym.Env, seed: int):
        self._env = simulator(env)
        self._rng = np.random.default_rng([seed, 4])
        self._kept = self._rng.uniform(0.75, 0.97)
        self._scale = self._rng.uniform(0.3, 0.9)
        self._speed = self._rng.normal(0, self._scale, 2)
        self.max_steps: int | None = int(self._rng.integers(60, 101))

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        fresh = self._rng.normal(0, self._scale, 2)
        self._speed = self._kept * self._speed + (1 - self._kept**2) ** 0.5 * fresh
        place = self._env.effector_pos
        out = (place + STEP * self._speed > REACH_HIGH) | (place + STEP * self._speed < REACH_LOW)
        self._speed = np.where(out, -self._speed, self._speed)
        return np.clip(self._speed, -1, 1).astype(np.float32)


class Avoid:
    """Goes to random places around all blocks, and touches none."""

    kind = "avoid"

    def __init__(self, env: gym.Env, seed: int):
        self._env = simulator(env)
        self._rng = np.random.default_rng([seed, 5])
        self._goal: np.ndarray | None = None
        self._pace, self._left = 1.0, 0
        self.max_steps: int | None = int(self._rng.integers(60, 101))

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        place = self._env.effector_pos
        if self._goal is None or self._left == 0 or np.linalg.norm(place - self._goal) < ARRIVED:
            self._goal, self._left = self._free_place(), LONGEST_WAY
            self._pace = self._rng.uniform(0.3, 1.0)
        self._left -= 1
        return towards(place, clear_way(self._env, self._goal), self._pace).astype(np.float32)

    def _free_place(self) -> np.ndarray:
        while True:
            place = self._rng.uniform(REACH_LOW, REACH_HIGH)
            away = np.linalg.norm(self._env.poses[:, :2] - place, axis=1)
            if (away > RADII + PUSHER_RADIUS + 0.01).all():
                return place


class PlayThenPush:
    """Plays for a while, then pushes the one block to the other."""

    kind = "play_then_push"
    max_steps: int | None = 100

    def __init__(self, env: gym.Env, seed: int):
        self._first = Play(env, seed)
        noisy = np.random.default_rng([seed, 6]).uniform() < 0.5
        self._then = NoisyPusher(env, seed) if noisy else Pusher(env, seed)
        self._left = int(np.random.default_rng([seed, 7]).integers(25, 61))

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        self._left -= 1
        return self._first(observation) if self._left >= 0 else self._then(observation)


def clear_way(env: TabletopSim, goal: np.ndarray) -> np.ndarray:
    """Where the pusher goes first on its way to a place (2,) around all blocks."""
    clear = RADII + PUSHER_RADIUS + 0.005
    places = env.poses[:, :2]
    return next_corner(env.effector_pos, goal, places, clear, REACH_LOW, REACH_HIGH)


def towards(place: np.ndarray, goal: np.ndarray, pace: float) -> np.ndarray:
    """The action (2,) that goes there, at most so fast along either axis."""
    action = (goal - place) / STEP
    return action * min(1.0, pace / max(float(np.abs(action).max()), 1e-9))


def mixture(env: gym.Env, seed: int) -> Any:
    """One of the kinds, drawn from the seed: to train a world on."""
    kinds = (Play, PlayThenPush, NoisyPusher, Pusher, Smooth, Avoid)
    shares = (0.45, 0.25, 0.06, 0.04, 0.15, 0.05)
    index = np.random.default_rng([seed, 0]).choice(len(kinds), p=shares)
    return kinds[index](env, seed)


def heldout(env: gym.Env, seed: int) -> Any:
    """Play for even seeds, no contact at all for odd ones: to test a world on."""
    return Play(env, seed) if seed % 2 == 0 else Avoid(env, seed)


pusher, noisy_pusher, play, smooth, avoid = Pusher, NoisyPusher, Play, Smooth, Avoid
