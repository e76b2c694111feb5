"""What evaluations in tests are given, and how they are run."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch

from benchmarks.irasim.command import main
from benchmarks.irasim.config import LongConfig, ShortConfig
from benchmarks.metrics.lpips import LPIPS
from tests.benchmarks.published_episodes import (
    Detector,
    Pictures,
    random_weights,
    save_scripted,
    write_autoencoder,
    write_dataset,
)
from tests.world_model.chunk_denoisers import tiny_irasim
from world_model import save_reference_checkpoint

# Windows of 4 frames every 3 frames.
WINDOWS = ["a_0_0", "a_0_3", "a_0_6", "b_0_0", "b_0_3", "b_0_6", "d_0_0", "d_0_3"]
Run = tuple[Path, dict[str, Any]]  # where to, and the report
SAMPLING: dict[str, Any] = {"sampler": "ddim", "num_steps": 3, "seed": 3}


@dataclasses.dataclass
class Files:
    """What evaluations are given."""

    data: Path
    vae: str
    model: str
    weights: dict[str, Any]


def make_files(root: Path) -> Files:
    """A dataset, an autoencoder, a model and the networks of the metrics, all tiny."""
    denoiser = tiny_irasim(latent_size=(4, 4), action_embedding="linear")
    save_reference_checkpoint(denoiser, root / "0000100.pt")
    fresh = LPIPS("alex")
    names = {n: tuple(v.shape) for n, v in fresh.state_dict().items() if "features" in n}
    torch.save(random_weights(names), root / "trunk.pth")
    heads = {
        f"lin{i}.model.1.weight": torch.linspace(0, 1, len(h)).view(1, -1, 1, 1)
        for i, h in enumerate(fresh.heads)
    }
    torch.save(heads, root / "heads.pth")
    weights: dict[str, Any] = {
        "lpips_network": root / "trunk.pth",
        "lpips_heads": root / "heads.pth",
        "inception": save_scripted(Pictures(), root / "pictures.pt"),
        "i3d": save_scripted(Detector(), root / "detector.pt"),
    }
    checksums = {
        f"{k}_sha256": hashlib.sha256(p.read_bytes()).hexdigest() for k, p in weights.items()
    }
    return Files(
        data=write_dataset(root / "table"),
        vae=str(write_autoencoder(root / "vae")),
        model=str(root / "0000100.pt"),
        weights={**weights, **checksums, "fetch": False},
    )


def short(files: Files, out: Path, **fields: Any) -> ShortConfig:
    return ShortConfig(
        **{
            "model": files.model,
            "data": files.data,
            "out": out,
            "vae": files.vae,
            "action_scale": (0.1, 0.1),
            "interval": 3,
            "batch": 3,
            "cpu": True,
            **SAMPLING,
            **files.weights,
            **fields,
        }
    )


def long(files: Files, out: Path, **fields: Any) -> LongConfig:
    config = {f.name: getattr(short(files, out), f.name) for f in dataclasses.fields(LongConfig)}
    return LongConfig(**{**config, **fields})


def run(config: ShortConfig | LongConfig) -> dict[str, Any]:
    """The report, made in one thread: two would round sums otherwise, and so a few pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        report = main(config)
    finally:
        torch.set_num_threads(threads)
    assert report is not None
    return report
