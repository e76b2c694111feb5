"""What is fuzzed: how a sound input is written, how it is damaged, and who reads it."""

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness import notes
from tests.robustness.mutations import (
    mutate_bytes,
    mutate_json,
    mutate_parquet,
    mutate_safetensors,
    with_checksum,
)


@dataclass(frozen=True)
class Fuzzed:
    """A kind of input."""

    name: str
    make: Callable[[Path], None]
    """Writes a sound input into an empty directory."""
    damage: Callable[[random.Random, Path], str]
    """Changes it, and says how."""
    read: tuple[Callable[[Path, Path], None], ...]
    """Who reads it: each takes the input and a directory that it may write into. Those after one
    that refuses are asked as well."""
    may_write: tuple[str, ...] = ()
    """Folders of the input that its readers write into."""


def damage(mutate: Callable[..., str], *patterns: str, **options: Any) -> Callable[..., str]:
    """Damage to one of the files that match."""

    def damaged(rng: random.Random, directory: Path) -> str:
        files = sorted(path for pattern in patterns for path in directory.glob(pattern))
        return mutate(rng, rng.choice(files), **options)

    return damaged


def either(*damages: Callable[..., str]) -> Callable[..., str]:
    """One kind of damage or another."""
    return lambda rng, directory: rng.choice(damages)(rng, directory)


# Episodes of our own


def _episodes(directory: Path) -> None:
    from training.data.episodes import Episode, write_episode

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        episode = Episode(
            episode_id=name,
            frames=rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8),
            actions=rng.uniform(size=(4, 2)).astype(np.float32),
            rewards=rng.uniform(size=4),
            terminated=np.arange(4) == 3,
            states={"place": rng.uniform(size=(5, 2))},
            hidden={"pose": rng.uniform(size=(5, 3))},
            seed=3,
            env_id="x/X-v0",
            policy="play",
            fps=10.0,
        )
        write_episode(directory, "train", episode)


def _read_episode(directory: Path, out: Path) -> None:
    from training.data.episodes import read_episode

    read_episode(directory, "train", "a")


def _read_clips(directory: Path, out: Path) -> None:
    from training.data.clips import ClipStore

    ClipStore(directory, "train", hidden=("pose",), poses=("pose",))


def _summarize(directory: Path, out: Path) -> None:
    from training.data.collect import summary

    summary(directory, "train")


def _describe(directory: Path, out: Path) -> None:
    from tests.training.test_train import config_for
    from training.data.clips import ClipStore
    from training.streaming.describe import describe_world, take_starts
    from world_model.config import CodecConfig

    store = ClipStore(directory, "train")
    describe_world(config_for(directory, out, patch=8), store, CodecConfig())
    take_starts(directory, "train", 4, 10)


def _write_lerobot(directory: Path, out: Path) -> None:
    from training.data.lerobot.convert import ConvertConfig, main

    main(ConvertConfig(source=str(directory), out=out / "set"))


# Episodes in the published layout


def _plane(directory: Path) -> None:
    from tests.training.published_data import write_plane

    write_plane(directory, "a", 6)
    write_plane(directory, "b", 7)


def _arm(directory: Path) -> None:
    from tests.training.published_data import write_arm

    write_arm(directory, "a", 6, cameras=2)
    write_arm(directory, "b", 7, cameras=2)


def _windows(kind: str, source: str) -> Callable[[Path, Path], None]:
    def read(directory: Path, out: Path) -> None:
        from training.data.irasim.datasets import DataConfig
        from training.data.irasim.windows import WindowDataset

        config = DataConfig(
            root=directory,
            kind=kind,  # pyright: ignore[reportArgumentType]
            source=source,  # pyright: ignore[reportArgumentType]
            action_scale=(1.0,) * (2 if kind == "direct" else 7),
            num_frames=4,
        )
        windows = WindowDataset(config)
        for index in range(len(windows)):
            windows[index]
        windows.read("a")

    return read


def _starts_of(directory: Path, out: Path) -> None:
    from tests.chunk_worlds import table_world
    from training.data.irasim.starts import read_starts

    read_starts(table_world(), directory, "train", source="video", count=2)


def _encode(directory: Path, out: Path) -> None:
    from training.data.irasim.encode import EncodeConfig, main

    main(EncodeConfig(root=directory, vae=str(_autoencoder()), cpu=True, threads=1))


def _autoencoder() -> Path:
    """Of the process, made once."""
    import tempfile

    from tests.benchmarks.published_episodes import write_autoencoder

    if not _MADE:
        _MADE.append(write_autoencoder(Path(tempfile.mkdtemp()) / "vae"))
    return _MADE[0]


_MADE: list[Path] = []


def _without_latents(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        write(directory)
        shutil.rmtree(directory / "latent_videos")
        for path in directory.rglob("*.json"):
            content = json.loads(path.read_text())
            kept = {key: value for key, value in content.items() if "latent" not in key}
            path.write_text(json.dumps(kept))

    return make


def _with_latents(rng: random.Random, directory: Path) -> str:
    """Names of latents as a published set has them, then damage to the annotation."""
    path = directory / "annotation" / "train" / "a.json"
    content = json.loads(path.read_text())
    if rng.random() < 0.5:
        content["latent_video_path"] = "latent_videos/train/a.pt"
    path.write_text(json.dumps(content))
    key = rng.choice(["latent_video_path", "video_path", "videos", None])
    return mutate_json(rng, path, key)


# LeRobot data sets


def _lerobot(directory: Path) -> None:
    from tests.training.data.lerobot.test_convert import make_episode
    from training.data.episodes import write_episode
    from training.data.lerobot.convert import ConvertConfig, main

    ours = directory.with_name("ours")
    shutil.rmtree(ours, ignore_errors=True)
    for seed, (split, name, length) in enumerate([("train", "a", 5), ("train", "b", 6)]):
        write_episode(ours, split, make_episode(name, length, seed))
    directory.rmdir()
    with contextlib.redirect_stdout(None):
        main(ConvertConfig(source=str(ours), out=directory, lossless=True))
    shutil.rmtree(ours)


def _lerobot_of_others(directory: Path) -> None:
    """Without our own note."""
    _lerobot(directory)
    (directory / "meta" / "irasim.json").unlink()


def _convert(directory: Path, out: Path) -> None:
    from training.data.lerobot.convert import ConvertConfig, main

    main(ConvertConfig(source=str(directory), out=out / "episodes"))


# Worlds


def _world(directory: Path) -> None:
    from tests.conftest import TINY_CONFIG, make_starts, randomized
    from world_model import WorldModel

    world = WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG, 2))
    randomized(world).save_pretrained(directory)


def _chunk_world(directory: Path) -> None:
    from tests.chunk_worlds import table_world

    table_world().save_pretrained(directory)


def _load_and_step(directory: Path, out: Path) -> None:
    from world_model import WorldModel

    world = WorldModel.from_pretrained(directory)
    state = world.begin([0], [0])
    middle = (np.array(world.config.action_low) + np.array(world.config.action_high)) / 2
    world.step(state, middle[None].astype(np.float32))
    world.begin(range(len(world.starts)), range(len(world.starts)))


def _play_in(directory: Path, out: Path) -> None:
    import gymnasium as gym

    import irasim_env  # noqa: F401

    env = gym.make("IRASim/World-v0", world=str(directory), device="cpu", disable_env_checker=True)
    try:
        env.reset(seed=0, options={"start": 0})
        env.step(env.action_space.sample())
    finally:
        env.close()


def _with_checksums(mutate: Callable[[random.Random, Path], str], name: str) -> Callable[..., str]:
    """Damage to a file of a world whose config says that it is right."""

    def damaged(rng: random.Random, directory: Path) -> str:
        said = mutate(rng, directory / name)
        with_checksum(directory / name)
        return said

    return damaged


# Checkpoints, latents and videos


def _checkpoint(directory: Path) -> None:
    from tests.world_model.chunk_denoisers import tiny_irasim, tiny_unet
    from world_model import save_reference_checkpoint

    save_reference_checkpoint(tiny_irasim(action_embedding="linear"), directory / "a.pt")
    save_reference_checkpoint(tiny_unet(), directory / "b.pt")


def _load_checkpoint(name: str) -> Callable[[Path, Path], None]:
    def read(directory: Path, out: Path) -> None:
        from world_model import load_reference_checkpoint

        # Which it documents where there is no file.
        with contextlib.suppress(FileNotFoundError):
            load_reference_checkpoint(directory / name)

    return read


def mutate_torch(rng: random.Random, path: Path) -> str:
    """Change what torch saved, a pickle and tensors in a zip archive."""
    import torch

    if rng.random() < 0.4:
        return mutate_bytes(rng, path)
    content = torch.load(path, weights_only=True)
    kind = rng.choice(["tensor", "tensor", "tensor", "name", "args", "args", "other"])
    tables = [one for one in content.values() if isinstance(one, dict)]
    weights = content.get("ema", content)
    name = rng.choice([k for k, v in weights.items() if isinstance(v, torch.Tensor)])
    old = weights[name]
    if kind == "tensor":
        huge = torch.zeros(1).expand(10**6, 10**6)
        weights[name] = rng.choice(
            [old[:0], old[None], old.double(), old.long(), old.bool(), old.flatten(), old[..., :-1]]
            + [huge, old.to_sparse(), None, 3, "x", [old], old.half(), old * torch.nan, old.T]
            + [torch.zeros(0), torch.tensor(1.0), old.to(torch.complex64), huge[:0]]
        )
    elif kind == "name":
        weights[rng.choice(["x", "", 3, None, "blocks.99999999.x", "downs.10000.0"])] = old
        if rng.random() < 0.5:
            del weights[name]
    elif kind == "args" and isinstance(content.get("args"), dict):
        args = content["args"]
        key = rng.choice([*args, "latent_size", "video_size", "num_heads", "action_dim", "extras"])
        args[key] = rng.choice(
            [None, -1, 0, 1, 2, 10**9, 0.5, "x", [], [1], [0, 0], [-4, 4], [1, 2, 3], {}, True]
            + [float("nan"), "IRASim-XL/0", "IRASim-S/2", (4, 6), {"a": 1}, [10**9, 10**9], 3]
        )
    else:
        key = rng.choice(list(content))
        content[key] = rng.choice([None, 3, [], {}, old, "x", {"a": {"b": old}}])
        if tables and rng.random() < 0.2:
            content = rng.choice([tables[0], list(content.values()), old, None, 3])
    torch.save(content, path)
    return f"{path.name}: {kind} {name}"


def _latents(directory: Path) -> None:
    _plane(directory)
    shutil.rmtree(directory / "videos")


def _video(directory: Path) -> None:
    from tests.training.published_data import make_frames, positions
    from world_model.video import write_video

    write_video(directory / "a.mp4", make_frames(positions(25)), 10)
    write_video(directory / "b.mp4", make_frames(positions(25)), 10, lossless=False)


def _read_video(name: str) -> Callable[[Path, Path], None]:
    def read(directory: Path, out: Path) -> None:
        from training.data.irasim.content import count_frames
        from world_model.video import frame_times, frames_by_number, read_frames, read_video

        for call in (
            lambda path: read_video(path),
            lambda path: read_frames(path, [0, 3, 24]),
            lambda path: count_frames(path, "video"),
            lambda path: list(frames_by_number(path, frame_times(path), 3, 5, 2)),
        ):
            with contextlib.suppress(ValueError):
                call(directory / name)
        read_video(directory / name)

    return read


FUZZED = [
    Fuzzed(
        "annotation",
        _episodes,
        damage(mutate_json, "annotation/train/a.json"),
        (_read_episode, _read_clips, _summarize, _describe, _write_lerobot),
    ),
    Fuzzed(
        "published annotation, plane",
        _plane,
        damage(mutate_json, "annotation/train/a.json"),
        (_windows("direct", "video"), _windows("direct", "latents"), _starts_of),
    ),
    Fuzzed(
        "published annotation, arm",
        _arm,
        damage(mutate_json, "annotation/train/a.json"),
        (_windows("arm", "video"), _windows("arm", "latents"), _starts_of),
    ),
    Fuzzed(
        "annotation to encode",
        _without_latents(_plane),
        _with_latents,
        (_encode,),
        may_write=("latent_videos", "annotation"),
    ),
    Fuzzed(
        "annotation to encode, cameras",
        _without_latents(_arm),
        _with_latents,
        (_encode,),
        may_write=("latent_videos", "annotation"),
    ),
    Fuzzed(
        "world config",
        _world,
        damage(mutate_json, "config.json"),
        (_load_and_step, _play_in),
    ),
    Fuzzed(
        "world config, chunks",
        _chunk_world,
        damage(mutate_json, "config.json"),
        (_load_and_step, _play_in),
    ),
    Fuzzed(
        "weights of a world",
        _world,
        _with_checksums(mutate_safetensors, "model.safetensors"),
        (_load_and_step,),
    ),
    Fuzzed(
        "weights of a world, chunks",
        _chunk_world,
        _with_checksums(mutate_safetensors, "model.safetensors"),
        (_load_and_step,),
    ),
    Fuzzed(
        "starts of a world",
        _world,
        _with_checksums(mutate_safetensors, "starts.safetensors"),
        (_load_and_step, _play_in),
    ),
    Fuzzed(
        "checkpoint of the reference, transformer",
        _checkpoint,
        damage(mutate_torch, "a.pt"),
        (_load_checkpoint("a.pt"),),
    ),
    Fuzzed(
        "checkpoint of the reference, U-Net",
        _checkpoint,
        damage(mutate_torch, "b.pt"),
        (_load_checkpoint("b.pt"),),
    ),
    Fuzzed(
        "latents",
        _latents,
        damage(mutate_torch, "latent_videos/train/a.pt"),
        (_windows("direct", "latents"),),
    ),
    Fuzzed("video", _video, damage(mutate_bytes, "a.mp4"), (_read_video("a.mp4"),)),
    Fuzzed("video, yuv420p", _video, damage(mutate_bytes, "b.mp4"), (_read_video("b.mp4"),)),
    Fuzzed(
        "LeRobot info.json",
        _lerobot_of_others,
        damage(mutate_json, "meta/info.json"),
        (_convert,),
    ),
    Fuzzed(
        "LeRobot tables",
        _lerobot_of_others,
        damage(mutate_parquet, "meta/episodes/*/*.parquet", "data/*/*.parquet"),
        (_convert,),
    ),
    Fuzzed(
        "LeRobot notes of ours",
        _lerobot,
        damage(mutate_json, "meta/irasim.json"),
        (_convert,),
    ),
    Fuzzed(
        "LeRobot v2.1 meta",
        notes.write_lerobot_v21,
        either(
            damage(mutate_json, "meta/info.json"), damage(notes.mutate_line, "meta/episodes.jsonl")
        ),
        (_convert,),
    ),
    Fuzzed(
        "LeRobot v2.1 tables and videos",
        notes.write_lerobot_v21,
        either(damage(mutate_parquet, "data/*/*"), damage(mutate_bytes, "videos/*/*/*")),
        (_convert,),
    ),
    Fuzzed(
        "note of collecting",
        notes.write_collected,
        damage(mutate_json, "collect.json"),
        (notes.collect_again,),
        may_write=("",),
    ),
    Fuzzed(
        "note of a training",
        notes.write_run,
        damage(mutate_json, "train_config.json"),
        (notes.resume_run,),
        may_write=("",),
    ),
    Fuzzed(
        "state of a training",
        notes.write_run,
        damage(notes.mutate_state, "state.pt"),
        (notes.load_state,),
    ),
    Fuzzed(
        "notes of an evaluation",
        notes.write_evaluated,
        either(
            damage(mutate_json, "short.json", "checkpoints/*/*.json"),
            damage(notes.mutate_line, "world.jsonl"),
        ),
        (notes.claim_results, notes.read_table, notes.read_log),
        may_write=("",),
    ),
    Fuzzed(
        "reports of a world",
        notes.write_measured,
        damage(mutate_json, "quality.json", "speed.json", "train.json"),
        (notes.write_card_of,),
        may_write=("",),
    ),
    Fuzzed(
        "autoencoder",
        notes.write_autoencoder,
        either(damage(mutate_json, "config.json"), damage(mutate_safetensors, "*.safetensors")),
        (notes.load_autoencoder,),
    ),
    Fuzzed(
        "cloned policy",
        notes.write_clone,
        damage(mutate_safetensors, "clone.safetensors"),
        (notes.load_clone,),
    ),
]
