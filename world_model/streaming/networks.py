"""The networks that draw the frames of a streaming world."""

from world_model.streaming.config import StreamingConfig
from world_model.streaming.denoiser import StreamingDenoiser
from world_model.streaming.unet import UNetDenoiser

Network = StreamingDenoiser | UNetDenoiser


def make_network(config: StreamingConfig) -> Network:
    """The one that a world's config asks for, with random weights."""
    kind = UNetDenoiser if config.denoiser.network == "unet" else StreamingDenoiser
    return kind(config)
