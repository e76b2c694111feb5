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
    """Number of attention heads, if the checkpoint does not record it."""
    sampler: Literal["pndm", "ddpm", "ddim", "dpm-solver++"] = "pndm"
    """Sampler of frames; the original code uses pndm."""
    num_steps: int = 50
    """Number of denoising steps; 50 steps of pndm take 59 passes through the network."""
    guidance: float = 1.0
    """Scale of classifier-free guidance; 1 turns it off."""


@dataclass(frozen=True, kw_only=True)
class ChunkTrainConfig:
    """One training run of a chunk model, from data in the published layout to a checkpoint."""

    preset: str = "chunk_tiny"
    """Which preset the other defaults come from:
    {rt1,bridge,languagetable}_{frame_ada,video_ada,lvdm,vdm} or chunk_tiny."""
    data: Path
    """Dataset in the published layout, with latents made from its videos by `irasim encode`."""
    out: Path
    """Directory of the run, on storage that all machines share: checkpoints/ in the format of the
    original code, world/, samples/, TensorBoard logs, and state.pt to resume from."""
    init: Path | None = None
    """Checkpoint (.pt, in the format of the original code) to continue training from; its model
    must have the same shape."""
    max_steps: int = 300_000
    """Number of optimizer steps. A finished run continues if it is given more."""
    seed: int = 3407
    """Seed that determines the windows, noise, diffusion times and condition dropout."""

    model: ChunkModel = "frame_ada"
    """Transformer conditioned by frame or by video; U-Net on latents (lvdm) or on pixels (vdm)."""
    size: Literal["S", "B", "L", "XL"] = "XL"
    """Published size of the transformer."""
    patch: Literal[2, 4, 8] = 2
    """Latent cells, or pixels, per token, along each side (transformer)."""
    depth: int | None = None
    """Number of blocks of the transformer (default: that of its size)."""
    width: int | None = None
    """Width of the transformer (default: that of its size)."""
    num_heads: int | None = None
    """Number of attention heads (default: that of the transformer's size; 8 in a U-Net, where each
    is 32 wide and most of the work at full size is theirs)."""
    unet_dim: int | None = None
    """Channels of the U-Net's first level (default: 288 for latents, 64 for pixels)."""
    unet_mults: tuple[int, ...] = (1, 2, 4, 8)
    """Channels of the U-Net's levels as multiples of that."""
    final_frame_ada: bool = False
    """Frame-Ada: condition the last layer on the action too, which the published checkpoints do
    not."""
    learn_sigma: bool = False
    """Predict the variance of a reverse step too (transformer)."""
    pixels: bool = False
    """Denoise pixels, not latents (transformer; vdm always does): no autoencoder is needed, and a
    patch is of pixels. It suits small pictures."""
    condition_dropout: float = 0.1
    """Share of training windows whose actions are replaced by the null embedding."""

    dataset: PublishedDataset | None = None
    """Published dataset, which sets the world's frame rate and action bounds (default: they are
    taken from the annotations)."""
    kind: Literal["direct", "arm"] = "direct"
    """Actions as recorded, or computed from an arm's states."""
    accumulate: bool = False
    """Arm: measure every motion from the window's first state, not from the one before."""
    action_scale: tuple[float, ...]
    """Factor for each component of an action."""
    camera: int | str = 0
    """Which of an annotation's videos to use, by index or key."""
    num_frames: int = 16
    """Frames of a window, including the given first one."""
    frame_size: tuple[int, int] | None = None
    """Height and width of frames: videos are resized to it, and latents must be an eighth of it
    (default: as recorded)."""
    count_last_frame: bool = True
    """Windows may end on an episode's last frame."""
    validation_interval: int = 16
    """Frames between the starts of validation windows; training uses every start."""
    broken: Literal["error", "skip"] = "error"
    """On broken episodes, refuse to start (error), or list them and leave them out (skip)."""

    batch: int = 64
    """Windows per optimizer step, over all processes."""
    local_batch: int = 4
    """Most windows that a process handles at once; gradients of the rest are accumulated."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the network's matrix products; weights and averages are float32."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass, which saves memory and takes a third more
    time."""
    rate: float = 1e-4
    """Learning rate, which stays constant (AdamW without weight decay)."""
    ema: float = 0.9999
    """Decay of the moving average of the weights, which is what checkpoints hold."""
    clip_norm: float = 0.1
    """Norm that gradients are clipped to."""
    workers: int = 11
    """Data-loading workers per process, at most one per core; 0 loads data in the process
    itself."""
    cpu: bool = False
    """Train on the CPU even if there is a GPU."""

    log_every: int = 100
    """Steps between log entries."""
    validate_every: int = 10_000
    """Steps between validations, which give the loss of all validation windows and sample
    videos."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints of the averaged weights."""
    save_every: str = "10min"
    """Interval at which the state to resume from is written."""
    samples: int = 3
    """Number of validation windows that are sampled at a validation; 0 for none."""
    sample_steps: int = 50
    """Denoising steps of these samples (PNDM, as in the original code)."""
    vae: str | None = None
    """AutoencoderKL of the latents, a directory or a Hub id, which decodes samples and becomes part
    of the world. Without it samples show three channels of the latents, and a model of latents is
    written only as a checkpoint, which `irasim import` can turn into a world."""

    def __post_init__(self) -> None:
        self.data_config("train")
        if self.learn_sigma and self.on_unet:
            raise ValueError(f"learn_sigma is for the transformers, model is {self.model}")
        if self.pixels and self.model == "lvdm":
            raise ValueError("lvdm denoises latents: for pixels choose --model vdm")
        if self.final_frame_ada and self.model != "frame_ada":
            raise ValueError(f"final_frame_ada is for model frame_ada, model is {self.model}")
        check_least(self, batch=1, local_batch=1, log_every=1, validate_every=1, checkpoint_every=1)
        check_least(self, max_steps=0, samples=0, workers=0)
        seconds(self.save_every)

    def without_effect(self) -> dict[str, tuple[str, ...]]:
        """Fields that change nothing here, by what they are for."""
        if self.on_unet:
            others = "for the transformers", ("size", "patch", "depth", "width")
        else:
            others = "for the U-Nets, lvdm and vdm", ("unet_dim", "unet_mults")
        purpose, names = others
        return {f"{purpose}, and the model is {self.model}": names}

    @property
    def on_unet(self) -> bool:
        """Whether the model is one of the baselines."""
        return self.model in ("lvdm", "vdm")

    @property
    def source(self) -> Literal["video", "latents"]:
        """What the model is trained on."""
        return "video" if self.pixels or self.model == "vdm" else "latents"

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
