"""An episode in receding horizon: plan, carry out a part, plan again."""

import time
from dataclasses import dataclass

import torch

from policies.planning.objective import Rollout
from policies.planning.plan import Planner
from policies.planning.scene import Scene


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """How an episode went."""

    seed: int
    steps: int
    decisions: int
    success: bool
    """As the scene judges: gym-pusht ends an episode at a coverage of .95."""
    total_reward: float
    final_reward: float
    final_coverage: float | None
    """Intersection of block and goal over the goal's area; None where the scene does not tell."""
    final_iou: float | None
    """Intersection over union, which for two equal shapes is coverage / (2 - coverage)."""
    decision_seconds: tuple[float, ...]
    """Of each decision: taking in the last frames, and planning."""


def run_episode(
    scene: Scene,
    planner: Planner,
    rollout: Rollout,
    *,
    seed: int,
    max_steps: int,
    executed: int | None = None,
) -> EpisodeResult:
    """Run one episode.

    Args:
        scene: Where.
        planner: What decides.
        rollout: The model it decides by.
        seed: Of the episode, and of the planner.
        max_steps: Longest episode.
        executed: Actions carried out before the next decision; None is all that belong to a plan.
    """
    if executed is not None and executed < 1:
        raise ValueError(f"executed is {executed}, expected at least 1")
    first = scene.reset(seed)
    memory = planner.begin([seed], torch.as_tensor(first, dtype=torch.float32)[None])
    steps, total, seconds = 0, 0.0, []
    last = None
    while steps < max_steps and not (last is not None and last.terminated):
        begin = time.perf_counter()
        plan = planner(rollout, scene.state(), memory)
        actions = plan.actions[0].cpu().numpy()  # the host waits here
        seconds.append(time.perf_counter() - begin)
        count = int(plan.lengths[0]) if executed is None else min(executed, planner.horizon)
        count = min(count, max_steps - steps)
        for action in actions[:count]:
            last = scene.step(action)
            total += last.reward
            steps += 1
            if last.terminated:
                break
        memory = plan.memory.shifted(count)
    assert last is not None, "an episode has at least one step"
    coverage = last.coverage
    return EpisodeResult(
        seed=seed,
        steps=steps,
        decisions=len(seconds),
        success=last.success,
        total_reward=total,
        final_reward=last.reward,
        final_coverage=coverage,
        final_iou=None if coverage is None else coverage / (2 - coverage),
        decision_seconds=tuple(seconds),
    )
