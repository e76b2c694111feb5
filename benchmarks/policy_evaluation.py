"""`irasim evaluate policy`: a policy in a learned world and in its ground truth."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import report
from benchmarks.control.config import PolicyConfig, RunConfig
from benchmarks.control.policy_player import PolicyToRun
from benchmarks.control.policy_runs import PolicyRuns, summary_table
from world_model.io.whole_files import write_whole

__all__ = ["PolicyConfig", "RunConfig", "evaluate_policies", "main"]


def main(config: PolicyConfig) -> dict[str, Any]:
    """Play, print a table, write the report, and return it."""
    return evaluate_policies(
        {name: name for name in config.policy},
        config,
        algorithm=config.algorithm,
        trust_pickle=config.trust_pickle,
    )


def evaluate_policies(
    policies: Mapping[str, str | Callable[..., Any]],
    config: RunConfig,
    *,
    algorithm: str | None = None,
    trust_pickle: bool = False,
) -> dict[str, Any]:
    """Play policies in a world and in its ground truth, print a table and write the report.

    Args:
        policies: By name, what `policies.actors.load_actor` takes: import paths, files of models,
            factories (env, seed) -> policy, or callables observation -> action.
        config: Where, from where, and how long.
        algorithm: Of the models among them; None finds it in each file.
        trust_pickle: See `policies.actors.sb3_file.load_sb3_policy`.

    Returns:
        The report; `["policies"][name][place]`, place "world" or "truth", has what was measured.
    """
    runs = PolicyRuns(config)
    runs.play(
        [
            PolicyToRun(name=name, source=source, algorithm=algorithm, trust_pickle=trust_pickle)
            for name, source in policies.items()
        ]
    )
    results = {
        **runs.about("irasim evaluate policy"),
        "policies": runs.summaries(list(policies)),
    }
    text = "\n\n".join([title(results), summary_table(results["policies"])])
    write_whole(config.out / "policies.md", text + "\n")
    return report.publish(results, text, config.out, "policies")


def title(results: dict[str, Any]) -> str:
    """What a table is of."""
    world, config = results["world"], results["config"]
    return (
        f"Policies in world {world['name']} and in its ground truth from the same starts, at most "
        f"{results['max_steps']} steps an episode, ended in the world by its {config['ends']}, "
        f"{world['evaluations_per_step']} network evaluations a step, seed {config['seed']}; "
        f"intervals: Wilson for rates, bootstrap over episodes for returns; {results['hardware']}."
    )
