"""An episode in receding horizon: plan, carry out a part, plan again."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
    """As the scene decides."""
    total_reward: float
    final_reward: float
    outcome: Mapping[str, float]
    """How far the goal was reached at the end, by name; empty if the scene does not measure it."""
    decision_seconds: tuple[float, ...]
    """Of each decision: taking in the last frames, and planning."""

    @property
    def finals(self) -> dict[str, float]:
        """`outcome` by the names that reports give it."""
        return {f"final_{name}": value for name, value in self.outcome.items()}

    def record(self) -> dict[str, Any]:
        """All of it, flat, for a report."""
        values = asdict(self)
        del values["outcome"]
        return values | self.finals


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
    return EpisodeResult(
        seed=seed,
        steps=steps,
        decisions=len(seconds),
        success=last.success,
        total_reward=total,
        final_reward=last.reward,
        outcome=last.outcome,
        decision_seconds=tuple(seconds),
    )
