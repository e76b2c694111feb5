"""The learned world as a planner's model.

Dimensions: B environments, K candidates, H horizon, A action.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from world_model import (
    RolloutOutput,
    StreamingState,
    StreamingWorld,
    WorldConfig,
    WorldModel,
    WorldState,
)
from world_model.config_fields import check_least

Imagine = Literal["frames", "states"]


@dataclass(frozen=True, kw_only=True)
class LearnedRollout:
    """Tries candidates in a learned world, in latents or in states alone: nothing is decoded.

    Candidates of one environment share its noise, so they differ by their actions alone, and
    splitting them into parts changes nothing but the memory that they take.

    Attributes:
        world: the world.
        max_rows: most candidates, over all environments, that are rolled out at once.
        imagine: "frames" draws every step (`WorldModel.rollout`); "states" draws none
            (`StreamingWorld.rollout_states`), which takes a hundredth of the time.
    """

    world: WorldModel
    max_rows: int = 256
    imagine: Imagine = "frames"

    def __post_init__(self):
        check_least(self, max_rows=1)
        if not self.world.config.reward_head:
            raise ValueError(
                f"world {self.world.config.name!r} has no reward head, so nothing in it is better "
                "than anything else; plan in a world with one"
            )
        check_imagine(self.world, self.imagine)

    def __call__(self, state: WorldState, actions: Tensor) -> RolloutOutput:
        """Rewards and ends (B, K, H) of actions (B, K, H, A)."""
        part = max(self.max_rows // len(state), 1)
        parts = [
            imagined(self.world, self.imagine, state, some) for some in actions.split(part, dim=1)
        ]
        return RolloutOutput(
            reward=torch.cat([one.reward for one in parts], dim=1),
            terminated=torch.cat([one.terminated for one in parts], dim=1),
        )


def check_imagine(world: WorldModel, imagine: Imagine) -> None:
    """Raise ValueError unless a world can imagine so."""
    if imagine not in get_args(Imagine):
        raise ValueError(f"imagine is {imagine!r}, expected {' or '.join(get_args(Imagine))}")
    if imagine == "states" and not (isinstance(world, StreamingWorld) and world.rolls_out_states):
        raise ValueError(
            f"world {world.config.name!r} does not predict states and their reward; imagine frames"
        )


def imagined(
    world: WorldModel,
    imagine: Imagine,
    state: WorldState,
    actions: Tensor,
    *,
    return_frames: bool = False,
) -> RolloutOutput:
    """A world's rollout, or where states are imagined alone, what it predicts of them."""
    actions = settled(world.config, actions)
    if imagine == "states":
        assert isinstance(world, StreamingWorld)
        assert isinstance(state, StreamingState)
        return world.rollout_states(state, actions)
    return world.rollout(state, actions, return_frames=return_frames)


def settled(config: WorldConfig, actions: Any) -> Any:
    """Actions (..., A) that a planner tries, as the world knows them: discrete ones are the
    one-hot vectors that are nearest."""
    return actions if config.choices is None else config.choices.settled(actions)


def set_precision(world: WorldModel, precision: Literal["float32", "bf16"]) -> None:
    """Say in what precision a world predicts."""
    world.precision = precision
