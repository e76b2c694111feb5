"""Push-T policies for recording: an expert, the same with noise, play, uniform motion, mixtures.

Each is made by `factory(env, seed)` and called as `policy(observation) -> action`; it reads the
simulator's true state from `env`, so it is for the real Push-T only. `policy.kind` names it and
`policy.max_steps` says how long its episodes are worth recording (None: to the end).
"""

from collections import deque
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from policies.pusht.geometry import HIGH, LOW, Pose, RoadMap, approach, rotation, sample_contacts
from policies.pusht.push_planner import PlannerConfig, PushPlanner, true_state


def walk(begin: np.ndarray, end: np.ndarray, speed: float) -> list[np.ndarray]:
    """Targets from `begin` (left out) to `end`, at most `speed` px apart."""
    steps = max(int(np.ceil(np.linalg.norm(end - begin) / speed)), 1)
    return [begin + (end - begin) * (step / steps) for step in range(1, steps + 1)]


class StateSource(Protocol):
    """Where an expert knows the scene from: the simulator, or what can be seen."""

    goal: Pose

    def disc(self, observation: Any) -> np.ndarray:
        """Where the disc is now (2,)."""
        ...

    def block(self, observation: Any) -> Pose:
        """Where the block is now."""
        ...


class SimulatorState:
    """The true state of the simulator itself."""

    def __init__(self, env: gym.Env):
        self._env = env

    @property
    def goal(self) -> Pose:
        """Where the block shall go."""
        return true_state(self._env)[2]

    def disc(self, observation: object) -> np.ndarray:
        """Where the disc is now (2,)."""
        return true_state(self._env)[0]

    def block(self, observation: object) -> Pose:
        """Where the block is now."""
        return true_state(self._env)[1]


class Expert:
    """Pushes the T into its goal; see `policies.pusht.push_planner`.

    Args:
        env: A Push-T.
        seed: Of its choices.
        state: Where it knows the scene from; default the simulator's true state.
        planner: How much it thinks; default that of `PlannerConfig`.
    """

    kind = "expert"
    # Arrived within this many px of a target, or waited this many steps, the disc goes on.
    ARRIVED, PATIENCE = 2.5, 6
    max_steps: int | None = None

    def __init__(
        self,
        env: gym.Env,
        seed: int,
        *,
        state: StateSource | None = None,
        planner: PlannerConfig | None = None,
    ):
        self._state = state or SimulatorState(env)
        self.rng = np.random.default_rng([seed, 1])
        self._planner_config = planner
        self._planner: PushPlanner | None = None
        self._targets: deque[np.ndarray] = deque()
        self._then_push: list[np.ndarray] = []
        self._target: np.ndarray | None = None
        self._waited = 0
        self._travel_speed = self.rng.uniform(20, 32)
        self._push_speed = self.rng.uniform(9, 15)

    def forget_plan(self) -> None:
        """Plan anew at the next step, as after a disturbance."""
        self._targets.clear()
        self._then_push = []
        self._target = None

    def __call__(self, observation: object) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        disc = self._state.disc(observation)
        if self._planner is None:
            self._planner = PushPlanner(self._state.goal, self.rng, self._planner_config)
        if not self._targets and self._target is not None:
            # The disc runs two steps behind its target: let it arrive before the next part.
            self._waited += 1
            if np.linalg.norm(disc - self._target) > self.ARRIVED and self._waited < self.PATIENCE:
                return self._target.astype(np.float32)
            self._waited = 0
            self._targets.extend(self._then_push)
            self._then_push = []
        if not self._targets:
            route, push = self._planner.plan(self._state.block(observation), disc)
            at = disc
            for corner in route:
                self._targets.extend(walk(at, corner, self._travel_speed))
                at = corner
            self._then_push = walk(push.start, push.end, self._push_speed)
        self._target = self._targets.popleft()
        return np.clip(self._target, 0, 512).astype(np.float32)


class NoisyExpert:
    """The expert with trembling targets and, now and then, a burst of random ones."""

    kind = "noisy_expert"
    max_steps: int | None = 240

    def __init__(self, env: gym.Env, seed: int):
        self._env = env
        self._expert = Expert(env, seed)
        self._rng = np.random.default_rng([seed, 2])
        self._tremble = np.zeros(2)
        self._scale = self._rng.uniform(2, 10)
        self._burst_rate = self._rng.uniform(0.005, 0.03)
        self._burst: deque[np.ndarray] = deque()

    def __call__(self, observation: object) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        if not self._burst and self._rng.uniform() < self._burst_rate:
            disc, _, _ = true_state(self._env)
            for _ in range(self._rng.integers(1, 4)):
                end = disc + self._rng.uniform(-150, 150, 2)
                self._burst.extend(walk(disc, end, self._rng.uniform(10, 80)))
                disc = end
            self._expert.forget_plan()
        self._tremble = 0.6 * self._tremble + self._rng.normal(0, 0.8 * self._scale, 2)
        target = self._burst.popleft() if self._burst else self._expert(observation)
        return np.clip(target + self._tremble, 0, 512).astype(np.float32)


class Play:
    """Moves around, at and through the block; also straight keys and rests, as people drive."""

    kind = "play"
    # Shares of pushes, ways through the block, keys, rests and ways across the table.
    SHARES = (0.4, 0.15, 0.25, 0.1, 0.1)

    def __init__(self, env: gym.Env, seed: int):
        self._env = env
        self._rng = np.random.default_rng([seed, 3])
        self._roads = RoadMap()
        self._targets: deque[np.ndarray] = deque()
        self._at: np.ndarray | None = None
        self._moves = (self._push, self._through, self._keys, self._rest, self._roam)
        self.max_steps: int | None = int(self._rng.integers(100, 201))

    def __call__(self, observation: object) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        while not self._targets:
            disc, block, _ = true_state(self._env)
            at = disc if self._at is None else self._at
            move = self._moves[self._rng.choice(len(self._moves), p=self.SHARES)]
            self._targets.extend(np.clip(target, 0, 512) for target in move(at, block))
        self._at = self._targets.popleft()
        return self._at.astype(np.float32)

    def _push(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        starts, directions = approach(sample_contacts(self._rng, 1, max_slant=1.0), 8.0)
        start = np.clip(block.to_world(starts)[0], LOW, HIGH)
        end = start + (directions @ rotation(block.angle).T)[0] * self._rng.uniform(20, 130)
        speed = self._rng.uniform(8, 35)
        targets = []
        for corner in self._roads.route(block, at, start) or [start]:
            targets += walk(at, corner, speed)
            at = corner
        return targets + [start] * 2 + walk(start, end, self._rng.uniform(4, 25))

    def _through(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        aim = block.to_world(np.array([(0.0, 45.0)]))[0] + self._rng.normal(0, 40, 2)
        end = at + (aim - at) * self._rng.uniform(0.8, 1.8)
        return walk(at, end, self._rng.uniform(5, 40))

    def _keys(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        targets = []
        for _ in range(self._rng.integers(1, 5)):
            direction = self._rng.integers(-1, 2, size=2) * self._rng.uniform(4, 30)
            for _ in range(self._rng.integers(2, 12)):
                at = np.clip(at + direction, 0, 512)
                targets.append(at)
        return targets

    def _rest(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        return [at] * int(self._rng.integers(2, 10))

    def _roam(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        return walk(at, self._rng.uniform(20, 492, 2), self._rng.uniform(8, 60))


class Walls(Play):
    """Presses the block into walls and corners, at all speeds; rams; targets that are held.

    The simulator's walls give way to a disc that is pressed on, and long episodes get there. They
    do not hold the disc: it also goes along the border, half out of the picture, as under a key
    that stays down.
    """

    kind = "walls"
    # Shares of pushes to a wall, rams, targets held, pushes, ways through the block, rests and ways
    # along the border.
    SHARES = (0.2, 0.15, 0.2, 0.1, 0.1, 0.05, 0.2)

    def __init__(self, env: gym.Env, seed: int):
        super().__init__(env, seed)
        self._rng = np.random.default_rng([seed, 5])
        self._moves = (
            self._to_wall,
            self._ram,
            self._held,
            self._push,
            self._through,
            self._rest,
            self._border,
        )
        self.max_steps = 300

    def _to_wall(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        middle = block.to_world(np.array([(0.0, 45.0)]))[0] + self._rng.normal(0, 15, 2)
        slant = self._rng.uniform(-0.7, 0.7)
        along = np.eye(2)[self._rng.integers(2)] * self._rng.choice((-1, 1))
        direction = rotation(slant) @ along
        start = np.clip(middle - 90 * direction, LOW, HIGH)
        targets = []
        for corner in self._roads.route(block, at, start) or [start]:
            targets += walk(at, corner, 40)
            at = corner
        end = np.clip(middle + 512 * direction, 0, 512)
        return targets + walk(start, end, self._rng.uniform(6, 40))

    def _ram(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        aim = block.to_world(np.array([(0.0, 45.0)]))[0] + self._rng.normal(0, 30, 2)
        end = at + (aim - at) * self._rng.uniform(1.0, 2.5)
        return [end] * int(self._rng.integers(2, 12))

    def _held(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        return [self._rng.uniform(0, 512, 2)] * int(self._rng.integers(1, 12))

    def _border(self, at: np.ndarray, block: Pose) -> list[np.ndarray]:
        speed = self._rng.uniform(4, 50)
        axis = int(self._rng.integers(2))  # of the coordinate that is at its bound
        end = at.copy()
        end[axis] = self._rng.choice((0, 512))
        targets = walk(at, end, speed)
        for _ in range(self._rng.integers(1, 4)):
            at, end = end, end.copy()
            end[1 - axis] = self._rng.choice((0, 512, self._rng.uniform(0, 512)))
            targets += walk(at, end, speed) + [end] * int(self._rng.integers(4))
            if end[1 - axis] in (0, 512):  # a corner
                axis = 1 - axis
        return targets


class Uniform:
    """Uniform random targets, each held for a random number of steps."""

    kind = "uniform"

    def __init__(self, env: gym.Env, seed: int):
        self._rng = np.random.default_rng([seed, 4])
        self._longest = int(self._rng.integers(1, 12))
        self._target = np.zeros(2)
        self._left = 0
        self.max_steps: int | None = int(self._rng.integers(100, 151))

    def __call__(self, observation: object) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        if self._left == 0:
            self._target = self._rng.uniform(0, 512, 2)
            self._left = int(self._rng.integers(1, self._longest + 1))
        self._left -= 1
        return self._target.astype(np.float32)


def mixture(env: gym.Env, seed: int):
    """One of the first four kinds, drawn from the seed."""
    kinds = (Expert, NoisyExpert, Play, Uniform)
    index = np.random.default_rng([seed, 0]).choice(len(kinds), p=(0.4, 0.2, 0.25, 0.15))
    return kinds[index](env, seed)


def full_mixture(env: gym.Env, seed: int):
    """A quarter of the episodes at the walls, the others of `mixture`: to train a world on."""
    at_walls = np.random.default_rng([seed, 6]).uniform() < 0.25
    return Walls(env, seed) if at_walls else mixture(env, seed)


def heldout(env: gym.Env, seed: int):
    """The expert for even seeds, the other kinds in turn for odd ones: to test a world on."""
    others = (NoisyExpert, Play, Uniform)
    return Expert(env, seed) if seed % 2 == 0 else others[seed // 2 % 3](env, seed)


expert, noisy_expert, play, uniform, walls = Expert, NoisyExpert, Play, Uniform, Walls
