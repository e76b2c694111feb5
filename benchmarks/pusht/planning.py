"""`irasim bench pusht-planning`: IRASim's Push-T planning experiment (arXiv 2406.14540).

A base policy of middling skill proposes K pushes at each decision; a model ranks them by where
it predicts the T to be at their end, and the best is carried out in the real simulator. The model
is a learned world (after training on P rollouts of the base policy) or the real simulator itself.
Trials are paired: trial i of every row has the same start, and the same proposals as long as the
same ones are chosen. K = 1 is the base policy alone and is the same row for all models. Each
finished trial is a line of trials.jsonl; a stopped run goes on by the same command.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.control.paired_trials import Trials, read_trials, summarise
from benchmarks.line_log import append_line
from benchmarks.pusht.nearness import LearnedNearness
from benchmarks.pusht.planning_config import BASE, REAL, PushTPlanningConfig
from benchmarks.report import interval, number, table
from policies.planning import (
    BestOf,
    BestOfConfig,
    BranchingSimulator,
    LearnedRollout,
    SimulatorRollout,
)
from policies.planning.episode import EpisodeResult, run_episode
from policies.planning.learned import set_precision
from policies.planning.scene import RealScene, simulator_settings
from policies.pusht.proposals import SKILL, SkillConfig
from policies.pusht.push_proposals import Pushes
from training.jobs.cluster import Cluster
from training.jobs.run import run_here
from world_model import WorldConfig, WorldModel
from world_model.directories import check_directory
from world_model.io.checkpoint import find_world, read_config
from world_model.io.whole_files import write_whole
from world_model.progress import progress_bar
from world_model.runtime.check_inputs import find_device

# The paper's table: final IoU over 100 trials, base policy 0.637, by P and K.
PAPER_BASE = 0.637
PAPER = {
    "0": {5: 0.679, 10: 0.572, 50: 0.418},
    "100": {5: 0.847, 10: 0.878, 50: 0.888},
    "500": {5: 0.907, 10: 0.906, 50: 0.938},
    "1000": {5: 0.886, 10: 0.945, 50: 0.961},
}
Trial = tuple[int, str, int]  # seed, model, K
RowTrials = dict[tuple[str, int], Trials]  # of a model and K
FINALS = ("final_coverage", "final_iou")
NEARNESS = "policies.pusht.nearness:simulator_nearness"
SUCCESS_RULE = (
    "gym-pusht ends an episode at a coverage over 0.95, which is an IoU over 0.905, so a final IoU "
    "seldom exceeds that; an episode that does not get there ends after {max_steps} steps"
)


def main(config: PushTPlanningConfig) -> dict[str, Any]:
    """Run what is missing, print the table, write it, and return what it says."""
    check_directory(config.out)
    cluster = None
    if config.ray is None:
        device = report.choose_device(config.device)
    else:
        cluster = Cluster(config, config.device, cores=config.workers)
        device = cluster.device
    config.out.mkdir(parents=True, exist_ok=True)
    _run_missing(config, SKILL, device, cluster)
    trials = _read_trials(config, SKILL)
    results = {
        **report.heading("irasim bench pusht-planning", config, "cpu" if cluster else device),
        **({"hardware": str(cluster)} if cluster else {}),
        "skill": asdict(SKILL),
        "success_rule": SUCCESS_RULE.format(max_steps=config.max_steps),
        "rows": summarised(trials, config),
        "paper": {"base": PAPER_BASE, "final_iou": PAPER},
    }
    report.write_report(config.out / "pusht_planning.json", results)
    write_whole(config.out / "table.md", (text := tables(results)) + "\n")
    print(text)
    return results


def _run_missing(
    config: PushTPlanningConfig, skill: SkillConfig, device: str, cluster: Cluster | None
) -> None:
    """Run the trials that trials.jsonl does not hold, trial by trial over all rows.

    That order keeps the pairs whole when the run is stopped.
    """
    done = _read_trials(config, skill)
    missing = [
        (seed, model, count)
        for seed in range(config.seed, config.seed + config.trials)
        for model, count in config.rows
        if seed not in done.get((model, count), {})
    ]
    if not missing:
        return
    jobs = _within_budget(missing, config.budget_minutes)
    with ExitStack() as closing:
        if cluster is None:
            make = partial(_trials_here, config, device, skill, closing)
            results = run_here(make, jobs, 0)
        else:
            worlds = {name: _open(config, name, "cpu") for name in config.worlds}
            results = cluster.run(partial(_trials_there, config, device, skill, worlds), jobs)
        with progress_bar(total=len(missing), desc="Push-T planning", unit="trials") as progress:
            for (_, model, count), result in results:
                trial = {**_row_key(config, skill, model), "count": count, **result.record()}
                append_line(_trials_path(config), trial)
                progress.update()


def _within_budget(missing: list[Trial], minutes: float | None) -> Iterator[Trial]:
    """Trials until the time is over."""
    begin = time.perf_counter()
    for trial in missing:
        gone = (time.perf_counter() - begin) / 60
        if minutes is not None and gone > minutes:
            print(f"stopped after {gone:.1f} minutes; the same command continues")
            return
        yield trial


def _trials_here(
    config: PushTPlanningConfig, device: str, skill: SkillConfig, closing: ExitStack
) -> Callable[[Trial], EpisodeResult]:
    """What runs trials in this process, until `closing` closes."""
    return closing.enter_context(_Models(config, device, skill)).trial


def _trials_there(
    config: PushTPlanningConfig, device: str, skill: SkillConfig, worlds: dict[str, WorldModel]
) -> Callable[[Trial], EpisodeResult]:
    """What runs trials in a worker of a cluster, for as long as it lives."""
    models = _Models(config, device, skill)
    models.worlds.update({name: world.to(find_device(device)) for name, world in worlds.items()})
    return models.trial


def _open(config: PushTPlanningConfig, name: str, device: str) -> WorldModel:
    world = WorldModel.from_pretrained(config.worlds[name], device=device)
    set_precision(world, config.precision)
    return world


class _Models:
    """The models that are planned in, each made when it is first asked for."""

    def __init__(self, config: PushTPlanningConfig, device: str, skill: SkillConfig):
        self._config, self._device, self._skill = config, device, skill
        self.worlds: dict[str, WorldModel] = {}
        self._simulator: BranchingSimulator | None = None

    def __enter__(self) -> "_Models":
        return self

    def __exit__(self, *_: object) -> None:
        if self._simulator is not None:
            self._simulator.close()

    def trial(self, job: Trial) -> EpisodeResult:
        """One trial of a row."""
        seed, model, count = job
        config = self._config
        world = None if model in (REAL, BASE) else self._world(model)
        about = push_t() if world is None else world.config
        if world is not None:
            kind = LearnedNearness if config.rank == "nearness" else LearnedRollout
            rollout: Any = kind(world=world, max_rows=config.max_rows, imagine=config.imagine)
        elif model == REAL:
            if self._simulator is None:
                self._simulator = BranchingSimulator(
                    *simulator_settings(about),
                    workers=config.workers,
                    measure=NEARNESS if config.rank == "nearness" else None,
                )
            rollout = SimulatorRollout(simulator=self._simulator)
        else:
            rollout = _nothing_to_rank
        scene = RealScene(about, world)
        try:
            planner = BestOf(
                about.action_low,
                about.action_high,
                Pushes(envs=[scene.env], skill=self._skill),
                BestOfConfig(num_candidates=count, horizon=self._skill.longest),
            )
            return run_episode(scene, planner, rollout, seed=seed, max_steps=config.max_steps)
        finally:
            scene.close()

    def _world(self, name: str) -> WorldModel:
        if name not in self.worlds:
            self.worlds[name] = _open(self._config, name, self._device)
        return self.worlds[name]


def push_t() -> WorldConfig:
    """What the shipped world says of Push-T: its simulator and its actions."""
    return read_config(find_world("pusht"))[0]


def _nothing_to_rank(state: Any, actions: Any) -> Any:
    raise AssertionError("the base policy ranks nothing")


def _trials_path(config: PushTPlanningConfig) -> Path:
    return config.out / "trials.jsonl"


def _row_key(config: PushTPlanningConfig, skill: SkillConfig, model: str) -> dict[str, Any]:
    """What a finished trial must agree in to count for a row: model, weights, base policy."""
    weights = None
    if model in config.worlds:
        weights = read_config(find_world(config.worlds[model]))[1]["model.safetensors"]
    return {
        "model": model,
        "weights_sha256": weights,
        "precision": config.precision if weights else None,
        "imagine": config.imagine if weights else None,
        "rank": None if model == BASE else config.rank,
        "skill": asdict(skill),
        "max_steps": config.max_steps,
    }


def _read_trials(config: PushTPlanningConfig, skill: SkillConfig) -> RowTrials:
    """Finished trials of this command."""
    keys = {model: _row_key(config, skill, model) for model, _ in config.rows}
    seeds = range(config.seed, config.seed + config.trials)
    found: RowTrials = {}
    for trial in read_trials(_trials_path(config)):
        key = keys.get(trial["model"])
        fits = key is not None and all(trial.get(name) == value for name, value in key.items())
        if fits and trial["seed"] in seeds:
            found.setdefault((trial["model"], trial["count"]), {})[trial["seed"]] = trial
    return found


def summarised(trials: RowTrials, config: PushTPlanningConfig) -> list[dict[str, Any]]:
    """The rows that have trials, each with its gains over the base policy alone."""
    base = trials.get((BASE, 1), {})
    return [
        {
            "model": model,
            "candidates": count,
            **summarise(trials[model, count], base, FINALS, config.seed),
        }
        for model, count in config.rows
        if (model, count) in trials
    ]


def tables(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    rows = [
        (
            _label(row["model"]),
            str(row["candidates"]),
            str(row["trials"]),
            f"{number(row['final_coverage'], 3)} {interval(row['final_coverage_interval'], 3)}",
            f"{number(row['final_iou'], 3)} {interval(row['final_iou_interval'], 3)}",
            _gain(row, "final_coverage"),
            _gain(row, "final_iou"),
            f"{number(row['success'])} {interval(row['success_interval'])}",
            f"{row['decision_seconds_median']:.2g}",
            _paper(row["model"], row["candidates"]),
        )
        for row in results["rows"]
    ]
    header = ("model", "K", "trials", "final coverage", "final IoU", "coverage over base")
    header += ("IoU over base", "success", "decision s", "paper's final IoU")
    skill, config = results["skill"], results["config"]
    imagined = f" (learned ones by {config['imagine']})" if config["world"] else ""
    return "\n\n".join(
        [
            f"Push-T planning: the best of K pushes of the base policy ({skill['num_candidates']} "
            f"pushes tried, {skill['aim_noise']:g} px of aiming error), ranked by {config['rank']} "
            f"as a model predicts it{imagined}, carried out in the real simulator. Seeds from "
            f"{config['seed']}; 95 % intervals: BCa bootstrap, Wilson's for success; differences "
            f"are paired. {results['success_rule']}. "
            f"{results['hardware']}.",
            table(header, rows),
            "The paper's figures are IRASim's Push-T planning (arXiv 2406.14540), 100 trials, with "
            "another base policy, so only the shape can be compared. Coverage is the "
            "intersection's share of the goal, IoU its share of the union.",
        ]
    )


def _label(model: str) -> str:
    names = {BASE: "base policy alone", REAL: "real simulator"}
    return names.get(model, f"learned, P = {model}")


def _gain(row: dict[str, Any], name: str) -> str:

    gain = row[f"{name}_gain"]
    if gain is None or row["model"] == BASE:
        return "-"
    return f"{gain:+.3f} {interval(row[f'{name}_gain_interval'], 3)}"


def _paper(model: str, count: int) -> str:
    figure = PAPER_BASE if model == BASE else PAPER.get(model, {}).get(count)
    return "-" if figure is None else f"{figure:.3f}"
