"""`irasim bench ranking`: does a learned world order policies as its ground truth does.

A family of policies plays in both from the same starts. Agreement of their success rates (and
returns) is measured by Pearson's and Spearman's correlations and by MMRV, with intervals that
contain them (`benchmarks.metrics.rank_agreement`); success in the world by its head, and by the
success detector, from frames alone."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.control.config import RankingConfig
from benchmarks.control.policy_log import EpisodeRecord
from benchmarks.control.policy_player import PolicyToRun
from benchmarks.control.policy_runs import PolicyRuns, judged_outcomes, summary_table
from benchmarks.control.scatter import Point, write_scatter
from benchmarks.metrics.rank_agreement import estimate_agreement
from benchmarks.policy_evaluation import title
from benchmarks.report import interval, number, table
from world_model.io.checkpoint import find_world, read_config
from world_model.io.whole_files import write_whole
from world_model.tasks import all_tasks, load_task, need_task, task_names

SCORES = {
    "success": "success, in the world by what ends its episodes",
    "judged": "success, in the world by the success detector (undecidable left out)",
    "return": "return",
    "best_reward": "highest reward of an episode",
}
INTERVALS = (
    "Intervals of 95 %: of correlations by Fisher's z, with the policies as the sample (Bonett and "
    "Wright's standard error for Spearman's); of a correlation of exactly 1, and of MMRV, "
    "one-sided, from the perfect value to the percentile of 2,000 times that all policies' "
    "episodes were drawn anew."
)


def main(config: RankingConfig) -> dict[str, Any]:
    """Play, print tables, write report, Markdown and scatter plot, and return the report."""
    names = family_members(config)
    runs = PolicyRuns(config)
    if "truth" not in runs.logs:
        raise ValueError(
            f"world {runs.world.config.name!r} cannot be compared with a real environment: it "
            "names none, or --truth-episodes is 0; irasim evaluate policy needs none"
        )
    runs.play([PolicyToRun(name=name, source=source) for name, source in names.items()])
    results = {
        **runs.about("irasim bench ranking"),
        "family": family_module(config),
        "policies": runs.summaries(list(names)),
    }
    parts = [title(results), summary_table(results["policies"])]
    if "world" in runs.logs:  # else the ground truth alone was asked for
        results["agreement"] = measure_agreement(runs, list(names))
        parts.append(agreement_table(results["agreement"]))
        draw(config, results)
    text = "\n\n".join(parts)
    write_whole(config.out / "ranking.md", text + "\n")
    return report.publish(results, text, config.out, "ranking")


def family_members(config: RankingConfig) -> dict[str, str]:
    """Import path of each policy of the family, by name."""
    module = family_module(config)
    try:
        family = tuple(importlib.import_module(module).FAMILY)
    except (ImportError, AttributeError) as error:
        families = [task.name for task in all_tasks() if task.family is not None]
        raise ValueError(
            f"family {config.family or module!r} cannot be loaded ({error}); expected "
            f"{', '.join([*families, 'a module with FAMILY'])}"
        ) from error
    if unknown := sorted(set(config.policies) - set(family)):
        raise ValueError(
            f"policy {unknown[0]!r} is not of the family {config.family or module!r}, which has "
            f"{', '.join(family)}"
        )
    chosen = [name for name in family if not config.policies or name in config.policies]
    if len(chosen) < 2:
        raise ValueError(f"a ranking needs at least 2 policies, got {', '.join(chosen)}")
    return {name: f"{module}:{name}" for name in chosen}


def family_module(config: RankingConfig) -> str:
    """Import path of the module of the family."""
    if config.family is None:
        task = need_task(read_config(find_world(config.world))[0], "a ranking without --family")
    elif config.family in task_names():
        task = load_task(config.family)
    else:
        return config.family
    if task.family is None:
        raise ValueError(
            f"task {task.name!r} has no family of policies; give --family, a module with FAMILY"
        )
    return task.family


def measure_agreement(runs: PolicyRuns, names: list[str]) -> dict[str, dict[str, Any] | None]:
    """Each statistic for each score; None where a policy has no decided episode."""
    real = [runs.episodes("truth", name) for name in names]
    sim = [runs.episodes("world", name) for name in names]
    measures: dict[str, Callable[[Sequence[EpisodeRecord]], Any]] = {
        "success": lambda episodes: [one.ended for one in episodes],
        "return": lambda episodes: [sum(one.rewards) for one in episodes],
        "best_reward": lambda episodes: [max(one.rewards) for one in episodes],
    }
    sides = {
        score: ([measure(one) for one in real], [measure(one) for one in sim])
        for score, measure in measures.items()
    }
    sides["judged"] = (sides["success"][0], [judged_outcomes(one) for one in sim])
    agreement: dict[str, dict[str, Any] | None] = {}
    for score in SCORES:
        ours, theirs = sides[score]
        if score == "judged" and any(np.isnan(outcomes).all() for outcomes in theirs):
            agreement[score] = None
            continue
        estimates = estimate_agreement(ours, theirs, seed=runs.config.seed)
        agreement[score] = {name: asdict(estimate) for name, estimate in estimates.items()}
    return agreement


def agreement_table(agreement: dict[str, dict[str, Any] | None]) -> str:
    """Agreement as printed."""
    header = ("score", "Pearson", "95 %", "Spearman", "95 %", "MMRV", "95 %")
    rows = []
    for score, estimates in agreement.items():
        row = [SCORES[score]]
        for name in ("pearson", "spearman", "mmrv"):
            at = estimates[name] if estimates else None
            row.append(number(at["value"], 3) if at else "-")
            row.append(interval((at["low"], at["high"]), 3) if at else "-")
        rows.append(row)
    return f"{table(header, rows)}\n\n{INTERVALS}"


def draw(config: RankingConfig, results: dict[str, Any]) -> None:
    """scatter.png: success in the simulator against success in the world."""
    points = []
    for name, places in results["policies"].items():
        real, sim = places["truth"]["success"], places["world"]["success"]
        points.append(
            Point(
                name=name,
                x=real["rate"],
                y=sim["rate"],
                x_interval=real["interval"],
                y_interval=sim["interval"],
            )
        )
    at = results["agreement"]["success"]
    write_scatter(
        config.out / "scatter.png",
        points,
        x_label="success in the simulator (95 % Wilson)",
        y_label="success in the learned world (95 % Wilson)",
        title=f"Pearson {number(at['pearson']['value'], 3)}, MMRV {number(at['mmrv']['value'], 3)}",
    )
