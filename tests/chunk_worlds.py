"""Small chunk worlds with random weights, for tests."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from tests.world_model.chunk_denoisers import tiny_irasim, tiny_unet
from world_model import ChunkSamplerConfig, ChunkWorld, Start, Starts
from world_model.chunk.reference.convert import Actions, import_denoiser

TABLE = Actions(low=(-0.1, -0.1), high=(0.1, 0.1), scale=(20.0, 20.0), names=("x", "y"))
ARM = Actions(low=(-1.0,) * 7, high=(1.0,) * 7, scale=(20.0,) * 6 + (1.0,))
FAST = ChunkSamplerConfig(name="ddim", num_steps=3)


def tiny_vae(num_levels: int = 2, seed: int = 0) -> AutoencoderKL:
    """An autoencoder of random weights, 2 ** (num_levels - 1) pixels to a latent cell."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            block_out_channels=(8, 16, 16, 16)[:num_levels],
            down_block_types=("DownEncoderBlock2D",) * num_levels,
            up_block_types=("UpDecoderBlock2D",) * num_levels,
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.13025,
        )
    return vae.requires_grad_(False).eval()


def first_frames(world: ChunkWorld, count: int = 3) -> Starts:
    """Starts of one frame of noise each."""
    shape = (1, world.config.height, world.config.width, 3)
    rng = np.random.default_rng(0)
    no_actions = np.zeros((0, world.config.action_dim), np.float32)
    return Starts(
        [
            Start(
                frames=rng.integers(0, 256, shape, np.uint8), actions=no_actions, episode_id=f"{i}"
            )
            for i in range(count)
        ]
    )


def table_world(sampler: ChunkSamplerConfig = FAST, **options: Any) -> ChunkWorld:
    """A transformer on latents, 8 x 12 pixels, chunks of 3 actions of the plane."""
    denoiser = tiny_irasim(action_embedding="linear")
    world = import_denoiser(
        denoiser, name="table", actions=TABLE, fps=10, vae=tiny_vae(), sampler=sampler, **options
    )
    world.starts = first_frames(world)
    return world


def pixel_world(sampler: ChunkSamplerConfig = FAST) -> ChunkWorld:
    """A U-Net on pixels (VDM), 8 x 16, chunks of 3 actions of an arm."""
    world = import_denoiser(
        tiny_unet(channels=3), name="arm", actions=ARM, fps=3, size=(8, 16), sampler=sampler
    )
    world.starts = first_frames(world)
    return world


def with_sampler(world: ChunkWorld, sampler: ChunkSamplerConfig) -> ChunkWorld:
    """The same world, its frames drawn in another way."""
    config = dataclasses.replace(world.config, sampler=sampler)
    other = ChunkWorld(config, world.starts, world.denoiser)
    other.codec = world.codec
    return other.eval()


def save(world: ChunkWorld, directory: Path) -> Path:
    world.save_pretrained(directory)
    return directory
