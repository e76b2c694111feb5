"""Options of `irasim evaluate short` and `long`. Kept free of torch, so that --help is quick."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from training.chunk.config import SamplingConfig
from training.data.irasim.datasets import PRESETS, DataConfig, Split
from world_model.config_fields import check_least

# What frames a video is shown at in the reference's files, whatever its own rate.
REFERENCE_FPS = 4
# Settings that decide what is generated; one directory holds results of one choice of them.
RESULT_SETTINGS = (
    "model",
    "dataset",
    "data",
    "split",
    "kind",
    "accumulate",
    "action_scale",
    "camera",
    "frame_size",
    "pixel_size",
    "source",
    "vae",
    "num_heads",
    "sampler",
    "num_steps",
    "guidance",
    "seed",
    "batch",
)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(SamplingConfig):
    """A chunk model, the data it is scored on, and how it is sampled."""

    model: str
    """A checkpoint in the format of the original code (.pt, which `irasim train` writes too), or a
    chunk world: a directory or a Hub id."""
    data: Path
    """Dataset in the published layout: a directory with annotation/, videos/ and, for --source
    latents, latent_videos/."""
    out: Path
    """Directory for results, in its subdirectory checkpoints/NAME/, laid out as by the original
    code."""
    truth: Path | None = None
    """Directory for the true videos and latents, evaluation_videos/ and evaluation_latent_videos/
    (default: OUT). Models that are compared may share it."""
    name: str | None = None
    """The model's name in tables and folders (default: the checkpoint's file name)."""

    dataset: Literal["rt1", "bridge", "languagetable"] | None = None
    """A published dataset, which fixes kind, action scale, frame size and windows."""
    split: Split = "test"
    """Split to score."""
    kind: Literal["direct", "arm"] | None = None
    """Actions as recorded, or computed from an arm's states (default: the dataset's, or direct)."""
    action_scale: tuple[float, ...] | None = None
    """Factor for each component of an action (default: that of the dataset or the world)."""
    accumulate: bool = False
    """For kind arm: measure each motion from the first state instead of the one before."""
    camera: int | str = 0
    """Which of an annotation's videos to use, by index or key."""
    frame_size: tuple[int, int] | None = None
    """Height and width at which frames are compared; videos are resized to it (default: that of the
    dataset or the world, or as recorded)."""
    pixel_size: tuple[int, int] | None = None
    """Height and width at which a pixel-space model (VDM) runs (default: the frame size; the
    published VDM for Language-Table needs 144 256)."""
    source: Literal["latents", "video"] = "latents"
    """Where a latent-space model takes its first frame from: stored latents, or videos, which are
    encoded now. A pixel-space model always uses videos."""
    broken: Literal["error", "skip"] = "error"
    """On broken episodes, refuse to start (error), or list them and leave them out (skip)."""
    limit: int | None = None
    """Use only the first windows or episodes, this many. A larger number later adds to the
    results."""

    vae: str | None = None
    """AutoencoderKL that decodes latents: a directory or a Hub id (default: the world's own).
    Without one, a latent-space model is scored by latent L2 alone."""
    vae_batch: int = 16
    """Frames that the autoencoder processes at a time."""
    seed: int = 0
    """Seed that determines, with the name of a window or episode, all of its noise."""
    cpu: bool = False
    """Run on the CPU even if there is a GPU."""

    lpips_trunk: Literal["alex", "vgg"] = "alex"
    """Network that LPIPS uses."""
    lpips_network: Path | None = None
    """File with torchvision's weights of that network (default: torch.hub's cache, else
    downloaded)."""
    lpips_network_sha256: str | None = None
    """SHA-256 of that file; required if it is not the published one."""
    lpips_heads: Path | None = None
    """File with the linear heads of LPIPS 0.1 (default: torchmetrics' copy, the cache, else
    downloaded)."""
    lpips_heads_sha256: str | None = None
    """SHA-256 of that file; required if it is not the published one."""
    inception: Path | None = None
    """File with pytorch-fid's Inception weights, or a TorchScript module uint8 (B, 3, H, W) -> (B,
    D) (default: the cache, else downloaded)."""
    inception_sha256: str | None = None
    """SHA-256 of that file; required if it is not the published one."""
    i3d: Path | None = None
    """StyleGAN-V's i3d_torchscript.pt, or a TorchScript module with the same interface (default:
    the cache, else downloaded)."""
    i3d_sha256: str | None = None
    """SHA-256 of that file; required if it is not the published one."""
    fetch: bool = True
    """Download missing weights. A metric without its weights is reported as not available."""

    def __post_init__(self):
        check_least(self, limit=1, vae_batch=1)

    @property
    def label(self) -> str:
        """The model's name in tables and folders."""
        return self.name or Path(self.model).name.removesuffix(".pt")

    @property
    def dataset_label(self) -> str:
        """The dataset's name in tables."""
        return self.dataset or self.data.resolve().name

    def data_config(self, **fields: Any) -> DataConfig:
        """The split, with the dataset's preset where one is named; `fields` are DataConfig's."""
        given: dict[str, Any] = {
            "accumulate": self.accumulate,
            "camera": self.camera,
            "broken": self.broken,
        }
        if self.kind is not None:
            given["kind"] = self.kind
        if self.action_scale is not None:
            given["action_scale"] = self.action_scale
        if self.frame_size is not None:
            given["height"], given["width"] = self.frame_size
        given |= fields
        if self.dataset is not None:
            return PRESETS[self.dataset](self.data, self.split, **given)
        if "action_scale" not in given:
            raise ValueError(
                "action_scale is not known: name the --dataset, or give a number for each component"
            )
        given.setdefault("kind", "direct")
        return DataConfig(root=self.data, split=self.split, **given)


@dataclass(frozen=True, kw_only=True)
class ShortConfig(EvaluationConfig):
    """Predict windows of one chunk, each from its true first frame, and score them."""

    interval: int = 16
    """Frames between the starts of windows."""
    batch: int = 8
    """Windows sampled at once. Batches are the same on any number of processes."""

    def __post_init__(self):
        super().__post_init__()
        check_least(self, interval=1, batch=1)


@dataclass(frozen=True, kw_only=True)
class LongConfig(EvaluationConfig):
    """Predict whole episodes chunk by chunk from their first frames, and score them."""


def with_world_defaults(config: Any, frame_size: tuple[int, int], action_scale: Any) -> Any:
    """The config, with what a world knows where neither the user nor a dataset says it."""
    if config.dataset is not None:
        return config
    return replace(
        config,
        frame_size=config.frame_size or frame_size,
        action_scale=config.action_scale or tuple(action_scale),
    )


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Show results of `irasim evaluate short` and `long` in one table."""

    results: tyro.conf.Positional[tuple[Path, ...]] = field(default_factory=tuple)
    """Reports (short.json, long.json), or directories that contain some (default: the current
    one)."""
