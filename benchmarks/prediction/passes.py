"""`irasim bench passes`: what fewer denoising passes a step cost a streaming world in quality.

Held-out episodes, predicted with several numbers of passes and by worlds distilled to few, each
beside the teacher, which takes many: the same windows, actions and noise.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

if TYPE_CHECKING:
    from benchmarks.prediction.predict import Prediction
    from benchmarks.prediction.windows import Window
    from world_model import StreamingWorld

ABOUT = (
    "Each line beside the teacher, the first world at its most passes, paired by episode. PSNR is "
    "that of uint8 frames, capped at 60 dB, less the teacher's; sharpness is gradient energy over "
    "the teacher's, edges how much of the true frame's gradient is shown (1: all), which grain "
    "does not raise; poses are read from frames, their mean error over the teacher's in windows "
    "where both show them (read: in how many the line does). Intervals (95 %) are bootstrapped "
    "over episodes. Verdict: yes or no where the whole interval says so, else the mean's, with a "
    "question mark."
)


@dataclass(frozen=True, kw_only=True)
class PassesConfig:
    """What to measure."""

    world: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Streaming worlds: shipped names, directories, or Hub ids; say --world again for each. The
    first is measured with each of `passes` and teaches, others as they are configured."""
    data: Path
    """Recorded episodes, as irasim collect writes them."""
    out: Path = Path("runs/passes")
    """Directory for passes.json."""
    passes: tuple[int, ...] = (1, 2, 4)
    """Numbers of passes to measure the first world with, beside the teacher's."""
    teacher_passes: int = 8
    """Passes of the teacher."""
    split: Literal["train", "val", "test"] = "test"
    """Which episodes; those of test were never trained on."""
    episodes: int = 60
    """How many episodes; half of them of the expert, if there is one."""
    context: int = 4
    """Frames given."""
    horizons: tuple[int, ...] = (1, 16, 63)
    """Predicted frames that are scored."""
    batch: int = 20
    """Episodes predicted at a time."""
    seed: int = 0
    """Of the world's noise, and of the intervals."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def __post_init__(self) -> None:
        if not self.world:
            raise ValueError("no world is given; say --world NAME, more than once for several")
        for name in ("passes", "horizons"):
            values = getattr(self, name)
            if any(value < 1 for value in values) or len(set(values)) != len(values):
                raise ValueError(f"{name} are {values}, expected different numbers of at least 1")
        if not self.horizons:
            raise ValueError("no horizons are given; expected frames to score, such as 1 16 63")
        for name in ("teacher_passes", "episodes", "context", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


def main(config: PassesConfig) -> dict[str, Any]:
    """Measure, print a table, write the report, and return it."""
    from benchmarks import report
    from benchmarks.prediction.pass_scores import compare, score_line
    from benchmarks.prediction.readings import readings_of
    from benchmarks.prediction.windows import count_by_policy
    from world_model.directories import check_directory

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
        "command": "irasim bench passes",
        "config": asdict(config),
        "hardware": report.hardware(device),
        "versions": report.versions(),
        "episodes": {
            "count": len(windows),
            "by_policy": count_by_policy(windows),
            "ids": [window.episode_id for window in windows],
            "noise_seeds": f"{config.seed} + index",
        },
        "lines": lines,
    }
    report.write_report(config.out / "passes.json", results)
    print(tables(results))
    print(f"written to {config.out}")
    return results


def sources(config: PassesConfig) -> list[str]:
    """Where the world of each line comes from; the teacher's is the first."""
    own = [passes for passes in config.passes if passes != config.teacher_passes]
    return [config.world[0]] * (1 + len(own)) + list(config.world[1:])


def load_worlds(config: PassesConfig, device: str) -> list[tuple[str, "StreamingWorld"]]:
    """Each line's name and world, with its number of passes; the teacher first.

    Raises:
        ValueError: A world is of chunks of frames, or of other frames or actions than the first.
    """
    from world_model import StreamingWorld, WorldModel

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


def load_windows(config: PassesConfig) -> "list[Window]":
    """Windows at the openings of held-out episodes."""
    from benchmarks.prediction.windows import choose_episodes, opening
    from training.data.episodes import read_episode

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
    line: tuple[str, "StreamingWorld"], windows: "list[Window]", config: PassesConfig
) -> "list[Prediction]":
    """Predictions of all windows."""
    from benchmarks.prediction.predict import predict

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
    from benchmarks.prediction.pass_scores import passes_table, verdicts

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


def cli(arguments: list[str]) -> None:
    """Run `irasim bench passes` with command-line arguments."""
    main(
        tyro.cli(
            PassesConfig,
            args=arguments,
            prog="irasim bench passes",
            description="Measure what fewer denoising passes a step cost in quality.",
        )
    )
