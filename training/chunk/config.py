"""Training runs of the chunk models: IRASim Frame-Ada and Video-Ada, its baselines LVDM and VDM.

The presets are the reference's recipe (arXiv 2406.14540 and its published configs). Kept free of
torch, so that `irasim train --help` is quick.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from training.data.irasim.datasets import PRESETS as DATASETS
from training.data.irasim.datasets import DataConfig, Split
from training.run.config import seconds
from world_model.config_fields import check_least

PublishedDataset = Literal["rt1", "bridge", "languagetable"]
ChunkModel = Literal["frame_ada", "video_ada", "lvdm", "vdm"]
# Pixels a latent, along each side.
VAE_SCALE = 8


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How frames are drawn from a chunk model."""

    num_heads: int | None = None
    """Attention heads, where a checkpoint does not tell."""
    sampler: Literal["pndm", "ddpm", "ddim", "dpm-solver++"] = "pndm"
    """How frames are drawn; pndm is the reference's."""
    num_steps: int = 50
    """Denoising steps: 50 of pndm make 59 passes through the network."""
    guidance: float = 1.0
    """Classifier-free guidance; 1 is none."""


@dataclass(frozen=True, kw_only=True)
class ChunkTrainConfig:
    """One training run of a chunk model, from data in the published layout to a checkpoint."""

    preset: str = "chunk_tiny"
    """Where the other defaults come from: {rt1,bridge,languagetable}_{frame_ada,video_ada,lvdm,vdm}
    or chunk_tiny."""
    data: Path
    """Dataset in the published layout; latents are made of its videos by `irasim encode`."""
    out: Path
    """The run's directory, on storage that all machines see: checkpoints/ in the reference's form,
    world/, samples/, tensorboard logs, state.pt to resume from."""
    init: Path | None = None
    """Checkpoint in the reference's form (.pt) to train on from: a model of the same shape."""
    max_steps: int = 300_000
    """Optimizer steps. A finished run goes on when it is given more."""
    seed: int = 3407
    """With a sample's number it fixes its window, noise, time and condition dropout."""

    model: ChunkModel = "frame_ada"
    """Transformer conditioned by frame or by video; U-Net on latents (lvdm) or on pixels (vdm)."""
    size: Literal["S", "B", "L", "XL"] = "XL"
    """Published size of the transformer."""
    patch: Literal[2, 4, 8] = 2
    """Latent cells per token, along each side (transformer)."""
    depth: int | None = None
    """Blocks of the transformer, in place of its size's."""
    width: int | None = None
    """Width of the transformer, in place of its size's."""
    num_heads: int | None = None
    """Attention heads of the transformer, in place of its size's."""
    unet_dim: int | None = None
    """Channels of the U-Net's first level (default: 288 for latents, 64 for pixels)."""
    unet_mults: tuple[int, ...] = (1, 2, 4, 8)
    """Channels of the U-Net's levels as multiples of that."""
    final_frame_ada: bool = False
    """Frame-Ada: let the last layer see the action too. The published checkpoints do not."""
    learn_sigma: bool = False
    """Predict the variance of a reverse step too (transformer)."""
    condition_dropout: float = 0.1
    """Share of training windows whose actions are replaced by the null embedding."""

    dataset: PublishedDataset | None = None
    """Published dataset, which tells a world's frame rate and bounds of actions (default: the
    annotations do)."""
    kind: Literal["direct", "arm"] = "direct"
    """Actions as recorded, or computed from an arm's states."""
    accumulate: bool = False
    """Arm: measure every motion from the window's first state, not from the one before."""
    action_scale: tuple[float, ...]
    """What each component of an action is multiplied by."""
    camera: int | str = 0
    """Which of an annotation's videos: its position, or its key."""
    num_frames: int = 16
    """Frames of a window, the given first one included."""
    frame_size: tuple[int, int] | None = None
    """Height and width of frames: videos are resized to it, latents must be of an eighth of it
    (default: as they are)."""
    count_last_frame: bool = True
    """Windows may end on an episode's last frame."""
    validation_interval: int = 16
    """Frames from one validation window's beginning to the next one's; training takes all."""
    broken: Literal["error", "skip"] = "error"
    """What to do about broken episodes: refuse to start, or print them and leave them out."""

    batch: int = 64
    """Windows an optimizer step, over all processes."""
    local_batch: int = 4
    """Windows that a process works through at once, at most: the rest is accumulated."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the network's matrix products; weights and averages are float32."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    rate: float = 1e-4
    """Learning rate, constant (AdamW, no decay of weights)."""
    ema: float = 0.9999
    """Decay of the averaged weights, which are the ones that are kept."""
    clip_norm: float = 0.1
    """Largest norm of the gradient."""
    workers: int = 11
    """Worker processes that read data, per process; no more than there are cores. 0: none."""
    cpu: bool = False
    """Train on the processor even where there is a GPU."""

    log_every: int = 100
    """Steps between log entries."""
    validate_every: int = 10_000
    """Steps between validations: the loss of all validation windows, and sample videos."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints of the averaged weights."""
    save_every: str = "10min"
    """How often the state to resume from is written."""
    samples: int = 3
    """Validation windows that are sampled at a validation; 0: none."""
    sample_steps: int = 50
    """Denoising steps of samples (PNDM, as the reference)."""
    vae: str | None = None
    """AutoencoderKL of the latents, a directory or a Hub id: decodes samples, and becomes part of
    the world. Without it samples show three channels, and a model of latents ends as a checkpoint
    only, of which `irasim import` makes a world."""

    def __post_init__(self) -> None:
        self.data_config("train")
        if self.learn_sigma and self.on_unet:
            raise ValueError(f"learn_sigma is for the transformers, model is {self.model}")
        if self.final_frame_ada and self.model != "frame_ada":
            raise ValueError(f"final_frame_ada is for model frame_ada, model is {self.model}")
        check_least(self, batch=1, local_batch=1, log_every=1, validate_every=1, checkpoint_every=1)
        check_least(self, max_steps=0, samples=0, workers=0)
        seconds(self.save_every)

    @property
    def on_unet(self) -> bool:
        """Whether the model is one of the baselines."""
        return self.model in ("lvdm", "vdm")

    @property
    def source(self) -> Literal["video", "latents"]:
        """What the model is trained on."""
        return "video" if self.model == "vdm" else "latents"

    def data_config(self, split: Split) -> DataConfig:
        """The data of a split, as windows."""
        height, width = self.frame_size or (None, None)
        return DataConfig(
            root=self.data,
            split=split,
            kind=self.kind,
            accumulate=self.accumulate,
            action_scale=self.action_scale,
            source=self.source,
            camera=self.camera,
            num_frames=self.num_frames,
            start_interval=1 if split == "train" else self.validation_interval,
            count_last_frame=self.count_last_frame,
            height=height,
            width=width,
            broken=self.broken,
        )

    def num_parts(self, num_processes: int) -> int:
        """Parts that each process works its share of a batch through in.

        Raises:
            ValueError: The batch does not divide into equal parts.
        """
        share, rest = divmod(self.batch, num_processes)
        parts = -(-share // self.local_batch)
        if rest or share % max(parts, 1):
            raise ValueError(
                f"batch {self.batch} does not divide into equal parts of at most "
                f"{self.local_batch} (local_batch) on {num_processes} processes; change one"
            )
        return parts


def recipe(dataset: PublishedDataset, model: ChunkModel) -> ChunkTrainConfig:
    """The reference's recipe for a published dataset."""
    data = DATASETS[dataset](Path("data") / dataset)
    size = data.size
    if dataset == "languagetable" and model == "vdm":
        size = (144, 256)  # the reference's pixels there, at half their height and width
    return ChunkTrainConfig(
        preset=f"{dataset}_{model}",
        data=data.root,
        out=Path("runs") / f"{dataset}_{model}",
        model=model,
        dataset=dataset,
        kind=data.kind,
        action_scale=data.action_scale,
        frame_size=size,
        count_last_frame=data.count_last_frame,
    )


def chunk_tiny() -> ChunkTrainConfig:
    """Any of the models at toy size, on what --preset tiny collects: proves that the path runs."""
    return ChunkTrainConfig(
        data=Path("data/tiny"),
        out=Path("runs/chunk_tiny"),
        max_steps=200,
        depth=2,
        width=32,
        num_heads=2,
        unet_dim=16,
        unet_mults=(1, 2),
        action_scale=(1 / 256, 1 / 256),  # positions from 0 to 512
        batch=4,
        mixed_precision="no",
        rate=2e-3,
        ema=0.99,
        clip_norm=1.0,
        workers=2,
        log_every=10,
        validate_every=100,
        checkpoint_every=100,
        save_every="20s",
        sample_steps=10,
    )


CHUNK_PRESETS: dict[str, Callable[[], ChunkTrainConfig]] = {
    **{
        f"{dataset}_{model}": partial(recipe, dataset, model)
        for dataset in get_args(PublishedDataset)
        for model in get_args(ChunkModel)
    },
    "chunk_tiny": chunk_tiny,
}
