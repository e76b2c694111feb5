"""World models: action-conditioned video diffusion, stepped one action at a time.

Names load their modules when first used, so that `world_model.video` alone needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from world_model.chunk_config import ChunkConfig, ChunkSamplerConfig
    from world_model.chunk_diffusion import noise_prediction_loss
    from world_model.chunk_sampling import sample_chunk, sample_chunks, sample_video
    from world_model.chunk_world import ChunkWorld
    from world_model.config import StreamingConfig, WorldConfig
    from world_model.irasim import IRASim, IRASimConfig, irasim_config
    from world_model.reference_checkpoint import (
        load_reference_checkpoint,
        save_reference_checkpoint,
    )
    from world_model.starts import Start, Starts
    from world_model.state import ChunkOutput, RolloutOutput, StepOutput, WorldState
    from world_model.streaming_state import StreamingState
    from world_model.streaming_world import StreamingWorld
    from world_model.unet3d import UNet3D, UNet3DConfig, lvdm_config, vdm_config
    from world_model.world import WorldModel

__all__ = [
    "ChunkConfig",
    "ChunkOutput",
    "ChunkSamplerConfig",
    "ChunkWorld",
    "IRASim",
    "IRASimConfig",
    "RolloutOutput",
    "Start",
    "Starts",
    "StepOutput",
    "StreamingConfig",
    "StreamingState",
    "StreamingWorld",
    "UNet3D",
    "UNet3DConfig",
    "WorldConfig",
    "WorldModel",
    "WorldState",
    "irasim_config",
    "load_reference_checkpoint",
    "lvdm_config",
    "noise_prediction_loss",
    "sample_chunk",
    "sample_chunks",
    "sample_video",
    "save_reference_checkpoint",
    "vdm_config",
]

_HOMES = {
    "chunk_config": ["ChunkConfig", "ChunkSamplerConfig"],
    "chunk_diffusion": ["noise_prediction_loss"],
    "chunk_sampling": ["sample_chunk", "sample_chunks", "sample_video"],
    "chunk_world": ["ChunkWorld"],
    "config": ["StreamingConfig", "WorldConfig"],
    "irasim": ["IRASim", "IRASimConfig", "irasim_config"],
    "reference_checkpoint": ["load_reference_checkpoint", "save_reference_checkpoint"],
    "starts": ["Start", "Starts"],
    "state": ["ChunkOutput", "RolloutOutput", "StepOutput", "WorldState"],
    "streaming_state": ["StreamingState"],
    "streaming_world": ["StreamingWorld"],
    "unet3d": ["UNet3D", "UNet3DConfig", "lvdm_config", "vdm_config"],
    "world": ["WorldModel"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'world_model' has no attribute {name!r}")
    return getattr(import_module(f"world_model.{_HOME[name]}"), name)
