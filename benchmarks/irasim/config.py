"""What `irasim evaluate short` and `long` are asked for. Kept free of torch: --help is quick."""

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
    """A checkpoint of the reference's form (.pt, as `irasim train` writes them too), or a chunk
    world: a directory or a Hub id."""
    data: Path
    """Dataset in the published layout: annotation/, videos/ and, for source latents,
    latent_videos/ in it."""
    out: Path
    """Directory of this model's results: checkpoints/NAME/ in it, laid out as the reference's."""
    truth: Path | None = None
    """Directory for the true videos and latents, evaluation_videos/ and
    evaluation_latent_videos/ (default: out). Models that are compared may share it."""
    name: str | None = None
    """The model's name in tables and folders (default: the checkpoint's file name)."""

    dataset: Literal["rt1", "bridge", "languagetable"] | None = None
    """A published dataset, which fixes kind, action scale, frame size and windows."""
    split: Split = "test"
    """Which annotations."""
    kind: Literal["direct", "arm"] | None = None
    """Actions as recorded, or computed from an arm's states (default: the dataset's, or direct)."""
    action_scale: tuple[float, ...] | None = None
    """What each action component is multiplied by (default: the dataset's, or the world's)."""
    accumulate: bool = False
    """Arm: measure every motion from the first state, not from the one before."""
    camera: int | str = 0
    """Which of an annotation's videos."""
    frame_size: tuple[int, int] | None = None
    """Height and width at which frames are compared: videos are resized to it (default: the
    dataset's, the world's, or as recorded)."""
    pixel_size: tuple[int, int] | None = None
    """Height and width at which a model of pixels (VDM) runs (default: the frame size; the
    published Language-Table VDM: 144 256)."""
    source: Literal["latents", "video"] = "latents"
    """Where a model of latents takes the first frame from: encoded latents, or videos that the
    autoencoder encodes now. A model of pixels always takes videos."""
    broken: Literal["error", "skip"] = "error"
    """What to do about broken episodes: refuse to start, or print them and leave them out."""
    limit: int | None = None
    """Take this many windows or episodes only, the first ones. Giving more later adds to them."""

    vae: str | None = None
    """AutoencoderKL that decodes latents: a directory or a Hub id (default: the world's own).
    Without one a model of latents is scored by latent L2 alone."""
    vae_batch: int = 16
    """Frames that the autoencoder takes at a time."""
    seed: int = 0
    """With a window's or an episode's name it fixes all of its noise."""
    cpu: bool = False
    """Stay on the processor even where there is a GPU."""

    lpips_trunk: Literal["alex", "vgg"] = "alex"
    """Network of LPIPS."""
    lpips_network: Path | None = None
    """torchvision's weights of it (default: torch.hub's cache, else fetched)."""
    lpips_network_sha256: str | None = None
    """Checksum of a file other than the published one, which is refused without it."""
    lpips_heads: Path | None = None
    """LPIPS' linear heads, version 0.1 (default: torchmetrics' copy, the cache, else fetched)."""
    lpips_heads_sha256: str | None = None
    """Of other heads."""
    inception: Path | None = None
    """pytorch-fid's Inception weights (default: the cache, else fetched)."""
    inception_sha256: str | None = None
    """Of another file: a state dict, or a TorchScript module uint8 (B, 3, H, W) -> (B, D)."""
    i3d: Path | None = None
    """StyleGAN-V's i3d_torchscript.pt (default: the cache, else fetched)."""
    i3d_sha256: str | None = None
    """Of another TorchScript module with the same interface."""
    fetch: bool = True
    """Download weights that are not there; without them a metric is reported as not available."""

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
    """Predict windows of one chunk from their true first frames, and score them."""

    interval: int = 16
    """Frames from one window's beginning to the next one's."""
    batch: int = 8
    """Windows sampled at once. The same batches are made on any number of processes."""

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
    """Compare what `irasim evaluate short` and `long` measured."""

    results: tyro.conf.Positional[tuple[Path, ...]] = field(default_factory=tuple)
    """Reports (short.json, long.json), or directories that hold some (default: this one)."""
