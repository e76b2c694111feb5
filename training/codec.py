"""The codec's phase: trains a diffusers autoencoder on the frames of a dataset."""

import time
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from training.clips import ClipStore
from training.presets import TrainConfig, seconds
from training.run_directory import CODEC
from world_model.codec import AutoencoderCodec, Codec, make_codec
from world_model.config import CodecConfig
from world_model.frames import frames_to_pixels
from world_model.noise import counted_index

BATCH = 32
CODEC_STREAM = 9


def prepare_codec(
    config: TrainConfig, store: ClipStore, accelerator: Accelerator
) -> tuple[CodecConfig, Codec]:
    """The run's codec: pixels need no training, others are trained once and kept beside the run."""
    if config.codec == "pixels":
        return CodecConfig(), make_codec(CodecConfig())
    codec_config = autoencoder_config(config)
    path = config.out / CODEC
    if accelerator.is_main_process and not path.exists():
        codec = make_codec(codec_config)
        assert isinstance(codec, AutoencoderCodec)
        scale = train_codec(codec.to(accelerator.device), store, config)
        weights = {k: v.contiguous().cpu() for k, v in codec.state_dict().items()}
        temporary = path.with_suffix(".part")
        save_file(weights | {"scaling_factor": torch.tensor(scale)}, temporary)
        temporary.replace(path)
    accelerator.wait_for_everyone()
    weights = load_file(path)
    scale = float(weights.pop("scaling_factor"))
    codec_config = CodecConfig(
        kind=codec_config.kind,
        settings=codec_config.settings,
        latent_channels=codec_config.latent_channels,
        downscale=codec_config.downscale,
        scaling_factor=scale,
    )
    codec = make_codec(codec_config)
    codec.load_state_dict(weights)
    return codec_config, codec.to(accelerator.device).requires_grad_(False)


def autoencoder_config(config: TrainConfig) -> CodecConfig:
    """An autoencoder of three levels: eight pixels to a latent cell, four channels."""
    width = config.codec_width
    if config.codec == "autoencoder_tiny":
        settings: dict[str, Any] = {
            "encoder_block_out_channels": [width] * 4,
            "decoder_block_out_channels": [width] * 4,
            "num_encoder_blocks": [1, 2, 2, 2],
            "num_decoder_blocks": [2, 2, 2, 1],
            "latent_channels": 4,
        }
    else:
        settings = {
            "block_out_channels": [width, 2 * width, 4 * width, 4 * width],
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": min(32, width),
        }
    return CodecConfig(kind=config.codec, settings=settings, latent_channels=4, downscale=8)


def train_codec(codec: AutoencoderCodec, store: ClipStore, config: TrainConfig) -> float:
    """Train in place on single frames; the factor that gives its latents unit deviation."""
    optimizer = torch.optim.AdamW(codec.parameters(), lr=1e-3, weight_decay=0.0)
    budget = config.codec_share * seconds(config.budget)
    num_steps = (
        None if config.max_steps is None else max(1, int(config.codec_share * config.max_steps))
    )
    begin, step, fraction = time.monotonic(), 0, 0.0
    bar = tqdm(
        total=100, desc="codec", disable=None, bar_format="{l_bar}{bar}| {elapsed} {postfix}"
    )
    while fraction < 1:
        pixels = _frames(store, config.seed, step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 50) * max(0.02, 1 - fraction)
        decoded = codec.decode(codec.encode(pixels))
        loss = F.mse_loss(decoded, pixels) + 0.1 * F.l1_loss(decoded, pixels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        fraction = step / num_steps if num_steps else (time.monotonic() - begin) / budget
        bar.n = min(100.0, round(100 * fraction, 1))
        bar.set_postfix_str(f"loss {loss.item():.5f}")
    bar.close()
    with torch.no_grad():
        return float(1 / codec.encode(_frames(store, config.seed, step)).std())


def _frames(store: ClipStore, seed: int, step: int) -> torch.Tensor:
    """A batch of frames, keyed by the step: float (B, 3, H, W) in [-1, 1]."""
    samples = torch.arange(step * BATCH, (step + 1) * BATCH, device=store.frames.device)
    seeds = torch.full_like(samples, seed)
    pick = counted_index(seeds, samples, len(store.frames), stream=CODEC_STREAM)
    return frames_to_pixels(store.frames[pick])
