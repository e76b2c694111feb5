"""Who drives the dot: what records episodes, a family from hopeless to good, what does nothing."""

import numpy as np

from tests.toy.environment import GREEN

FAMILY = ("wander", "seek")


class Record:
    """Goes to the goal, which it knows from the simulator, and is often distracted."""

    kind = "record"

    def __init__(self, env, seed):
        self._env, self._rng = env.unwrapped, np.random.default_rng(seed)

    def __call__(self, observation):
        right, down = (self._env.goal - observation["place"]) / 4
        action = (right, -down) + self._rng.normal(0, 1.5, 2)
        return np.clip(action, -3, 3).astype(np.float32)


def wander(env, seed):
    """Goes anywhere."""
    rng = np.random.default_rng(seed)
    return lambda observation: rng.uniform(-3, 3, 2).astype(np.float32)


def seek(env, seed):
    """Goes to where the picture is green."""

    def act(observation):
        y, x = np.nonzero((observation["pixels"] == GREEN).all(-1))
        goal = np.array([x.mean(), y.mean()]) if len(x) else np.full(2, 16)
        right, down = goal - observation["place"]
        return np.clip((right, -down), -3, 3).astype(np.float32)

    return act


def rest(env, seed):
    """Stays where it is."""
    return lambda observation: np.zeros(2, np.float32)
