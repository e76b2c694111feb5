"""Commands in miniature, each with what it is given, to be killed on the way."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.published_episodes import write_autoencoder
from tests.benchmarks.published_episodes import write_dataset as write_table
from tests.conftest import TINY_CONFIG, make_starts, randomized
from tests.training.test_train import write_moving_square
from tests.world_model.chunk_denoisers import tiny_irasim
from world_model import WorldModel, save_reference_checkpoint

COLLECT = ("collect", "--env-id", "gym_pusht:gym_pusht/PushT-v0", "--out", "out")
COLLECT += ("--env-kwargs", '{"obs_type": "state"}', "--episodes", "6", "--max-steps", "8")
OFFLINE = ("--no-fetch", "--lpips-network", "absent", "--lpips-heads", "absent")
OFFLINE += ("--inception", "absent", "--i3d", "absent")


@dataclass(frozen=True)
class Command:
    """A command: its name, what it is given, and what it is called with in the directory."""

    name: str
    prepare: Callable[[Path], None]
    """Writes what it is given into an empty directory."""
    arguments: tuple[str, ...]
    made: str = "out"
    """Where it writes; what is given may lie there too."""


def _nothing(directory: Path) -> None:
    pass


def _squares(directory: Path) -> None:
    write_moving_square(directory / "data", "train", 6)
    write_moving_square(directory / "data", "val", 2, num_steps=9)


def _square_world(directory: Path) -> None:
    """A world of the squares' spaces whose random weights make every pass count."""
    from accelerate import Accelerator

    from tests.training.test_train import config_for
    from training.train import prepare

    _squares(directory)
    _, world, _ = prepare(config_for(directory / "data", directory / "x"), Accelerator(cpu=True))
    shutil.rmtree(directory / "x")
    randomized(world).save_pretrained(directory / "world")


def _lerobot(directory: Path) -> None:
    from training.data.lerobot.convert import ConvertConfig, main

    _squares(directory)
    main(ConvertConfig(source=str(directory / "data"), out=directory / "set", lossless=True))


def _table(directory: Path) -> None:
    """Episodes with latents, an autoencoder and a model."""
    write_table(directory / "table")
    write_autoencoder(directory / "vae")
    denoiser = tiny_irasim(latent_size=(4, 4), action_embedding="linear")
    save_reference_checkpoint(denoiser, directory / "model.pt")


def _videos(directory: Path) -> None:
    """Episodes without latents, where they will be."""
    _table(directory)
    data = directory / "out"
    (directory / "table").rename(data)
    shutil.rmtree(data / "latent_videos")
    for path in data.rglob("*.json"):
        content = json.loads(path.read_text())
        del content["latent_video_path"]
        path.write_text(json.dumps(content))


def _chunk_data(directory: Path) -> None:
    from tests.training.chunk_runs import write_dataset

    write_dataset(directory / "data", "direct")


def _policy_world(directory: Path) -> None:
    world = randomized(WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG)))
    world.save_pretrained(directory / "world")


CONVERT = ("convert", "set", "--out", "out", "--height", "24", "--width", "24")
EVALUATE = ("--model", "model.pt", "--data", "table", "--out", "out", "--vae", "vae", "--cpu")
EVALUATE += ("--action-scale", "0.1", "0.1", "--sampler", "ddim", "--num-steps", "3", *OFFLINE)
TRAIN = ("train", "--preset", "tiny", "--data", "data", "--out", "out", "--cpu")
TRAIN += ("--save-every", "0s", "--validate-every", "0s", "--warmup", "1", "--collect-env", "None")
TRAIN += ("--action-names",)
PLAIN = ("--hidden", "--poses", "--points", "--mask-radii", "--frame-edges", "None")

COMMANDS = [
    Command(
        "collect",
        _nothing,
        (*COLLECT, "--workers", "0"),
    ),
    Command(
        "collect with workers",
        _nothing,
        (*COLLECT, "--workers", "2"),
    ),
    Command("convert in", _lerobot, CONVERT),
    Command("convert out", _squares, ("convert", "data", "--out", "out")),
    Command("encode", _videos, ("encode", "out", "--vae", "vae", "--cpu", "--draw", "sample")),
    Command("train", _squares, (*TRAIN, *PLAIN, "--max-steps", "8")),
    Command(
        "train with a codec",
        _squares,
        (*TRAIN, *PLAIN, "--max-steps", "8", "--codec", "autoencoder_tiny", "--codec-width", "8")
        + ("--codec-share", "1", "--patch", "2"),
    ),
    Command(
        "train chunks",
        _chunk_data,
        ("train", "--preset", "chunk_tiny", "--data", "data", "--out", "out", "--cpu")
        + ("--max-steps", "8", "--num-frames", "4", "--validation-interval", "4", "--workers", "0")
        + ("--action-scale", "1", "1", "--sample-steps", "4", "--save-every", "0s")
        + (
            "--validate-every",
            "4",
            "--checkpoint-every",
            "3",
            "--log-every",
            "1",
            "--samples",
            "1",
        ),
    ),
    Command(
        "distill",
        _square_world,
        ("distill", "--world", "world", "--data", "data", "--out", "out", "--cpu", "--passes", "1")
        + ("--teacher-passes", "2", "--max-steps", "6", "--clip-frames", "7", "--warmup", "1")
        + ("--mixed-precision", "no", "--validation-episodes", "2", "--save-every", "0s")
        + ("--validate-every", "0s"),
    ),
    Command(
        "evaluate short",
        _table,
        ("evaluate", "short", *EVALUATE, "--interval", "3", "--batch", "3"),
    ),
    Command("evaluate long", _table, ("evaluate", "long", *EVALUATE)),
    Command(
        "evaluate policy",
        _policy_world,
        ("evaluate", "policy", "--world", "world", "--out", "out", "--policy")
        + ("policies.pusht_family:wander", "--episodes", "6", "--max-steps", "6", "--batch", "3")
        + ("--warm-up", "3", "--device", "cpu"),
    ),
]
