"""AutoencoderKL as published: loaded from where it lies, frames to scaled latents.

Dimension key: T frames, H W, C latent channels (4 for the SDXL VAE).
"""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from world_model.frames import frames_to_pixels
from world_model.io.hub import fetch


def load_autoencoder(name: str) -> AutoencoderKL:
    """An AutoencoderKL from its own directory, from a pipeline's, or from the Hub.

    Raises:
        ValueError: The directory holds none, the name is neither a directory nor a Hub id, or the
            Hub does not give it, or its files are damaged.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        files = ("config.json", "diffusion_pytorch_model.safetensors")
        files += tuple(f"vae/{file}" for file in files)
        folder = fetch(name, "autoencoder", files=files)
    nested = folder / "vae"
    if (nested / "config.json").is_file():
        folder = nested
    elif not (folder / "config.json").is_file():
        raise ValueError(f"{name}: holds no AutoencoderKL (config.json, or vae/config.json)")
    try:
        loaded: Any = AutoencoderKL.from_pretrained(folder, output_loading_info=True)
    except Exception as error:  # diffusers fails in any way on a config of another form
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{folder}: is no whole AutoencoderKL ({reason}); fetch it again"
        ) from error
    vae, found = loaded
    absent = [str(name) for kind in ("missing_keys", "mismatched_keys") for name in found[kind]]
    if absent:
        raise ValueError(
            f"{folder}: is no whole AutoencoderKL ({len(absent)} of its weights are missing or of "
            f"another shape, such as {absent[0]}); fetch it again"
        )
    factor = vae.config.get("scaling_factor")
    if type(factor) not in (int, float) or not 0 < factor < math.inf:
        raise ValueError(
            f"{folder}: scaling_factor is {str(factor)[:40]!r} in its config.json, expected a "
            "number above 0; fetch it again"
        )
    return vae.requires_grad_(False).eval()


def encode_frames(
    vae: AutoencoderKL,
    frames: Tensor,
    batch: int = 16,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Frames uint8 (T, H, W, 3) to latents float32 (T, C, H / 8, W / 8), on the CPU.

    Args:
        vae: On any device, in any precision.
        frames: On any device.
        batch: Frames at a time.
        generator: On the CPU; draws a sample of each frame's Gaussian. Without it: its mean.
    """
    parts = []
    for some in frames.split(batch):
        with torch.no_grad():
            pixels = frames_to_pixels(some.to(vae.device)).to(vae.dtype)  # (b, 3, H, W)
            gaussian = vae.encode(pixels).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        latents = gaussian.mean.float().cpu()
        if generator is not None:
            noise = torch.randn(latents.shape, generator=generator)
            latents = latents + gaussian.std.float().cpu() * noise
        parts.append(latents * vae.config["scaling_factor"])
    return torch.cat(parts)
