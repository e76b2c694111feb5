"""How near Push-T's block is to its goal, where coverage says nothing.

Coverage is 0 far away, and over half when the T lies on its goal the wrong way round, where every
push that helps costs coverage at first. The mean distance of the T's corners to where they belong
falls all the way.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from policies.pusht.geometry import OUTLINE, Pose
from policies.pusht.push_planner import true_state

FARTHEST = 512.0  # px, what counts as infinitely far


def nearness(block: Pose, goal: Pose) -> float:
    """1 where the block lies in its goal, less with the mean distance of corners, 0 at 512 px."""
    miss = block.to_world(OUTLINE) - goal.to_world(OUTLINE)
    distance = float(np.linalg.norm(miss, axis=1).mean())
    return max(1 - distance / FARTHEST, 0.0)


def outcome(info: dict[str, Any]) -> dict[str, float]:
    """How much of the goal the T covers, and their intersection over union, of a step's `info`.

    Of two equal shapes, one of which covers c of the other, that is c / (2 - c).
    """
    coverage = float(info["coverage"])
    return {"coverage": coverage, "iou": coverage / (2 - coverage)}


def simulator_nearness(env: gym.Env) -> float:
    """The same of a running Push-T (for `BranchingSimulator`'s `measure`)."""
    _, block, goal = true_state(env)
    return nearness(block, goal)
