"""`irasim bench`: measures learned worlds."""

import warnings

from benchmarks.subcommands import Part, dispatch
from world_model.tasks import all_tasks

PARTS = {
    "quality": Part(
        module="benchmarks.prediction.quality",
        summary="predictions on held-out episodes against the truth",
    ),
    "speed": Part(
        module="benchmarks.speed.command",
        summary="steps a second, latency and memory",
    ),
    "simulator": Part(
        module="benchmarks.speed.simulator",
        summary="steps a second of the simulator that a task's episodes are recorded from",
    ),
    "endurance": Part(
        module="benchmarks.prediction.endurance",
        summary="one very long episode: memory, speed, what holds",
    ),
    "ranking": Part(
        module="benchmarks.control.policy_ranking",
        summary="a family of policies in the world and in its ground truth: is their order kept",
    ),
    "family": Part(
        module="benchmarks.control.family",
        summary="a task's family of policies in its simulator alone",
    ),
    "passes": Part(
        module="benchmarks.prediction.passes",
        summary="what fewer denoising passes a step cost in quality",
    ),
    "chunk": Part(
        module="benchmarks.speed.chunk",
        summary="a chunk model's sampler: precision, graph, steps",
    ),
    "gpu": Part(
        module="benchmarks.gpu.command",
        summary="on a GPU: prove the captured step, measure it, time training; all in minutes",
    ),
    "planning": Part(
        module="benchmarks.control.planning",
        summary="what a planner's decision takes",
    ),
    "reinforcement": Part(
        module="benchmarks.control.reinforcement",
        summary="policies that learned in the world against those that learned in the simulator",
    ),
    "uncertainty": Part(
        module="benchmarks.prediction.uncertainty",
        summary="does the world's uncertainty predict its errors",
    ),
    "card": Part(
        module="benchmarks.prediction.card",
        summary="write a world's README.md from what was measured",
    ),
}


def parts() -> dict[str, Part]:
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
                found[name] = Part(module=module, summary=summary)
    return found


def cli(arguments: list[str]) -> None:
    """Run `irasim bench PART ...`."""
    # Tasks are looked up only where they are asked for.
    own = bool(arguments) and arguments[0] in PARTS
    dispatch("irasim bench", "Measure a learned world.", PARTS if own else parts(), arguments)
