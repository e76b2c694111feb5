"""`irasim train`: the preset decides which kind of model is trained, and by which trainer."""

import time

import tyro

from training.anchored.config import ANCHORED_PRESETS, AnchoredTrainConfig
from training.captured.config import GpuTrainConfig, gpu_preset, gpu_preset_names
from training.chunk.config import CHUNK_PRESETS, ChunkTrainConfig
from training.streaming.config import TrainConfig, preset_names
from training.streaming.config import preset as streaming_preset
from world_model.config_fields import refuse_without_effect
from world_model.renamed import with_current_flags
from world_model.spelling import meant


def cli(arguments: list[str]) -> None:
    """Run `irasim train ...`: the preset decides which kind of model is trained."""
    config = parse(arguments)
    if isinstance(config, ChunkTrainConfig):
        from training.chunk import command as chunk

        chunk.main(config)
    elif isinstance(config, AnchoredTrainConfig):
        from training.anchored import command as anchored

        anchored.main(config)
    elif isinstance(config, GpuTrainConfig):
        from training.captured import command as captured

        captured.main(config, time.monotonic() - age_of_process())
    else:
        from training import train

        train.main(config)


def parse(arguments: list[str]) -> TrainConfig | ChunkTrainConfig | AnchoredTrainConfig:
    """The config that command-line arguments ask for: a preset, then what overrides it."""
    name = "default"
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            name = arguments[i + 1]
        elif argument.startswith("--preset="):
            name = argument.removeprefix("--preset=")
    by_the_clock = gpu_preset_names()
    known = [*preset_names(), *ANCHORED_PRESETS, *CHUNK_PRESETS, *by_the_clock]
    if name not in known:
        choices = f"choose one of {', '.join(known)}{meant(name, known)}"
        raise SystemExit(f"irasim train: no preset {name!r}; {choices}")
    if name in CHUNK_PRESETS:
        preset = CHUNK_PRESETS[name]()
    elif name in ANCHORED_PRESETS:
        preset = ANCHORED_PRESETS[name]()
    else:
        preset = gpu_preset(name) if name in by_the_clock else streaming_preset(name)
    config = tyro.cli(
        type(preset),
        default=preset,
        args=with_current_flags(type(preset), arguments),
        prog="irasim train",
        description="Train a world on recorded episodes and write a world directory. Presets of "
        "tasks record the episodes first if there are none yet. "
        f"Presets: {', '.join(preset_names())} (video: frames and actions alone). Further presets "
        "have other options, shown by --preset NAME --help: a real robot filmed by a fixed camera "
        f"({', '.join(ANCHORED_PRESETS)}), models that denoise chunks of frames, as IRASim, LVDM "
        "and VDM do (rt1_frame_ada and others), and training within minutes on a GPU "
        f"({', '.join(by_the_clock)}).",
    )
    refuse_without_effect(config, preset)
    return config


def age_of_process() -> float:
    """Seconds since this process began: what was loaded until now has taken of a run's time."""
    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())
