"""The codec's phase: trains a diffusers autoencoder on the frames of a dataset."""

import dataclasses
import time
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from training.data.clips import ClipStore
from training.run.config import seconds
from training.run.directory import CODEC, CODEC_STATE
from training.run.loop import resume, train_until, trained_once
from training.run.resumable import ResumableTrainer
from training.streaming.config import TrainConfig
from world_model.codec import AutoencoderCodec, Codec, make_codec
from world_model.config import CodecConfig
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index

BATCH = 32
RATE = 1e-3
CODEC_STREAM = 9


def prepare_codec(
    config: TrainConfig, store: ClipStore, accelerator: Accelerator
) -> tuple[CodecConfig, Codec]:
    """The run's codec: pixels need no training, others are trained once and kept beside the run."""
    if config.codec == "pixels":
        return CodecConfig(), make_codec(CodecConfig())
    codec_config = autoencoder_config(config)

    def train() -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            codec = make_codec(codec_config)
        assert isinstance(codec, AutoencoderCodec)
        scale = train_codec(codec.to(accelerator.device), store, config, accelerator)
        return codec.state_dict() | {"scaling_factor": torch.tensor(scale)}

    state = config.out / CodecTrainer.state_name
    weights = trained_once(config.out / CODEC, state, accelerator, train)
    scale = float(weights.pop("scaling_factor"))
    scaled = dataclasses.replace(codec_config, scaling_factor=scale)
    codec = make_codec(scaled)
    codec.load_state_dict(weights)
    return scaled, codec.to(accelerator.device).requires_grad_(False)


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


def train_codec(
    codec: AutoencoderCodec, store: ClipStore, config: TrainConfig, accelerator: Accelerator
) -> float:
    """Train in place on single frames; the factor that gives its latents unit deviation."""
    trainer = CodecTrainer(codec, store, config, accelerator)
    resume(trainer, config.out)
    train_until(1.0, trainer, config, name="codec", shown=("codec/loss",))
    with torch.no_grad():
        return float(1 / codec.encode(_frames(store, config.seed, trainer.progress.step)).std())


class CodecTrainer(ResumableTrainer):
    """Trains an autoencoder on single frames from a store."""

    state_name = CODEC_STATE

    def __init__(
        self,
        codec: AutoencoderCodec,
        store: ClipStore,
        config: TrainConfig,
        accelerator: Accelerator,
    ):
        super().__init__(codec, accelerator, rate=RATE, betas=(0.9, 0.999), alone=True)
        self.codec, self.store, self.config = codec, store, config

    def fraction(self) -> float:
        """See `ResumableTrainer.share_done`; `max_steps` are the denoiser's."""
        share, max_steps = self.config.codec_share, self.config.max_steps
        num_steps = None if max_steps is None else max(1, int(share * max_steps))
        return self.share_done(num_steps, share * seconds(self.config.budget))

    def train_step(self) -> dict[str, float]:
        """One optimizer step; its loss."""
        begin, step = time.perf_counter(), self.progress.step
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * max(0.02, 1 - self.fraction())
        pixels = _frames(self.store, self.config.seed, step)
        decoded = self.codec.decode(self.codec.encode(pixels))
        loss = F.mse_loss(decoded, pixels) + 0.1 * F.l1_loss(decoded, pixels)
        self.accelerator.backward(loss)
        self.apply_gradients()
        return self.count_step(begin, BATCH, {"codec/loss": loss.item()})


def _frames(store: ClipStore, seed: int, step: int) -> torch.Tensor:
    """A batch of frames, keyed by the step: float (B, 3, H, W) in [-1, 1]."""
    samples = torch.arange(step * BATCH, (step + 1) * BATCH, device=store.frames.device)
    seeds = torch.full_like(samples, seed)
    pick = counted_index(seeds, samples, len(store.frames), stream=CODEC_STREAM)
    return frames_to_pixels(store.frames[pick])
