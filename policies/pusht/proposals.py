"""Push-T's base policy for planning: open-loop pushes of middling skill, several to choose from.

A proposal is what a chunk policy would give: all targets of the disc for one approach and one push,
made at once from the simulator's true state. Alone (K = 1) it is the base policy of the paper's
planning experiment; a planner ranks K of them. `SKILL` was found by measurement
(docs/planning/README.md).

Dimensions: n targets of a proposal, K proposals. Lengths are simulator pixels.
"""

from collections import deque
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from policies.pusht.geometry import HIGH, LOW, Pose
from policies.pusht.push_planner import PlannerConfig, PushPlanner, true_state
from policies.pusht.recorders import walk
from world_model.config_fields import check_least


@dataclass(frozen=True, kw_only=True)
class SkillConfig:
    """How good the pushes are.

    Attributes:
        num_candidates: pushes tried in the second simulator before the best is proposed.
        aim_noise: standard deviation of the error of a push's begin and of its end, px.
        travel_speed: px a step on the way to a push.
        push_speed: px a step while pushing.
        longest: most targets of a proposal; what is longer is cut, and goes on with the next one.
    """

    num_candidates: int = 5
    aim_noise: float = 15.0
    travel_speed: float = 30.0
    push_speed: float = 14.0
    longest: int = 32

    def __post_init__(self):
        check_least(self, num_candidates=1, longest=1)


SKILL = SkillConfig()
# The disc runs two steps behind its target: it waits so many before a push and after it.
WAIT_BEFORE, WAIT_AFTER = 3, 2


def propose(
    disc: np.ndarray,
    block: Pose,
    goal: Pose,
    count: int,
    *,
    seed: int,
    decision: int,
    skill: SkillConfig = SKILL,
) -> list[np.ndarray]:
    """`count` pushes from one state, a function of (seed, decision).

    The first of many are the same as if few were asked for, so planners with other K's choose
    among the same proposals.

    Args:
        disc: Where the disc is, (2,).
        block: Where the block is.
        goal: Where it shall be.
        count: K.
        seed: Of the episode.
        decision: Number of the decision within it.
        skill: How good they are.

    Returns:
        Targets of the disc, float32 (n, 2) each, n at most `skill.longest`.
    """
    rng = np.random.default_rng([seed, 6, decision])
    budget = PlannerConfig(num_candidates=skill.num_candidates, num_refined=0)
    planner = PushPlanner(goal, rng, budget)
    proposals = []
    for _ in range(count):
        route, push = planner.plan(block, disc)
        errors = rng.normal(0, skill.aim_noise, (2, 2))
        begin, end = np.clip(np.stack([push.start, push.end]) + errors, LOW, HIGH)
        targets, at = [], disc
        for corner in [*route[:-1], begin]:
            targets += walk(at, corner, skill.travel_speed)
            at = corner
        targets += [begin] * WAIT_BEFORE + walk(begin, end, skill.push_speed) + [end] * WAIT_AFTER
        proposals.append(np.clip(targets[: skill.longest], 0, 512).astype(np.float32))
    return proposals


class Pusher:
    """The base policy: one proposal after the other, each executed whole."""

    kind = "pusher"
    max_steps: int | None = None

    def __init__(self, env: gym.Env, seed: int, skill: SkillConfig = SKILL):
        self._env = env
        self._seed = seed
        self._skill = skill
        self._decision = 0
        self._targets: deque[np.ndarray] = deque()

    def __call__(self, observation: object) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        if not self._targets:
            (proposal,) = propose(
                *true_state(self._env),
                1,
                seed=self._seed,
                decision=self._decision,
                skill=self._skill,
            )
            self._targets.extend(proposal)
            self._decision += 1
        return self._targets.popleft()


pusher = Pusher
