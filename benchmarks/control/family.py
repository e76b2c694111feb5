"""`irasim bench family`: a task's family of policies in its simulator alone, no world needed.

Every policy plays from the same fresh resets, on the observations that episodes are recorded with.
`irasim bench ranking` plays it in a world too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world_model.config_fields import check_least
from world_model.tasks import load_task


@dataclass(frozen=True, kw_only=True)
class FamilyConfig:
    """Play a task's family of policies in its simulator, and report success and return."""

    task: str
    """Name of an installed task that has a family of policies."""
    policies: tuple[str, ...] = ()
    """Policies of the family to play, by name (default: all)."""
    episodes: int = 100
    """Number of episodes per policy."""
    seed: int = 2_500_000
    """Seed of the first reset; training and validation use none above 1,999,999."""
    out: Path | None = None
    """Directory for family.json; nothing is written without it."""

    def __post_init__(self):
        check_least(self, episodes=1)


def main(config: FamilyConfig) -> dict[str, Any]:
    """Play, print a table, write the report if asked to, and return it."""
    import importlib

    from benchmarks import report

    task = load_task(config.task)
    if task.family is None:
        raise ValueError(
            f"task {task.name!r} has no family of policies, which this needs; add one to its Task "
            "(docs/tasks.md)"
        )
    family = importlib.import_module(task.family)
    if unknown := set(config.policies) - set(family.FAMILY):
        raise ValueError(
            f"policies {', '.join(sorted(unknown))} are not of the family; expected some of "
            f"{', '.join(family.FAMILY)}"
        )
    results: dict[str, Any] = {
        **report.heading("irasim bench family", config, "cpu"),
        "env_id": task.env_id,
        "success_rule": task.success,
        "max_episode_steps": task.max_episode_steps,
        "policies": {
            name: play(config, getattr(family, name), name)
            for name in config.policies or family.FAMILY
        },
    }
    return report.publish(results, tables(results), config.out, "family")


def play(config: FamilyConfig, factory: Any, name: str) -> dict[str, Any]:
    """Episodes of one policy: how many succeed, how soon, and what they return."""
    import gymnasium as gym
    import numpy as np

    from benchmarks.metrics.frames import bootstrap_interval, wilson_interval
    from world_model.progress import progress_bar

    task = load_task(config.task)
    env = gym.make(task.env_id, **{"disable_env_checker": True, **task.env_kwargs})
    solved, steps, returns = [], [], []
    try:
        for index in progress_bar(range(config.episodes), desc=name, unit="episodes"):
            seed = config.seed + index
            policy = factory(env, seed)
            observation, info = env.reset(seed=seed)
            total, count, over, terminated = 0.0, 0, False, False
            while not over:
                observation, reward, terminated, truncated, info = env.step(policy(observation))
                total, count = total + float(reward), count + 1
                over = terminated or truncated
            ended_well = terminated and task.success_on_termination
            solved.append(bool(info.get("is_success", ended_well)))
            steps.append(count)
            returns.append(total)
    finally:
        env.close()
    successes = [count for count, well in zip(steps, solved, strict=True) if well]
    return {
        "episodes": len(solved),
        "success": sum(solved) / len(solved),
        "success_interval": wilson_interval(sum(solved), len(solved)),
        "median_steps_to_success": float(np.median(successes)) if successes else None,
        "return": float(np.mean(returns)),
        "return_interval": bootstrap_interval(np.array(returns), config.seed),
    }


def tables(results: dict[str, Any]) -> str:
    """The report as printed."""
    from benchmarks.report import interval, number, table

    rows = [
        (
            name,
            str(one["episodes"]),
            f"{number(one['success'], 3)} {interval(one['success_interval'])}",
            number(one["median_steps_to_success"], 0),
            f"{number(one['return'])} {interval(one['return_interval'])}",
        )
        for name, one in results["policies"].items()
    ]
    header = ("policy", "episodes", "success", "median steps to it", "return")
    return "\n\n".join(
        [
            f"Family of task {results['config']['task']} in {results['env_id']}, at most "
            f"{results['max_episode_steps']} steps, seeds from {results['config']['seed']}; "
            f"success: {results['success_rule']}. Intervals are of 95 %: Wilson's for rates, "
            "bootstrapped over episodes for returns.",
            table(header, rows),
        ]
    )
