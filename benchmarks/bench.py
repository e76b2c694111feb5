"""`irasim bench`: measures learned worlds."""

import warnings

from irasim_env.console import Command, dispatch
from world_model.tasks import all_tasks

PARTS = {
    "quality": Command(
        config="benchmarks.prediction.config:QualityConfig",
        run="benchmarks.prediction.quality:main",
        summary="predictions on held-out episodes against the truth",
    ),
    "speed": Command(
        config="benchmarks.speed.config:SpeedConfig",
        run="benchmarks.speed.command:main",
        summary="steps a second, latency and memory",
    ),
    "simulator": Command(
        config="benchmarks.speed.simulator:SimulatorConfig",
        run="benchmarks.speed.simulator:main",
        summary="steps a second of the simulator that a task's episodes are recorded from",
    ),
    "endurance": Command(
        config="benchmarks.prediction.config:EnduranceConfig",
        run="benchmarks.prediction.endurance:main",
        summary="one very long episode: memory, speed, what holds",
    ),
    "ranking": Command(
        config="benchmarks.control.config:RankingConfig",
        run="benchmarks.control.policy_ranking:main",
        summary="a family of policies in the world and in its ground truth: is their order kept",
    ),
    "family": Command(
        config="benchmarks.control.family:FamilyConfig",
        run="benchmarks.control.family:main",
        summary="a task's family of policies in its simulator alone",
    ),
    "passes": Command(
        config="benchmarks.prediction.config:PassesConfig",
        run="benchmarks.prediction.passes:main",
        summary="what fewer denoising passes a step cost in quality",
    ),
    "chunk": Command(
        config="benchmarks.speed.config:ChunkSpeedConfig",
        run="benchmarks.speed.chunk:main",
        summary="a chunk model's sampler: precision, graph, steps",
    ),
    "gpu": Command(
        config="benchmarks.gpu.command:GpuConfig",
        run="benchmarks.gpu.command:run",
        summary="on a GPU: prove the captured step, measure it, time training; all in minutes",
    ),
    "planning": Command(
        config="benchmarks.control.config:PlanningConfig",
        run="benchmarks.control.planning:main",
        summary="what a planner's decision takes",
    ),
    "reinforcement": Command(
        config="benchmarks.control.config:ReinforcementConfig",
        run="benchmarks.control.reinforcement:main",
        summary="policies that learned in the world against those that learned in the simulator",
    ),
    "uncertainty": Command(
        config="benchmarks.prediction.config:UncertaintyConfig",
        run="benchmarks.prediction.uncertainty:main",
        summary="does the world's uncertainty predict its errors",
    ),
    "card": Command(
        config="benchmarks.prediction.config:CardConfig",
        run="benchmarks.prediction.card:main",
        summary="write a world's README.md from what was measured",
    ),
}


def parts() -> dict[str, Command]:
    """All parts: ours, and those that tasks bring; a warning tells of a name that is taken."""
    found = dict(PARTS)
    for task in all_tasks():
        for name, (module, summary) in task.benchmarks.items():
            if name in found:
                warnings.warn(
                    f"task {task.name!r} brings a part {name!r} of irasim bench, which there is "
                    "already: it is left out; give it another name",
                    stacklevel=2,
                )
            else:
                found[name] = Command(run=f"{module}:cli", summary=summary)
    return found


def cli(arguments: list[str]) -> None:
    """Run `irasim bench PART ...`."""
    # Tasks are looked up only where they are asked for.
    own = bool(arguments) and arguments[0] in PARTS
    dispatch("irasim bench", "Measure a learned world.", PARTS if own else parts(), arguments)
