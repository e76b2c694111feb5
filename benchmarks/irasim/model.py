"""A chunk model to evaluate: its denoiser, and how its latents become frames.

B batch, T frames, C channels, h w latent size, H W frame size.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.irasim.config import EvaluationConfig, with_world_defaults
from training.data.irasim.autoencoder import load_autoencoder
from world_model import IRASim, UNet3D, UNet3DConfig, WorldModel, load_reference_checkpoint
from world_model.chunk.world import ChunkWorld
from world_model.codec import PixelCodec
from world_model.frames import frames_to_pixels, pixels_to_frames

PIXEL_CHANNELS = 3


class Codec(Protocol):
    """Pixels in [-1, 1] (B, 3, H, W) to latents and back."""

    def encode(self, pixels: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class ChunkModel:
    """What is evaluated."""

    denoiser: IRASim | UNet3D
    codec: Codec | None
    """None where there is no autoencoder."""
    device: torch.device
    batch: int
    """Frames that the codec takes at a time."""

    @property
    def num_frames(self) -> int:
        """Frames of a chunk, the given one included."""
        return self.denoiser.config.num_frames

    @property
    def on_pixels(self) -> bool:
        """Whether the denoiser sees pixels (VDM), not latents."""
        config = self.denoiser.config
        return isinstance(config, UNet3DConfig) and config.channels == PIXEL_CHANNELS

    @torch.inference_mode()
    def frames(self, predicted: Tensor) -> Tensor:
        """What the denoiser predicts, float (T, C, h, w), as frames uint8 (T, H, W, 3), CPU."""
        if self.on_pixels:
            return pixels_to_frames(predicted).cpu()
        assert self.codec is not None, "no autoencoder to decode with"
        parts = [self.codec.decode(part.to(self.device)) for part in predicted.split(self.batch)]
        return torch.cat([pixels_to_frames(part).cpu() for part in parts])

    @torch.inference_mode()
    def latents(self, frames: Tensor) -> Tensor:
        """Frames uint8 (T, H, W, 3) as latents float32 (T, C, h, w), CPU: the encoder's mean."""
        assert self.codec is not None, "no autoencoder to encode with"
        pixels = [frames_to_pixels(part.to(self.device)) for part in frames.split(self.batch)]
        return torch.cat([self.codec.encode(part).float().cpu() for part in pixels])

    def describe(self) -> dict[str, Any]:
        """What a report says about the model."""
        return {
            "kind": type(self.denoiser).__name__,
            "conditioning": getattr(self.denoiser.config, "conditioning", "video"),
            "parameters": sum(parameter.numel() for parameter in self.denoiser.parameters()),
            "chunk_frames": self.num_frames,
        }


class _Autoencoder:
    """diffusers' AutoencoderKL, its latents times its scaling factor."""

    def __init__(self, vae: Any, device: torch.device):
        self.vae, self.scale = vae.to(device), vae.config.scaling_factor

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels).latent_dist.mode() * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents / self.scale).sample


def load_model(
    config: EvaluationConfig, device: torch.device
) -> tuple[ChunkModel, EvaluationConfig]:
    """The model, and the config with what a chunk world knows filled in.

    Raises:
        ValueError: It is neither a checkpoint nor a chunk world, or its files are not usable.
    """
    codec: Any = None
    if config.model.endswith(".pt"):
        try:
            denoiser = load_reference_checkpoint(config.model, config.num_heads)
        except FileNotFoundError as error:
            raise ValueError(f"--model: {error}") from error
    else:
        world = WorldModel.from_pretrained(config.model)
        if not isinstance(world, ChunkWorld):
            raise ValueError(
                f"{config.model} is a {type(world).__name__}, these protocols are for chunk worlds "
                "and checkpoints (.pt); `irasim bench quality` measures it"
            )
        denoiser = world.denoiser
        codec = None if isinstance(world.codec, PixelCodec) else world.codec.to(device)
        size = (world.config.height, world.config.width)
        config = with_world_defaults(config, size, world.config.action_scale)
    if config.vae is not None:
        codec = _Autoencoder(load_autoencoder(config.vae), device)
    denoiser = denoiser.to(device).eval().requires_grad_(False)
    return ChunkModel(denoiser, codec, device, config.vae_batch), config
