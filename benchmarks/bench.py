"""`irasim bench`: measures learned worlds."""

import warnings

from irasim_env.console import Command, dispatch
from world_model.tasks import all_tasks

PARTS = {
    "quality": Command(
        config="benchmarks.prediction.config:QualityConfig",
        run="benchmarks.prediction.quality:main",
        summary="quality of predictions on held-out episodes",
    ),
    "speed": Command(
        config="benchmarks.speed.config:SpeedConfig",
        run="benchmarks.speed.command:main",
        summary="steps per second, latency and memory",
    ),
    "simulator": Command(
        config="benchmarks.speed.simulator:SimulatorConfig",
        run="benchmarks.speed.simulator:main",
        summary="steps per second of the simulator that a task's episodes are recorded from",
    ),
    "endurance": Command(
        config="benchmarks.prediction.config:EnduranceConfig",
        run="benchmarks.prediction.endurance:main",
        summary="one very long episode: memory, speed, soundness of the picture",
    ),
    "ranking": Command(
        config="benchmarks.control.config:RankingConfig",
        run="benchmarks.control.policy_ranking:main",
        summary="whether a world ranks a family of policies as the real environment does",
    ),
    "family": Command(
        config="benchmarks.control.family:FamilyConfig",
        run="benchmarks.control.family:main",
        summary="success and return of a task's policies in its simulator alone",
    ),
    "passes": Command(
        config="benchmarks.prediction.config:PassesConfig",
        run="benchmarks.prediction.passes:main",
        summary="loss of quality with fewer denoising passes per step",
    ),
    "chunk": Command(
        config="benchmarks.speed.config:ChunkSpeedConfig",
        run="benchmarks.speed.chunk:main",
        summary="speed of a chunk model's sampler, by precision, graph capture and steps",
    ),
    "gpu": Command(
        config="benchmarks.gpu.command:GpuConfig",
        run="benchmarks.gpu.command:run",
        summary="on a GPU, in minutes: the captured step's correctness and speed, training speed",
    ),
    "planning": Command(
        config="benchmarks.control.config:PlanningConfig",
        run="benchmarks.control.planning:main",
        summary="cost of a planner's decision",
    ),
    "best-of": Command(
        config="benchmarks.control.config:BestOfBenchConfig",
        run="benchmarks.control.best_of:main",
        summary="how policies gain from the best of K plans, chosen in the world",
    ),
    "reinforcement": Command(
        config="benchmarks.control.config:ReinforcementConfig",
        run="benchmarks.control.reinforcement:main",
        summary="policies trained in the world against policies trained in the simulator",
    ),
    "uncertainty": Command(
        config="benchmarks.prediction.config:UncertaintyConfig",
        run="benchmarks.prediction.uncertainty:main",
        summary="whether a world's uncertainty predicts its errors",
    ),
    "card": Command(
        config="benchmarks.prediction.config:CardConfig",
        run="benchmarks.prediction.card:main",
        summary="write a world's README.md from measured quality and speed",
    ),
}


def parts() -> dict[str, Command]:
    """All parts: ours, and those that tasks add; a name that is taken gives a warning."""
    found = dict(PARTS)
    for task in all_tasks():
        for name, (module, summary) in task.benchmarks.items():
            if name in found:
                warnings.warn(
                    f"task {task.name!r} adds a part {name!r} to irasim bench, which exists "
                    "already, so it is left out; give it another name",
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
