"""`irasim bench best-of`: what a policy gains from the best of K plans, chosen in a world.

A task's base policy proposes K plans at each decision (`Task.proposals`), the world ranks them by
the reward that it predicts for each, and the best is carried out in the real simulator: IRASim's
planning experiment (arXiv 2406.14540), for any task. Trials are paired: trial i of every K has the
same start. Each finished trial is a line of trials.jsonl; a stopped run goes on by the same
command.
"""

from typing import Any

from benchmarks import report
from benchmarks.control.config import BestOfBenchConfig
from benchmarks.control.paired_trials import Trials, read_trials, summarise
from benchmarks.line_log import append_line
from benchmarks.report import interval, number, table
from policies.planning import BestOf, BestOfConfig, LearnedRollout, Objective
from policies.planning.episode import run_episode
from policies.planning.learned import set_precision
from policies.planning.scene import RealScene
from world_model import WorldModel
from world_model.io.checkpoint import find_world, read_config
from world_model.progress import progress_bar
from world_model.tasks import need_task


def main(config: BestOfBenchConfig) -> dict[str, Any]:
    """Run what is missing, print the table, write the report, and return it."""
    world = report.open_world(config)
    set_precision(world, config.precision)
    task = need_task(world.config, "irasim bench best-of")
    task.load("proposals")  # one that has none says so before any work
    max_steps = config.max_steps or world.config.max_episode_steps
    if max_steps is None:
        raise ValueError(f"world {world.config.name!r} has no time limit; give --max-steps")
    config.out.mkdir(parents=True, exist_ok=True)
    key = _key(config, max_steps)
    _run_missing(config, world, key)
    trials = _read(config, key)
    results = {
        **report.heading("irasim bench best-of", config, str(world.device), world),
        "task": task.name,
        "success_rule": task.success,
        "rows": [_row(count, trials, config.seed) for count in config.candidates],
    }
    return report.publish(results, tables(results), config.out, "best_of")


def _run_missing(config: BestOfBenchConfig, world: WorldModel, key: dict[str, Any]) -> None:
    """Run the trials that trials.jsonl does not hold, trial by trial over all K, so that pairs stay
    whole when the run is stopped."""
    done = _read(config, key)
    missing = [
        (seed, count)
        for seed in range(config.seed, config.seed + config.trials)
        for count in config.candidates
        if seed not in done.get(count, {})
    ]
    rollout = LearnedRollout(world=world, max_rows=config.max_rows, imagine=config.imagine)
    task = need_task(world.config, "irasim bench best-of")
    about, objective = world.config, Objective(kind=config.objective, after_end="zero")
    if about.success_on_termination and config.objective != "sum":
        objective = Objective(kind=config.objective, after_end="hold")
    for seed, count in progress_bar(missing, desc="best of K", unit="trials"):
        scene = RealScene(about, world)
        try:
            propose = task.load("proposals")(envs=[scene.env])
            settings = BestOfConfig(
                num_candidates=count, horizon=propose.horizon, objective=objective
            )
            planner = BestOf(
                about.action_low, about.action_high, propose, settings, device=world.device
            )
            result = run_episode(scene, planner, rollout, seed=seed, max_steps=key["max_steps"])
        finally:
            scene.close()
        append_line(config.out / "trials.jsonl", {**key, "count": count, **result.record()})


def _key(config: BestOfBenchConfig, max_steps: int) -> dict[str, Any]:
    """What a finished trial must agree in to count."""
    return {
        "weights_sha256": read_config(find_world(config.world))[1]["model.safetensors"],
        "precision": config.precision,
        "imagine": config.imagine,
        "objective": config.objective,
        "max_steps": max_steps,
    }


def _read(config: BestOfBenchConfig, key: dict[str, Any]) -> dict[int, Trials]:
    """Finished trials of this command, by K."""
    found: dict[int, Trials] = {}
    for trial in read_trials(config.out / "trials.jsonl"):
        inside = config.seed <= trial["seed"] < config.seed + config.trials
        if inside and all(trial.get(name) == value for name, value in key.items()):
            found.setdefault(trial["count"], {})[trial["seed"]] = trial
    return found


def _row(count: int, trials: dict[int, Trials], seed: int) -> dict[str, Any]:
    """What K = `count` gives, and gains over K = 1."""
    mine, base = trials[count], trials.get(1, {}) if count > 1 else {}
    finals = [name for name in next(iter(mine.values())) if name.startswith("final_")]
    return {"candidates": count, **summarise(mine, base, ("total_reward", *finals), seed)}


def tables(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    rows, config = results["rows"], results["config"]
    measured = [name.removesuffix("_gain") for name in rows[0] if name.endswith("_gain")]
    header = ["K", "trials"]
    for name in measured:
        header += [name.replace("_", " "), "over K = 1"]
    cells = []
    for row in rows:
        line = [str(row["candidates"]), str(row["trials"])]
        for name in measured:
            line.append(f"{number(row[name])} {interval(row[f'{name}_interval'])}")
            gain = row[f"{name}_gain"]
            shown = gain is not None
            line.append(f"{gain:+.2f} {interval(row[f'{name}_gain_interval'])}" if shown else "-")
        cells.append((*line, f"{row['decision_seconds_median']:.2g}"))
    success = f" Success: {results['success_rule']}." if results["success_rule"] else ""
    return "\n\n".join(
        [
            f"The best of K plans of the base policy of task {results['task']}, as world "
            f"{results['world']['name']} ranks them by {config['objective']} of rewards "
            f"(imagining {config['imagine']}), carried out in the simulator. Seeds from "
            f"{config['seed']}; 95 % intervals: BCa bootstrap, Wilson's for success; differences "
            f"are paired.{success} {results['hardware']}.",
            table((*header, "decision s"), cells),
        ]
    )
