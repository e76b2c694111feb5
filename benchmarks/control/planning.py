"""`irasim bench planning`: what a planner's decision costs, against what the machine can do.

A decision is timed as a planner makes it: candidates drawn, rolled out in latents (nothing is
decoded), scored, chosen. Its floating-point operations are counted, and the matrix products among
them are run alone, in the same process, for the most that the machine could give.
"""

import functools
import itertools
import time
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.control.config import PlanningConfig
from benchmarks.report import interval, number, table
from benchmarks.speed.flops import count_operations
from benchmarks.speed.roofline import large_matmul_peak, synchroniser
from benchmarks.speed.stepping import eagerly
from policies.planning import CEM, CEMConfig, LearnedRollout
from policies.planning.learned import set_precision
from world_model import WorldModel
from world_model.progress import progress_bar


def main(config: PlanningConfig) -> dict[str, Any]:
    """Measure, print a table, write the report if asked, and return it."""
    world = report.open_world(config)
    with report.threads(config.threads):
        measured = measure(config, world, str(world.device))
        results = {
            **report.heading("irasim bench planning", config, str(world.device), world),
            "settings": measured,
        }
    return report.publish(results, tables(results), config.out, "planning")


def measure(config: PlanningConfig, world: WorldModel, device: str) -> list[dict[str, Any]]:
    """Time decisions with each size of parts, and compare the operations with what the device can
    do."""
    if not len(world.starts):
        raise ValueError(f"world {world.config.name!r} has no starts to plan from")
    planner = CEM(
        world.config.action_low,
        world.config.action_high,
        CEMConfig(
            num_candidates=config.candidates,
            horizon=config.horizon,
            num_iterations=config.iterations,
            num_elites=max(config.candidates // 8, 1),
        ),
        device=device,
    )
    seeds = [config.seed + b for b in range(config.envs)]
    state = world.begin([config.seed % len(world.starts)] * config.envs, seeds)
    memory = planner.begin(seeds)
    one_action = torch.zeros(config.envs, 1, 1, world.config.action_dim, device=device)
    finish = synchroniser(device)
    row_steps = config.envs * config.candidates * config.horizon * config.iterations
    rows = []
    precisions = config.precisions if config.imagine == "frames" else ("float32",)
    settings = itertools.product(precisions, sorted(set(config.max_rows)))
    for precision, max_rows in progress_bar(list(settings), desc="planning", unit="settings"):
        set_precision(world, precision)
        rollout = LearnedRollout(world=world, max_rows=max_rows, imagine=config.imagine)
        part = min(max(max_rows // config.envs, 1), config.candidates)
        some = one_action.expand(-1, part, -1, -1)
        # A decision is made of such steps, so its products are these. A graph would show none.
        with eagerly(world):
            work = count_operations(functools.partial(rollout, state, some))
        # Warms up, and captures where graphs run: all sizes of parts that a decision has.
        rollout(state, one_action.expand(-1, config.candidates, -1, -1))
        seconds, processor = [], []
        for _ in range(config.repeats):
            finish()
            begin, busy = time.perf_counter(), time.process_time()
            planner(rollout, state, memory)
            finish()
            seconds.append(time.perf_counter() - begin)
            processor.append(time.process_time() - busy)
        decision = float(np.median(seconds))
        flops = work.flops * row_steps / (config.envs * part)
        products = work.products_peak(device)
        large = large_matmul_peak(work.main_dtype(), device)
        rows.append(
            {
                "precision": precision,
                "at_once": config.envs * part,
                "decision_seconds": decision,
                "decision_seconds_range": [min(seconds), max(seconds)],
                # Over all threads: what it takes, however busy the machine is with other things.
                "processor_seconds": float(np.median(processor)),
                "candidate_steps_per_second": row_steps / decision,
                "flops_per_decision": flops,
                "flops_per_second": flops / decision,
                "products_ceiling": products,
                "large_matmul_ceiling": large,
                "share_of_products_ceiling": flops / decision / products,
                "share_of_large_matmul": flops / decision / large,
            }
        )
    return rows


def tables(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    config = results["config"]
    header = ("precision", "at once", "decision s", "range", "processor s", "candidate steps/s")
    header += ("GFLOP/s", "products alone", "share", "one large product", "share of it")
    rows = [
        (
            row["precision"],
            str(row["at_once"]),
            number(row["decision_seconds"], 3),
            interval(row["decision_seconds_range"], 3),
            number(row["processor_seconds"], 3),
            number(row["candidate_steps_per_second"], 0),
            number(row["flops_per_second"] / 1e9, 1),
            number(row["products_ceiling"] / 1e9, 1),
            f"{row['share_of_products_ceiling']:.0%}",
            number(row["large_matmul_ceiling"] / 1e9, 1),
            f"{row['share_of_large_matmul']:.0%}",
        )
        for row in results["settings"]
    ]
    gflop = results["settings"][0]["flops_per_decision"] / 1e9
    title = (
        f"World {results['world']['name']}: a decision for {config['envs']} environment(s), K "
        f"{config['candidates']}, H {config['horizon']}, {config['iterations']} iteration(s), "
        + (
            f"{results['world']['evaluations_per_step']} network evaluations a step, nothing "
            "decoded: "
            if config["imagine"] == "frames"
            else "states alone: "
        )
        + f"{gflop:.1f} GFLOP; median of {config['repeats']}, seed {config['seed']}; "
        f"{results['hardware']}. Products alone: the decision's own matrix products, run one after "
        "the other in the same process, GFLOP/s."
    )
    return f"{title}\n\n{table(header, rows)}"
