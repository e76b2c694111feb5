"""Frames to latents and back."""

from typing import Any

import torch
from torch import Tensor, nn

from world_model.config import CodecConfig


class PixelCodec(nn.Module):
    """No network: the latents are the pixels, float in [-1, 1]."""

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return pixels

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return latents

    def settle(self, latents: Tensor) -> Tensor:
        """Bring predicted latents into the range that real ones have."""
        return latents.clamp(-1.0, 1.0)


class AutoencoderCodec(nn.Module):
    """A diffusers autoencoder, its latents scaled as the world's config says."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

        kinds = {"autoencoder_kl": AutoencoderKL, "autoencoder_tiny": AutoencoderTiny}
        self.scaling_factor = config.scaling_factor
        try:
            self.autoencoder: Any = kinds[config.kind](**config.settings)
        except Exception as error:  # diffusers asks for no form of them, and fails in any way
            raise ValueError(
                f"codec settings describe no {kinds[config.kind].__name__} "
                f"({str(error).partition(chr(10))[0]}): expected the arguments that diffusers takes"
            ) from error

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w); the mean where the encoder gives a Gaussian."""
        encoded = self.autoencoder.encode(pixels)
        if hasattr(encoded, "latent_dist"):
            return encoded.latent_dist.mode() * self.scaling_factor
        return encoded.latents * self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W) in about [-1, 1]."""
        return self.autoencoder.decode(latents / self.scaling_factor).sample

    def settle(self, latents: Tensor) -> Tensor:
        """Learned latents have no hard range: nothing to do."""
        return latents


Codec = PixelCodec | AutoencoderCodec


def make_codec(config: CodecConfig) -> Codec:
    """The codec that a world's config names, with fresh weights if it has any."""
    return PixelCodec() if config.kind == "pixels" else AutoencoderCodec(config)


@torch.no_grad()
def encode_clip(codec: Codec, pixels: Tensor) -> Tensor:
    """Pixels (B, T, 3, H, W) in [-1, 1] -> latents (B, T, C, h, w)."""
    return codec.encode(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
