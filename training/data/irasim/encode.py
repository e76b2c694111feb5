"""`irasim encode`: latents of all videos of a dataset, so that training need not encode them.

They are times the VAE's scaling factor, as the published ones, and lie where those lie (see
datasets.py). A file of latents is whole or absent, and its annotation names it once it is there; so
a run that stopped goes on where it was, in any number of processes.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from training.data.episodes import read_json, write_json
from training.data.irasim.annotation import cameras, content_path, with_latents
from training.data.size import Resized
from world_model.config_fields import check_least
from world_model.directories import check_directory
from world_model.io.whole_files import clear_leftovers

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from torch import Tensor

NOTE = Path("latent_videos") / "encode.json"
# What must not change from one run to the next over a dataset.
FIXED = ("vae", "height", "width", "draw", "seed")


@dataclass(frozen=True, kw_only=True)
class EncodeConfig(Resized):
    """Encode a dataset's videos as latents, which chunk models are trained on. On several GPUs:
    accelerate launch -m irasim_env.console encode ..."""

    root: Annotated[Path, tyro.conf.Positional]
    """Directory of the dataset, with annotation/ and videos/; latent_videos/ is written there."""
    vae: str = "stabilityai/stable-diffusion-xl-base-1.0"
    """AutoencoderKL: a directory (its own, or that of a pipeline that contains vae/) or a Hub
    id."""
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
    """Splits to encode; those that the dataset lacks are skipped."""
    height: int | None = None
    """Resize frames to this height first (default: as recorded): 256 for RT-1 and Bridge, 288 for
    Language-Table."""
    width: int | None = None
    """Resize frames to this width first: 320 for RT-1 and Bridge, 512 for Language-Table."""
    draw: Literal["mean", "sample"] = "mean"
    """What to keep of the Gaussian that the encoder gives for each frame: its mean, or, as in the
    original code, a sample (determined by the file's name and the seed)."""
    seed: int = 0
    """Seed of the samples."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Precision of the autoencoder. The SDXL VAE overflows in fp16, which is detected."""
    batch: int = 16
    """Frames encoded at a time."""
    threads: int = 2
    """Threads per process that decode videos ahead."""
    broken: Literal["error", "skip"] = "error"
    """On broken episodes, stop (error), or continue and list them at the end (skip)."""
    cpu: bool = False
    """Encode on the CPU even if there is a GPU."""

    def __post_init__(self):
        self.check_size()
        check_least(self, batch=1, threads=1)


def main(config: EncodeConfig) -> None:
    """Encode what is missing, each process its share."""
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from torch import nn

    from training.data.irasim.autoencoder import load_autoencoder
    from world_model.progress import progress_bar

    paths = [
        path
        for split in config.splits
        for path in sorted((config.root / "annotation" / split).glob("[!.]*.json"))
    ]
    if not paths:
        raise ValueError(
            f"{config.root}: no annotations of {', '.join(config.splits)}, expected them as "
            "annotation/SPLIT/ID.json"
        )
    _check_run(config)
    check_directory(config.root / NOTE.parent, "ROOT")
    vae = load_autoencoder(config.vae)
    state = PartialState(cpu=config.cpu)
    if state.is_main_process:
        clear_leftovers(config.root)
        _note_run(config)
    assert state.device is not None, "accelerate gives each process a device"
    nn.Module.to(vae, state.device, _dtype(config.precision))
    mine = paths[state.process_index :: state.num_processes]
    problems: list[str] = []
    encoded = 0
    bar = progress_bar(
        _ahead(mine, lambda path: _decode(config, path), config.threads),
        f"encoding on {state.num_processes} x {state.device.type}",
        total=len(mine),
        unit="episodes",
        shown=state.is_main_process,
    )
    for path, decoded in bar:
        try:
            encoded += _encode(config, vae, path, decoded.result())
        except ValueError as error:
            if config.broken == "error":
                raise
            problems.append(str(error))
    problems, counts = gather_object(problems), gather_object([encoded])
    if state.is_main_process:
        by = f"{state.num_processes} processes" if state.num_processes > 1 else "one process"
        print(f"{config.root}: {len(paths)} episodes, {sum(counts)} encoded now by {by}")
        if problems:
            print("\n  ".join([f"{len(problems)} are broken and left out:", *problems]))


def _ahead(
    paths: list[Path], decode: Callable[[Path], Any], threads: int
) -> Iterator[tuple[Path, Future[Any]]]:
    """Each path with what it decodes to; some are decoded while an earlier one is used."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Path, Future[Any]]] = deque()
        try:
            for path in paths:
                waiting.append((path, pool.submit(decode, path)))
                if len(waiting) > threads:
                    yield waiting.popleft()
            yield from waiting
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(config: EncodeConfig, path: Path) -> dict[str, "Tensor"]:
    """Frames of each of an episode's videos by the path of their latents; none if all is done."""
    from training.data.irasim.content import whole_video

    annotation = read_json(path)
    named = with_latents(path, annotation)
    found = {
        content_path(path, named, "latents", camera): content_path(path, named, "video", camera)
        for camera in cameras(path, named)
    }
    if len(found) < len(cameras(path, named)):
        raise ValueError(f"{path}: names one file for the latents of two videos: {list(found)}")
    for latents in found:
        if Path(os.path.normpath(latents)).parts[0] != NOTE.parent.name:
            raise ValueError(
                f"{path}: names {latents!r} for its latents, expected a file in {NOTE.parent}/"
            )
    if named == annotation and all((config.root / latents).is_file() for latents in found):
        return {}
    return {
        latents: whole_video(config.root / video, config.size) for latents, video in found.items()
    }


def _encode(
    config: EncodeConfig, vae: "AutoencoderKL", path: Path, videos: dict[str, "Tensor"]
) -> bool:
    """Write an episode's latents, then name them in its annotation; whether there were any."""
    import torch

    from training.data.irasim.autoencoder import encode_frames
    from training.data.irasim.content import write_latents

    for name, frames in videos.items():
        generator = None
        if config.draw == "sample":
            key = zlib.crc32(f"{config.seed} {name}".encode())
            generator = torch.Generator().manual_seed(key)
        latents = encode_frames(vae, frames, config.batch, generator)
        if not latents.isfinite().all():
            raise ValueError(
                f"{path}: its latents are not finite in {config.precision}; use bf16 or fp32"
            )
        write_latents(config.root / name, latents, with_key="videos" not in read_json(path))
    if videos:
        annotation = read_json(path)
        named = with_latents(path, annotation)
        if named != annotation:
            write_json(path, named)
    return bool(videos)


def _check_run(config: EncodeConfig) -> None:
    """Refuse to mix two ways of encoding in one dataset."""
    path = config.root / NOTE
    if not path.exists():
        return
    before, now = read_json(path), asdict(config)
    changed = [
        f"{key} was {before.get(key)!r} and is now {now[key]!r}"
        for key in FIXED
        if before.get(key) != now[key]
    ]
    if changed:
        raise ValueError(
            f"{path.parent} was encoded with other settings: {', '.join(changed)}; use "
            "the same, or delete it first"
        )


def _note_run(config: EncodeConfig) -> None:
    """Say beside the latents how they are made."""
    path = config.root / NOTE
    path.parent.mkdir(exist_ok=True)
    versions = {name: version(name) for name in ("torch", "diffusers", "av")}
    settings = {**asdict(config), "root": str(config.root)}
    write_json(path, {**settings, "versions": versions})


def _dtype(precision: Literal["fp32", "fp16", "bf16"]) -> "torch.dtype":
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
