"""The tabletop's base policy as a planner's proposals: open-loop pushes of middling skill.

A proposal is what a chunk policy would give: the way behind the block and one push of it towards
the other, made at once from the simulator's true state. Where it aims is a little wrong, and how
far it pushes too, so one of several is better than the first.

Dimensions: B environments, K candidates, H horizon, n actions.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from policies.planning.best_of import Proposals
from policies.planning.plan import Memory
from policies.tabletop.pushing import RADII
from policies.tabletop.recorders import ARRIVED, simulator, towards
from policies.tabletop.routes import next_corner
from policies.tabletop.scene import NAMES, PUSHER_RADIUS, REACH_HIGH, REACH_LOW, STEP, TOUCHING


@dataclass(frozen=True, kw_only=True)
class SkillConfig:
    """How good the pushes are. By default, alone, they bring the blocks together within 100 steps
    in 24 of 40 episodes."""

    aim: float = 1.0
    """Standard deviation of the direction's error, rad."""
    aside: float = 0.6
    """That of where the block is touched, in distances between the middles then."""
    pace: float = 0.8
    """Share of the pusher's speed while it pushes."""
    furthest: float = 0.1
    """Longest push, m."""
    longest: int = 40
    """Most actions of a proposal; what is longer is cut, and goes on with the next one."""


SKILL = SkillConfig()


@dataclass(frozen=True, kw_only=True)
class Pushes:
    """Proposals of pushes from the true state of running tabletops.

    Attributes:
        envs: B simulators.
        skill: how good the pushes are.
    """

    envs: list[gym.Env]
    skill: SkillConfig = SKILL

    @property
    def horizon(self) -> int:
        """H, the length that proposals are padded to."""
        return self.skill.longest

    def __call__(self, state: Any, memory: Memory, count: int) -> Proposals:
        """See `best_of.Propose`; the pusher stays where it is after a proposal's end."""
        seeds, decisions = memory.seeds.tolist(), memory.decisions.tolist()
        actions = np.zeros((len(self.envs), count, self.horizon, 2), np.float32)
        lengths = np.empty((len(self.envs), count), np.int64)
        for b, env in enumerate(self.envs):
            table = simulator(env)
            move, to = NAMES.index(table.move), NAMES.index(table.to)
            for k in range(count):
                rng = np.random.default_rng([seeds[b], 8, decisions[b], k])
                push = propose(
                    table.poses[:, :2], table.effector_pos, move, to, rng=rng, skill=self.skill
                )
                lengths[b, k] = len(push)
                actions[b, k, : len(push)] = push
        return Proposals(actions=torch.from_numpy(actions), lengths=torch.from_numpy(lengths))


def propose(
    blocks: np.ndarray,
    pusher: np.ndarray,
    move: int,
    to: int,
    *,
    rng: np.random.Generator,
    skill: SkillConfig = SKILL,
) -> np.ndarray:
    """One push of a block to another.

    Args:
        blocks: Places of all blocks, (4, 2), m.
        pusher: Where the pusher is, (2,), m.
        move: Number of the block that is pushed.
        to: Of the block that it is pushed to.
        rng: Draws the errors.
        skill: How large they are.

    Returns:
        Actions, float32 (n, 2), n from 1 to `skill.longest`.
    """
    at, way = blocks[move], blocks[to] - blocks[move]
    angle = np.arctan2(way[1], way[0]) + rng.normal(0, skill.aim)
    direction = np.array([np.cos(angle), np.sin(angle)])
    touching = RADII[move] + PUSHER_RADIUS
    aside = np.array([-direction[1], direction[0]]) * rng.normal(0, skill.aside) * touching
    begin = np.clip(at - direction * (touching + 0.004) + aside, REACH_LOW, REACH_HIGH)
    clear = RADII + PUSHER_RADIUS + 0.005
    actions, place = [], np.asarray(pusher, float)
    while len(actions) < skill.longest and np.linalg.norm(begin - place) > ARRIVED:
        corner = next_corner(place, begin, blocks, clear, REACH_LOW, REACH_HIGH)
        actions.append(np.clip(towards(place, corner, 1.0), -1, 1))
        place = np.clip(place + STEP * actions[-1], REACH_LOW, REACH_HIGH)
    length = (np.linalg.norm(way) - TOUCHING) * rng.uniform(0.7, 1.2) + 0.004
    length = min(max(length, STEP), skill.furthest)
    actions += [direction * skill.pace] * int(np.ceil(length / (STEP * skill.pace)))
    return np.array(actions[: skill.longest], np.float32)
