"""`irasim bench reinforcement`: is learning in the world worth as much as in the simulator?

The same algorithm learns for the same number of steps, in the learned world and in the simulator,
with several seeds; all policies are judged in the simulator, from starts that none learned from:
(world - random) / (real - random), 1 where the world is as good a teacher as the simulator.

R runs (seeds), E starts.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from world_model.config import DEFAULT_WORLD

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from policies.rl.command import Place, RLConfig

NUM_RESAMPLES = 2000
ABOUT = (
    "Return: sum of the simulator's rewards in an episode, judged in the simulator, without "
    "exploring. Intervals of 95 %: BCa bootstrap over seeds and starts, which few seeds make too "
    "narrow. Random: uniform actions; still: nothing is done."
)


@dataclass(frozen=True, kw_only=True)
class ReinforcementConfig:
    """What to compare."""

    world: str = DEFAULT_WORLD
    """World to learn in: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/reinforcement")
    """Directory for reinforcement.json, the starts, and the runs: learned/SEED, real/SEED."""
    real: Path | None = None
    """Where the runs in the simulator are, or shall be; default: out/real. They can be used again
    for another world."""
    algorithm: Literal["sac", "ppo"] = "sac"
    """Stable-Baselines3's SAC or PPO."""
    steps: int = 10_000
    """Environment steps to learn from, in both places."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs in each place."""
    num_envs: int = 8
    """Environments stepped at once."""
    updates_per_step: float = 1.0
    """Gradient steps of SAC for each environment step."""
    horizon: int = 50
    """Steps of an episode."""
    reach: float | None = None
    """How far from the robot's place its target may be set, along each axis, in the action's units
    (default: the task's)."""
    starts: int = 100
    """Starts to learn from."""
    test_starts: int = 50
    """Other starts, to judge by."""
    check_starts: int = 8
    """How many of those the checks use."""
    check_every: int = 2_500
    """Steps between checks of whether the policy exploits the world."""
    uncertainty_samples: int | None = None
    """Samples of each prediction in the world, for a penalty."""
    penalty: float = 0.0
    """Reward that a grey level of uncertainty costs while learning in the world."""
    device: str | None = None
    """Of the world: cpu or cuda; the GPU where there is one."""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}, expected at least one, all different")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")

    @property
    def starts_dir(self) -> Path:
        """Where the starts are kept, with the runs in the simulator."""
        return self.real or self.out / "real"


def run_config(config: ReinforcementConfig, place: "Place", seed: int) -> "RLConfig":
    """The run of one seed in one place."""
    from benchmarks.report import choose_device
    from policies.rl.command import RLConfig

    base = RLConfig(
        world=config.world,
        place=place,
        algorithm=config.algorithm,
        steps=config.steps,
        seed=seed,
        num_envs=config.num_envs,
        updates_per_step=config.updates_per_step,
        horizon=config.horizon,
        reach=config.reach,
        starts=config.starts,
        test_starts=config.test_starts,
        check_starts=config.check_starts,
        check_every=config.check_every,
        device=choose_device(config.device),
        starts_dir=config.starts_dir,
    )
    if place == "real":
        return replace(base, out=config.starts_dir / f"seed_{seed}")
    return replace(
        base,
        out=config.out / "learned" / f"seed_{seed}",
        uncertainty_samples=config.uncertainty_samples,
        penalty=config.penalty,
    )


def main(config: ReinforcementConfig) -> dict[str, Any]:
    """Learn what has not been learned yet, judge, print a table, write the report, return it."""
    import numpy as np

    from benchmarks import report
    from policies.rl import command as rl
    from policies.rl import run as rl_run
    from policies.rl.checks import Act, greedy, returns, still, uniform
    from policies.rl.envs import make_envs
    from world_model.directories import check_directory

    check_directory(config.out)
    places: tuple[Place, ...] = ("real", "learned")
    first = run_config(config, "learned", config.seeds[0])
    world, test_world = rl.load_worlds(first)
    reach = first.resolved_reach(world.config)
    num_envs = min(10, config.test_starts)
    judge = make_envs(test_world, "real", num_envs, horizon=config.horizon, reach=reach)
    size = len(judge.action_space.sample())
    task = f"{config.horizon}_{reach:g}_{config.test_starts}"

    def score(path: Path, act: Act) -> np.ndarray:
        """Returns from all test starts; judged once."""
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, returns(judge, act, range(config.test_starts)))
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
            print(f"learning in the {place} one, seed {seed}", flush=True)
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
        "command": "irasim bench reinforcement",
        "config": asdict(config) | {"reach": reach},
        "world": report.describe_world(world, config.world),
        "hardware": report.hardware(first.device or "cpu"),
        "versions": report.versions(),
        "about": ABOUT,
        **summarise(scores, seed=config.seeds[0]),
        "returns": scores,
        "checks": checks,
    }
    judge.close()
    report.write_report(config.out / "reinforcement.json", results)
    print(table(results))
    print(f"written to {config.out}")
    return results


def summarise(scores: "dict[str, np.ndarray]", *, seed: int) -> dict[str, Any]:
    """Mean returns, what they are over random's, and the share of the simulator's that is the
    world's, each with its BCa interval of 95 %.

    Args:
        scores: float64 (R, E) each of random, still, real and learned; E the same for all.
        seed: Of the bootstrap.
    """
    from benchmarks.metrics.bca import bca_interval

    names = list(scores)
    units = [scores["random"].shape[1], *(len(values) for values in scores.values())]

    def estimate(statistic: "Callable[[dict[str, float]], float]") -> dict[str, Any]:
        """A statistic of mean returns, and its interval over starts and runs."""

        def of_drawn(starts: "np.ndarray", *runs: "np.ndarray") -> float:
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
    from benchmarks.report import interval, number
    from benchmarks.report import table as aligned

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


def cli(arguments: list[str]) -> None:
    """Run `irasim bench reinforcement` with command-line arguments."""
    import tyro

    main(
        tyro.cli(
            ReinforcementConfig,
            args=arguments,
            prog="irasim bench reinforcement",
            description="Learn in the world and in its simulator; compare in the simulator.",
        )
    )


if __name__ == "__main__":
    import sys

    cli(sys.argv[1:])
