"""World models: action-conditioned video diffusion, stepped one action at a time."""

from world_model.config import WorldConfig
from world_model.starts import Start, Starts
from world_model.world import RolloutOutput, StepOutput, WorldModel, WorldState

__all__ = [
    "RolloutOutput",
    "Start",
    "Starts",
    "StepOutput",
    "WorldConfig",
    "WorldModel",
    "WorldState",
]
