"""`irasim plan`: runs a planner for some episodes, in a learned world or in the real simulator."""

import json
import os
import platform
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.metrics.frames import bootstrap_interval, wilson_interval
from policies.planning import (
    CEM,
    MPPI,
    BestOf,
    BestOfConfig,
    CEMConfig,
    LearnedRollout,
    MPPIConfig,
    Objective,
    Planner,
    Rollout,
    SimulatorRollout,
    icem_config,
)
from policies.planning.branching import BranchingSimulator
from policies.planning.config import PlanConfig
from policies.planning.episode import EpisodeResult, run_episode
from policies.planning.learned import set_precision
from policies.planning.scene import LearnedScene, RealScene, simulator_settings
from world_model import WorldConfig, WorldModel
from world_model.directories import check_directory
from world_model.io.whole_files import write_whole
from world_model.progress import progress_bar
from world_model.tasks import need_task, task_of, task_packages
from world_model.versions import versions

VERSIONS_NOTED = ("irasim-env", "torch", "numpy", "gymnasium")


def main(config: PlanConfig) -> dict[str, Any]:
    """Run the episodes, print how they went, write it if asked, and return it."""
    if config.out is not None:
        check_directory(config.out)
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    world = WorldModel.from_pretrained(config.world, device=device)
    set_precision(world, config.precision)
    max_steps = config.max_steps or world.config.max_episode_steps
    if max_steps is None:
        raise ValueError(f"world {world.config.name!r} has no time limit; give --max-steps")
    simulator = None
    if config.model == "real" and world.config.choices is not None:
        raise ValueError(
            f"world {world.config.name!r} has discrete actions, which the real simulator is not "
            "planned with; plan in the world: --model learned"
        )
    if config.model == "real":
        simulator = BranchingSimulator(*simulator_settings(world.config), workers=config.workers)
        rollout: Rollout = SimulatorRollout(simulator=simulator)
    else:
        rollout = LearnedRollout(world=world, max_rows=config.max_rows, imagine=config.imagine)
    scene = make_scene(config, world)
    planner = make_planner(config, world, scene)
    executed = config.executed
    if executed is None and config.planner != "best":
        executed = max(planner.horizon // 2, 1)
    episodes = []
    try:
        for index in progress_bar(range(config.episodes), desc="planning", unit="episodes"):
            episodes.append(
                run_episode(
                    scene,
                    planner,
                    rollout,
                    seed=config.seed + index,
                    max_steps=max_steps,
                    executed=executed,
                )
            )
    finally:
        scene.close()
        if simulator is not None:
            simulator.close()
    results = {
        "command": "irasim plan",
        "config": {**asdict(config), "out": config.out and str(config.out)},
        "resolved": {"horizon": planner.horizon, "executed": executed, "max_steps": max_steps},
        "world": {"name": world.config.name, "loaded_from": config.world},
        "device": device,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} "
        "threads" + (f", {torch.cuda.get_device_name()}" if device.startswith("cuda") else ""),
        "versions": versions(*VERSIONS_NOTED, *task_packages()),
        "success_rule": success_rule(world.config),
        **summary(episodes, config.seed),
        "episodes": [episode.record() for episode in episodes],
    }
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(results, indent=1, allow_nan=False)
        write_whole(config.out / "plan.json", text + "\n")
    print(report(results))
    return results


def success_rule(config: WorldConfig) -> str:
    """What counts as success."""
    rule = "as the place where plans are carried out ends an episode"
    task = task_of(config)
    return rule if task is None or task.success is None else f"{rule}; {task.name}: {task.success}"


def make_scene(config: PlanConfig, world: WorldModel) -> LearnedScene | RealScene:
    """Where plans are carried out."""
    if config.env == "learned":
        return LearnedScene(world)
    return RealScene(world.config, world if config.model == "learned" else None)


def make_planner(config: PlanConfig, world: WorldModel, scene: LearnedScene | RealScene) -> Planner:
    """The planner asked for, over the world's actions."""
    low, high, device = world.config.action_low, world.config.action_high, world.device
    objective = Objective(
        kind=config.objective,
        after_end="hold" if world.config.success_on_termination else "zero",
    )
    if config.planner == "best":
        propose = need_task(world.config, "--planner best").load("proposals")(envs=[scene.env])
        best = BestOfConfig(
            num_candidates=config.candidates, horizon=propose.horizon, objective=objective
        )
        return BestOf(low, high, propose, best, device=device)
    settings: dict[str, Any] = {
        "num_candidates": config.candidates,
        "horizon": config.horizon,
        "num_iterations": config.iterations,
        "std": config.std,
        "objective": objective,
    }
    if config.planner == "mppi":
        return MPPI(low, high, MPPIConfig(**settings), device=device)
    settings["num_elites"] = max(config.candidates // 8, 1)
    if config.planner == "icem":
        settings["num_kept"] = min(2, settings["num_elites"])
        return CEM(low, high, icem_config(**settings), device=device)
    return CEM(low, high, CEMConfig(**settings), device=device)


def summary(episodes: list[EpisodeResult], seed: int) -> dict[str, Any]:
    """Means over episodes with 95 % intervals: bootstrap, and Wilson's for the rate of success."""
    found: dict[str, Any] = {}
    records = [episode.record() for episode in episodes]
    for name in (*episodes[0].finals, "final_reward", "total_reward", "steps"):
        values = [record[name] for record in records]
        found[name] = float(np.mean(values))
        found[f"{name}_interval"] = list(bootstrap_interval(values, seed))
    successes = sum(episode.success for episode in episodes)
    seconds = np.concatenate([episode.decision_seconds for episode in episodes])
    return {
        "trials": len(episodes),
        "successes": successes,
        "success": successes / len(episodes),
        "success_interval": list(wilson_interval(successes, len(episodes))),
        **found,
        "decisions": len(seconds),
        "decision_seconds_median": float(np.median(seconds)),
        "decision_seconds_p90": float(np.percentile(seconds, 90)),
    }


def report(results: dict[str, Any]) -> str:
    """What is printed."""
    config, resolved = results["config"], results["resolved"]
    lines = [
        f"{config['planner']} in the {config['model']} model, carried out in the {config['env']} "
        f"{'simulator' if config['env'] == 'real' else 'world'}: K {config['candidates']}, "
        f"H {resolved['horizon']}, {resolved['executed'] or 'all'} executed; {results['trials']} "
        f"trials, seeds from {config['seed']}; world {results['world']['name']}, "
        f"{results['hardware']}"
    ]
    low, high = results["success_interval"]
    lines.append(f"success         {results['success']:.3f} [{low:.3f}, {high:.3f}] (Wilson)")
    for name in results:
        if f"{name}_interval" in results and name != "success":
            low, high = results[f"{name}_interval"]
            lines.append(f"{name:<15} {results[name]:.3f} [{low:.3f}, {high:.3f}]")
    lines.append(
        f"decision        {results['decision_seconds_median']:.3f} s, the slowest tenth over "
        f"{results['decision_seconds_p90']:.3f} s ({results['decisions']} of them)"
    )
    return "\n".join(lines)
