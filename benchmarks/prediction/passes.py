"""`irasim bench passes`: what fewer denoising passes a step cost a streaming world in quality.

Held-out episodes, predicted with several numbers of passes and by worlds distilled to few, each
beside the teacher, which takes many: the same windows, actions and noise.
"""

from dataclasses import replace
from typing import Any

from benchmarks import report
from benchmarks.prediction.config import PassesConfig
from benchmarks.prediction.pass_scores import compare, passes_table, score_line, verdicts
from benchmarks.prediction.predict import Prediction, predict
from benchmarks.prediction.readings import readings_of
from benchmarks.prediction.windows import Window, choose_episodes, count_by_policy, opening
from training.data.episodes import read_episode
from world_model import StreamingWorld, WorldModel
from world_model.directories import check_directory

ABOUT = (
    "Each line beside the teacher, the first world at its most passes, paired by episode. PSNR is "
    "that of uint8 frames, capped at 60 dB, less the teacher's; sharpness is gradient energy over "
    "the teacher's, edges how much of the true frame's gradient is shown (1: all), which grain "
    "does not raise; poses are read from frames, their mean error over the teacher's in windows "
    "where both show them (read: in how many the line does). Intervals (95 %) are bootstrapped "
    "over episodes. Verdict: yes or no where the whole interval says so, else the mean's, with a "
    "question mark."
)


def main(config: PassesConfig) -> dict[str, Any]:
    """Measure, print a table, write the report, and return it."""
    device = report.choose_device(config.device)
    check_directory(config.out)
    worlds = load_worlds(config, device)
    windows, horizons = load_windows(config), tuple(sorted(config.horizons))
    readings = readings_of(worlds[0][1].config)
    scores = [
        score_line(windows, predict_line(line, windows, config), horizons, readings=readings)
        for line in worlds
    ]
    lines = [
        {
            "line": name,
            "world": report.describe_world(world, source),
            **compare(line, scores[0], config.seed),
        }
        for (name, world), source, line in zip(worlds, sources(config), scores, strict=True)
    ]
    results = {
        **report.heading("irasim bench passes", config, device),
        "episodes": {
            "count": len(windows),
            "by_policy": count_by_policy(windows),
            "ids": [window.episode_id for window in windows],
            "noise_seeds": f"{config.seed} + index",
        },
        "lines": lines,
    }
    return report.publish(results, tables(results), config.out, "passes")


def sources(config: PassesConfig) -> list[str]:
    """Where the world of each line comes from; the teacher's is the first."""
    own = [passes for passes in config.passes if passes != config.teacher_passes]
    return [config.world[0]] * (1 + len(own)) + list(config.world[1:])


def load_worlds(config: PassesConfig, device: str) -> list[tuple[str, StreamingWorld]]:
    """Each line's name and world, with its number of passes; the teacher first.

    Raises:
        ValueError: A world is of chunks of frames, or of other frames or actions than the first.
    """
    own = [passes for passes in config.passes if passes != config.teacher_passes]
    numbers = [config.teacher_passes, *own, *[None] * (len(config.world) - 1)]
    lines, first = [], None
    for source, passes in zip(sources(config), numbers, strict=True):
        world = WorldModel.from_pretrained(source, device=device)
        if not isinstance(world, StreamingWorld):
            raise ValueError(
                f"{source} is of the {world.config.engine} engine, expected a streaming one (the "
                "samplers of chunks are compared by irasim bench chunk)"
            )
        if passes is not None:
            sampler = replace(world.config.sampler, num_steps=passes)
            world.config = replace(world.config, sampler=sampler)
        shape = (world.config.height, world.config.width, world.config.action_dim)
        first = first or shape
        if shape != first:
            raise ValueError(
                f"{source} has frames of {shape[0]} x {shape[1]} and {shape[2]} action components, "
                f"{config.world[0]} has {first[0]} x {first[1]} and {first[2]}: compare worlds of "
                "one environment"
            )
        count = world.config.num_steps
        lines.append((f"{source}, {count} pass{'es' * (count > 1)}", world))
    return lines


def load_windows(config: PassesConfig) -> list[Window]:
    """Windows at the openings of held-out episodes."""
    chosen = choose_episodes(config.data, config.split, config.episodes, config.context)
    return [
        opening(
            read_episode(config.data, config.split, episode_id),
            config.context,
            max(config.horizons),
        )
        for episode_id in chosen
    ]


def predict_line(
    line: tuple[str, StreamingWorld], windows: list[Window], config: PassesConfig
) -> list[Prediction]:
    """Predictions of all windows."""
    name, world = line
    return predict(
        world,
        windows,
        [window.future_actions for window in windows],
        seeds=[config.seed + i for i in range(len(windows))],
        batch=config.batch,
        title=name,
    )


def tables(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    episodes, config = results["episodes"], results["config"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in episodes["by_policy"].items())
    evaluations = ", ".join(
        f"{line['line']}: {line['world']['evaluations_per_step']}" for line in results["lines"]
    )
    return "\n\n".join(
        [
            f"{episodes['count']} {config['split']} episodes ({kinds}), {config['context']} "
            f"context frames; noise seeds from {config['seed']}; {results['hardware']}. Network "
            f"evaluations a step, the cache write among them: {evaluations}.",
            ABOUT,
            passes_table(results["lines"]),
            verdicts(results["lines"][1:]),
        ]
    )
