"""`irasim bench reinforcement`: is learning in the world worth as much as in the simulator?

The same algorithm learns for the same number of steps, in the learned world and in the simulator,
with several seeds; all policies are judged in the simulator, from starts that none learned from:
(world - random) / (real - random), 1 where the world is as good a teacher as the simulator.

R runs (seeds), E starts.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.control.config import ReinforcementConfig
from benchmarks.metrics.bca import bca_interval
from benchmarks.report import interval, number
from benchmarks.report import table as aligned
from policies.rl import command as rl
from policies.rl import run as rl_run
from policies.rl.checks import Act, greedy, returns, still, uniform
from policies.rl.config import LearningConfig, Place, RLConfig
from policies.rl.envs import make_envs
from world_model.directories import check_directory

NUM_RESAMPLES = 2000
ABOUT = (
    "Return: sum of the simulator's rewards in an episode, judged in the simulator, without "
    "exploring. Intervals of 95 %: BCa bootstrap over seeds and starts, which few seeds make too "
    "narrow. Random: uniform actions; still: nothing is done."
)


def run_config(config: ReinforcementConfig, place: Place, seed: int) -> RLConfig:
    """The run of one seed in one place."""
    shared = {field.name: getattr(config, field.name) for field in fields(LearningConfig)}
    shared |= {"place": place, "seed": seed, "starts_dir": config.starts_dir}
    shared["device"] = report.choose_device(config.device)
    if place == "learned":
        return RLConfig(**shared, out=config.out / "learned" / f"seed_{seed}")
    # The simulator has no uncertainty.
    shared |= {"uncertainty_samples": None, "penalty": 0.0}
    return RLConfig(**shared, out=config.starts_dir / f"seed_{seed}")


def main(config: ReinforcementConfig) -> dict[str, Any]:
    """Train what is missing, test it, print a table, write the report, and return it."""
    check_directory(config.out)
    places: tuple[Place, ...] = ("real", "learned")
    first = run_config(config, "learned", config.seeds[0])
    world, test_world = rl.load_worlds(first)
    reach = first.resolved_reach(world.config)
    num_envs = min(10, config.test_starts)
    test_envs = make_envs(test_world, "real", num_envs, horizon=config.horizon, reach=reach)
    size = len(test_envs.action_space.sample())
    task = f"{config.horizon}_{reach:g}_{config.test_starts}"

    def score(path: Path, act: Act) -> np.ndarray:
        """Returns from all test starts; judged once."""
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, returns(test_envs, act, range(config.test_starts)))
        return np.load(path, allow_pickle=False)

    kept = config.starts_dir
    scores: dict[str, np.ndarray] = {
        "random": np.stack(
            [
                score(kept / f"random_{seed}_{task}.npy", uniform(seed, size))
                for seed in config.seeds
            ]
        ),
        "still": score(kept / f"still_{task}.npy", still(size))[None],
    }
    checks: dict[str, list[dict[str, Any]]] = {}
    for place in places:
        found = []
        for seed in config.seeds:
            print(f"training in the {place} environment, seed {seed}", flush=True)
            result = rl.main(run_config(config, place, seed))
            model = rl_run.load(result.policy.parent, config.algorithm)
            found.append(score(result.policy.parent / "returns.npy", greedy(model)))
            checks[f"{place} seed {seed}"] = [
                {
                    "steps": check.steps,
                    "world": float(np.mean(check.world)),
                    "real": float(np.mean(check.real)),
                }
                for check in result.checks
            ]
        scores[place] = np.stack(found)
    results = {
        **report.heading("irasim bench reinforcement", config, str(world.device), world),
        "about": ABOUT,
        **summarise(scores, seed=config.seeds[0]),
        "returns": scores,
        "checks": checks,
    }
    test_envs.close()
    results["config"]["reach"] = reach
    return report.publish(results, table(results), config.out, "reinforcement")


def summarise(scores: dict[str, np.ndarray], *, seed: int) -> dict[str, Any]:
    """Mean returns, what they are over random's, and the share of the simulator's that is the
    world's, each with its BCa interval of 95 %.

    Args:
        scores: float64 (R, E) each of random, still, real and learned; E the same for all.
        seed: Of the bootstrap.
    """
    names = list(scores)
    units = [scores["random"].shape[1], *(len(values) for values in scores.values())]

    def estimate(statistic: Callable[[dict[str, float]], float]) -> dict[str, Any]:
        """A statistic of mean returns, and its interval over starts and runs."""

        def of_drawn(starts: np.ndarray, *runs: np.ndarray) -> float:
            # The same starts for all, as they are paired.
            drawn = zip(names, runs, strict=True)
            return statistic({n: float(scores[n][rows][:, starts].mean()) for n, rows in drawn})

        bounds = bca_interval(units, of_drawn, seed, num_resamples=NUM_RESAMPLES)
        value = statistic({name: float(scores[name].mean()) for name in names})
        return {"value": value, "interval": list(bounds)}

    def share(mean: dict[str, float]) -> float:
        gain = mean["real"] - mean["random"]
        return (mean["learned"] - mean["random"]) / gain if gain else math.nan

    over = {
        name: estimate(lambda mean, name=name: mean[name] - mean["random"])
        for name in ("still", "real", "learned")
    }
    return {
        "mean_return": {name: estimate(lambda mean, name=name: mean[name]) for name in names},
        "over_random": over,
        # A share of nothing means nothing.
        "share": estimate(share) | {"meaningful": over["real"]["interval"][0] > 0},
    }


def table(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    config, share = results["config"], results["share"]
    rows = []
    for name, values in results["mean_return"].items():
        over = results["over_random"].get(name)
        rows.append(
            (
                name,
                f"{number(values['value'])} {interval(values['interval'])}",
                f"{number(over['value'])} {interval(over['interval'])}" if over else "-",
            )
        )
    verdict = (
        f"(world - random) / (real - random): {number(share['value'])} "
        f"{interval(share['interval'])}"
    )
    if not share["meaningful"]:
        verdict += "; but learning in the simulator itself is not clearly above random"
    head = (
        f"World {results['world']['name']}: {config['algorithm'].upper()}, {config['steps']} "
        f"steps, {len(config['seeds'])} seeds, {config['test_starts']} starts, episodes of "
        f"{config['horizon']} steps; {results['hardware']}."
    )
    header = ("learned in", "return in the simulator", "over random")
    return "\n".join([head, ABOUT, "", aligned(header, rows), "", verdict])
