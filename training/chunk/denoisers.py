"""The denoiser that a training run's config asks for."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from training.chunk.batches import to_latents
from training.chunk.config import VAE_SCALE, ChunkTrainConfig
from training.data.irasim.windows import Window
from world_model import (
    IRASim,
    IRASimConfig,
    UNet3D,
    irasim_config,
    load_reference_checkpoint,
    lvdm_config,
    vdm_config,
)
from world_model.chunk.irasim import Block
from world_model.chunk.unet3d import Level


def make_denoiser(config: ChunkTrainConfig, window: Window) -> IRASim | UNet3D:
    """The config's model, its weights drawn from the seed.

    Args:
        config: Says which model.
        window: One of the windows that it will be trained on.

    Raises:
        ValueError: The window is of another size than the config says, or sizes do not fit.
    """
    fields: dict[str, Any] = {
        "action_dim": window.actions.shape[1],
        "num_frames": config.num_frames,
        "condition_dropout": config.condition_dropout,
    }
    if config.source == "latents":
        _check_latents(config, window)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.on_unet:
            published = vdm_config if config.model == "vdm" else lvdm_config
            unet = published(dim_mults=config.unet_mults, **fields)
            dim, heads = config.unet_dim or unet.dim, config.num_heads or unet.num_heads
            return UNet3D(dataclasses.replace(unet, dim=dim, num_heads=heads))
        return IRASim(_irasim_config(config, window, fields))


def load_weights(denoiser: IRASim | UNet3D, path: Path) -> None:
    """Fill a denoiser with the averaged weights of a checkpoint in the reference's form.

    Raises:
        ValueError: It is of a model of another shape, which the message names.
    """
    # A transformer's weights do not show its number of heads.
    heads = denoiser.config.num_heads if isinstance(denoiser, IRASim) else None
    found = load_reference_checkpoint(path, heads)
    trained = {"condition_dropout": 0.0}  # said by the run, not by the weights
    mine, theirs = (dataclasses.replace(x.config, **trained) for x in (denoiser, found))
    if mine != theirs:
        unlike = ", ".join(
            f"{field.name} {getattr(theirs, field.name, None)}, here {getattr(mine, field.name)}"
            for field in dataclasses.fields(mine)
            if getattr(theirs, field.name, None) != getattr(mine, field.name)
        )
        raise ValueError(
            f"{path} holds a model of another shape ({type(found).__name__}: {unlike or 'other'}); "
            "give the options of its own training, or another checkpoint"
        )
    denoiser.load_state_dict(found.state_dict())


def checkpoint_activations(denoiser: IRASim | UNet3D) -> None:
    """Have the backward pass compute each block's activations again, instead of keeping them."""
    for module in denoiser.modules():
        if isinstance(module, Block | Level):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)


def _irasim_config(
    config: ChunkTrainConfig, window: Window, fields: dict[str, Any]
) -> IRASimConfig:
    _, channels, height, width = to_latents(window.content).shape
    published = irasim_config(
        config.size,
        config.patch,
        latent_size=(height, width),
        in_channels=channels,
        action_embedding="mlp" if config.kind == "arm" else "linear",
        conditioning="frame" if config.model == "frame_ada" else "video",
        final_frame_ada=config.final_frame_ada,
        learn_sigma=config.learn_sigma,
        **fields,
    )
    return dataclasses.replace(
        published,
        depth=config.depth or published.depth,
        hidden_size=config.width or published.hidden_size,
        num_heads=config.num_heads or published.num_heads,
    )


def _check_latents(config: ChunkTrainConfig, window: Window) -> None:
    if config.frame_size is None:
        return
    expected = tuple(side // VAE_SCALE for side in config.frame_size)
    found = tuple(window.content.shape[-2:])
    if found != expected:
        height, width = config.frame_size
        raise ValueError(
            f"the latents of {config.data} are {found[0]} x {found[1]}, expected {expected[0]} x "
            f"{expected[1]}, those of frames {height} x {width}: encode the videos at that size, "
            "or give --frame-size the one that they have"
        )
