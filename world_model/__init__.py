"""World models: action-conditioned video diffusion, stepped one action at a time.

Names load their modules when first used, so that `world_model.video` alone needs no torch.
"""

from typing import TYPE_CHECKING

from world_model.lazy_names import lazy_names

if TYPE_CHECKING:
    from world_model.anchored.config import AnchoredConfig
    from world_model.anchored.state import AnchoredState
    from world_model.anchored.world import AnchoredWorld
    from world_model.chunk.config import ChunkConfig, ChunkSamplerConfig
    from world_model.chunk.diffusion import noise_prediction_loss
    from world_model.chunk.irasim import IRASim, IRASimConfig, irasim_config
    from world_model.chunk.reference.checkpoint import (
        load_reference_checkpoint,
        save_reference_checkpoint,
    )
    from world_model.chunk.sampling import sample_chunk, sample_chunks, sample_video
    from world_model.chunk.unet3d import UNet3D, UNet3DConfig, lvdm_config, vdm_config
    from world_model.chunk.world import ChunkWorld
    from world_model.config import WorldConfig
    from world_model.io.starts import Start, Starts
    from world_model.state import ChunkOutput, RolloutOutput, StepOutput, WorldState
    from world_model.streaming.config import StreamingConfig
    from world_model.streaming.state import StreamingState
    from world_model.streaming.states.config import StatesConfig
    from world_model.streaming.world import StreamingWorld
    from world_model.world import WorldModel

__all__ = [
    "AnchoredConfig",
    "AnchoredState",
    "AnchoredWorld",
    "ChunkConfig",
    "ChunkOutput",
    "ChunkSamplerConfig",
    "ChunkWorld",
    "IRASim",
    "IRASimConfig",
    "RolloutOutput",
    "Start",
    "Starts",
    "StatesConfig",
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

__getattr__ = lazy_names(
    __name__,
    {
        "anchored.config": ["AnchoredConfig"],
        "anchored.state": ["AnchoredState"],
        "anchored.world": ["AnchoredWorld"],
        "chunk.config": ["ChunkConfig", "ChunkSamplerConfig"],
        "chunk.diffusion": ["noise_prediction_loss"],
        "chunk.irasim": ["IRASim", "IRASimConfig", "irasim_config"],
        "chunk.reference.checkpoint": ["load_reference_checkpoint", "save_reference_checkpoint"],
        "chunk.sampling": ["sample_chunk", "sample_chunks", "sample_video"],
        "chunk.unet3d": ["UNet3D", "UNet3DConfig", "lvdm_config", "vdm_config"],
        "chunk.world": ["ChunkWorld"],
        "config": ["WorldConfig"],
        "io.starts": ["Start", "Starts"],
        "state": ["ChunkOutput", "RolloutOutput", "StepOutput", "WorldState"],
        "streaming.config": ["StreamingConfig"],
        "streaming.state": ["StreamingState"],
        "streaming.states.config": ["StatesConfig"],
        "streaming.world": ["StreamingWorld"],
        "world": ["WorldModel"],
    },
)
