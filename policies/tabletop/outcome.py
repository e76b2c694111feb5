"""Outcome of the tabletop's simulator, as planners report it."""

from typing import Any

import gymnasium as gym
import numpy as np


def outcome(info: dict[str, Any]) -> dict[str, float]:
    """How far apart the two blocks' middles are, m, of a step's `info`."""
    return {"distance": float(info["distance"])}


def stay(env: gym.Env) -> np.ndarray:
    """The action (2,) that leaves the pusher where it is."""
    return np.zeros(2)
