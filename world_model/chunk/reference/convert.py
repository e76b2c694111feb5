"""Makes worlds of denoisers in the reference's form, and checkpoints of worlds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from world_model.chunk.config import ChunkConfig, ChunkSamplerConfig
from world_model.chunk.irasim import IRASim
from world_model.chunk.reference.checkpoint import save_reference_checkpoint
from world_model.chunk.unet3d import UNet3D
from world_model.chunk.world import ChunkWorld
from world_model.codec import AutoencoderCodec
from world_model.config import CodecConfig, KeysConfig
from world_model.world import WorldModel

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


@dataclass(frozen=True, kw_only=True)
class Actions:
    """What the actions of an imported world are, component by component."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    scale: tuple[float, ...]
    """The denoiser was trained on actions times this."""
    names: tuple[str, ...] = ()


def import_denoiser(
    denoiser: IRASim | UNet3D,
    *,
    name: str,
    actions: Actions,
    fps: float,
    vae: "AutoencoderKL | None" = None,
    size: Sequence[int] | None = None,
    sampler: ChunkSamplerConfig | None = None,
    keys: KeysConfig | None = None,
) -> ChunkWorld:
    """A world around a denoiser, as `load_reference_checkpoint` gives it.

    Args:
        denoiser: The denoiser; the world takes it over.
        name: Name of the world.
        actions: What its actions are.
        fps: Frames a second.
        vae: The autoencoder whose latents it was trained on; None where it was trained on pixels.
        size: Height and width of frames in pixels, which a U-Net's weights do not show.
        sampler: Default the reference's: PNDM in 50 steps.
        keys: How a keyboard drives it.

    Raises:
        ValueError: Size, channels or action components of the parts do not fit together.
    """
    codec = CodecConfig() if vae is None else codec_config(vae)
    is_transformer = isinstance(denoiser, IRASim)
    if is_transformer:
        rows, columns = denoiser.config.latent_size
        own = (rows * codec.downscale, columns * codec.downscale)
        if size is not None and tuple(size) != own:
            raise ValueError(
                f"frames of {size[0]} x {size[1]} were asked for, the weights are for "
                f"{own[0]} x {own[1]}; leave the size out"
            )
        size = own
    if size is None:
        raise ValueError(
            "the size of frames does not follow from a U-Net's weights; give height and width"
        )
    config = ChunkConfig(
        name=name,
        height=size[0],
        width=size[1],
        fps=fps,
        action_low=actions.low,
        action_high=actions.high,
        action_names=actions.names,
        action_scale=actions.scale,
        codec=codec,
        irasim=denoiser.config if is_transformer else None,
        unet3d=None if is_transformer else denoiser.config,
        sampler=sampler or ChunkSamplerConfig(),
        keys=keys or KeysConfig(),
    )
    world = ChunkWorld(config, denoiser=denoiser)
    if vae is not None:
        assert isinstance(world.codec, AutoencoderCodec)
        world.codec.autoencoder = vae.float()
    return world.eval()


def codec_config(vae: "AutoencoderKL") -> CodecConfig:
    """The codec that a diffusers autoencoder is."""
    settings = {key: value for key, value in vae.config.items() if not key.startswith("_")}
    return CodecConfig(
        kind="autoencoder_kl",
        settings=json.loads(json.dumps(settings)),  # as they will be read again
        latent_channels=vae.config["latent_channels"],
        downscale=2 ** (len(vae.config["block_out_channels"]) - 1),
        scaling_factor=vae.config["scaling_factor"],
    )


def export_world(world: WorldModel, path: Path) -> None:
    """Save a chunk world's denoiser so that the reference runs it; see
    `save_reference_checkpoint`.

    Raises:
        ValueError: The world is of another engine, which the reference does not have.
    """
    if not isinstance(world, ChunkWorld):
        raise ValueError(
            f"world {world.config.name!r} has the streaming engine, which the reference does not "
            "know; chunk worlds can be exported"
        )
    save_reference_checkpoint(world.denoiser, path)
