"""What commands keep beside their results and read again, and other files that are fuzzed."""

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness.mutations import (
    mutate_bytes,
    mutate_json,
)

# What `irasim evaluate short` writes, in short.
REPORT: dict[str, Any] = {
    "command": "irasim evaluate short",
    "dataset": "table",
    "protocol": "short",
    "model": {"name": "m"},
    "counts": {"items": 3},
    "scores": {"latent_l2": 0.5, "arrays": {"psnr_rgb": 20.0}, "files": {"psnr_rgb": 19.0}},
    "not_available": {"fid": "no weights"},
    "metrics": {"psnr, ssim": "mean"},
}


def write_collected(directory: Path) -> None:
    """One episode of Push-T, and the note of its run."""
    from training.data.collect import main

    with contextlib.redirect_stdout(None):
        main(_collecting(directory))


def _collecting(directory: Path) -> Any:
    from training.data.collect import CollectConfig

    return CollectConfig(
        env_id="gym_pusht:gym_pusht/PushT-v0",
        env_kwargs='{"obs_type": "state"}',
        out=directory,
        episodes=1,
        max_steps=2,
        workers=0,
    )


def collect_again(directory: Path, out: Path) -> None:
    """Of what there is all."""
    from training.data.collect import main

    main(_collecting(directory))


def write_run(directory: Path) -> None:
    """The directory of a training."""
    import torch

    from tests.training.test_train import config_for
    from training.run.directory import write_config

    write_config(config_for(Path("data"), Path("out")), directory, set())
    trainer = _trainer()
    loss = trainer.objective(torch.ones(1, 3)).sum()
    loss.backward()
    trainer.apply_gradients()
    trainer.save_state(directory / "state.pt")


def _trainer() -> Any:
    from accelerate import Accelerator
    from torch import nn

    from training.run.resumable import ResumableTrainer

    return ResumableTrainer(
        nn.Linear(3, 2), Accelerator(cpu=True), rate=1e-3, betas=(0.9, 0.98), clip_norm=1, ema=0.9
    )


def resume_run(directory: Path, out: Path) -> None:
    """As a training that goes on."""
    from tests.training.test_train import config_for
    from training.run.directory import write_config

    write_config(config_for(Path("data"), Path("out")), directory, set())


def load_state(directory: Path, out: Path) -> None:
    """A training's state."""
    _trainer().load_state(directory / "state.pt")


def mutate_state(rng: random.Random, path: Path) -> str:
    """Change what a training saved."""
    import torch

    if rng.random() < 0.4:
        return mutate_bytes(rng, path)
    state = torch.load(path, weights_only=True)
    old = state["weights"][0]
    odd = [None, 3, "x", [], {}, old, [old], {"a": old}, -1, float("nan"), torch.zeros(0)]
    odd += [torch.zeros(1).expand(10**6, 10**6), torch.tensor([True]), [None, None], old.half()]
    where: Any = state
    said = []
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        key = rng.choice(keys)
        said.append(key)
        deeper = isinstance(where[key], dict | list) and len(where[key])
        if not deeper or rng.random() < 0.3:
            break
        where = where[key]
    if rng.random() < 0.3 and isinstance(where, dict):
        del where[key]
    else:
        where[key] = rng.choice(odd)
    torch.save(state, path)
    return f"{path.name}: {said}"


def write_evaluated(directory: Path) -> None:
    """A report, its settings, and a log of played episodes."""
    from benchmarks.control.policy_log import EpisodeRecord, PolicyLog

    (directory / "short.json").write_text(json.dumps(REPORT))
    claim_results(directory, directory)
    log = PolicyLog(directory / "world.jsonl", {"seed": 3, "starts": "fresh"})
    for start in range(3):
        log.add(
            EpisodeRecord(policy="p", start=start, limit=3, rewards=(0.5, 0.25), ended=start == 1)
        )


def claim_results(directory: Path, out: Path) -> None:
    """As an evaluation that goes on."""
    from benchmarks.irasim.command import claim
    from benchmarks.irasim.config import ShortConfig
    from benchmarks.irasim.layout import Layout

    config = ShortConfig(model="m.pt", data=Path("data"), out=directory, action_scale=(1.0,))
    layout = Layout(out=directory, truth=directory, name="m", split="test", protocol="short")
    claim(config, layout)


def read_table(directory: Path, out: Path) -> None:
    """Of all reports."""
    from benchmarks.irasim.config import TableConfig
    from benchmarks.irasim.table import main

    main(TableConfig(results=(directory / "short.json",)))


def read_log(directory: Path, out: Path) -> None:
    """Episodes that were played."""
    from benchmarks.control.policy_log import PolicyLog

    log = PolicyLog(directory / "world.jsonl", {"seed": 3, "starts": "fresh"})
    log.missing("p", range(5), 4)
    log.episodes("p", range(5), 2)


def mutate_line(rng: random.Random, path: Path) -> str:
    """Damage to a line of a log."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, path)
    lines = path.read_text().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    part = path.with_name("line.json")
    part.write_text(lines[at])
    said = mutate_json(rng, part)
    lines[at] = part.read_text(errors="replace").strip() + "\n" if part.is_file() else ""
    shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    path.write_text("".join(lines))
    return f"{path.name} line {at}: {said}"


def write_measured(directory: Path) -> None:
    """The shipped world's reports, beside a copy of it."""
    from world_model.io.checkpoint import SHIPPED

    for path in (SHIPPED / "pusht").iterdir():
        shutil.copy(path, directory)


def write_card_of(directory: Path, out: Path) -> None:
    """A card from reports."""
    from benchmarks.prediction.card import CardConfig, main

    main(CardConfig(world=str(directory)))


def write_autoencoder(directory: Path) -> None:
    """Of diffusers."""
    from tests.benchmarks import published_episodes

    published_episodes.write_autoencoder(directory)


def load_autoencoder(directory: Path, out: Path) -> None:
    """And encode a picture."""
    import torch

    from training.data.irasim import autoencoder

    vae = autoencoder.load_autoencoder(str(directory))
    autoencoder.encode_frames(vae, torch.zeros(1, 32, 32, 3, dtype=torch.uint8))


def write_clone(directory: Path) -> None:
    """A cloned policy."""
    from policies.pusht.cloning import WEIGHTS

    shutil.copy(sorted(WEIGHTS.glob("*.safetensors"))[0], directory / "clone.safetensors")


def load_clone(directory: Path, out: Path) -> None:
    """A cloned policy."""
    from policies.pusht import cloning

    cloning.load_clone(directory / "clone.safetensors")


def write_lerobot_v21(directory: Path) -> None:
    """A data set of two episodes, each with a table and a video of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from world_model.video import write_video

    rng = np.random.default_rng(0)
    data, videos = directory / "data/chunk-000", directory / "videos/chunk-000/observation.image"
    for folder in (data, videos, directory / "meta"):
        folder.mkdir(parents=True)
    lengths = [5, 6]
    for index, length in enumerate(lengths):
        columns = {
            "action": list(rng.random((length, 2), dtype=np.float32)),
            "observation.state": list(rng.random((length, 3), dtype=np.float32)),
            "timestamp": (np.arange(length) / 10).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, index),
            "index": sum(lengths[:index]) + np.arange(length),
            "task_index": np.zeros(length, np.int64),
        }
        pq.write_table(pa.table(columns), data / f"episode_{index:06d}.parquet")
        frames = rng.integers(0, 256, (length, 16, 16, 3), dtype=np.uint8)
        write_video(videos / f"episode_{index:06d}.mp4", frames, 10, lossless=False)
    number = {"dtype": "int64", "shape": [1], "names": None}
    info = {
        "codebase_version": "v2.1",
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 1,
        "total_videos": len(lengths),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": 10,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
        "features": {
            "observation.image": {"dtype": "video", "shape": [16, 16, 3], "names": ["h", "w", "c"]},
            "action": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
            "observation.state": {"dtype": "float32", "shape": [3], "names": {"a": ["b", "c"]}},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": number,
            "episode_index": number,
            "index": number,
            "task_index": number,
        },
    }
    (directory / "meta/info.json").write_text(json.dumps(info))
    lines = [{"episode_index": i, "tasks": ["go"], "length": n} for i, n in enumerate(lengths)]
    (directory / "meta/episodes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    (directory / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "go"}\n')
