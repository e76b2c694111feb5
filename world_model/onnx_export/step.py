"""One step of one environment as a function of tensors, which is what a graph can hold.

Dimensions: A action, S components of all states, H W pixels.
"""

from typing import Any

import torch
from torch import Tensor, nn

from world_model.world import WorldModel

ACTION = "action"
BEFORE, AFTER = "state.", "next."
"""What the names of a state's tensors begin with where they go in, and where they come out."""


class Step(nn.Module):
    """`predict` of a world, with the state as arguments and results.

    The world's own method is what runs, on a copy of a state that the arguments are written into.
    """

    def __init__(self, world: WorldModel, start: int):
        """Of a world; shapes are those of a state at one of its starts."""
        super().__init__()
        self.world: Any = world  # of an engine that has `predict`
        self.template: Any = world.begin([start], [0])
        with torch.no_grad():
            shown = self.world.predict(self.template.clone(), self.action()[None], frames=True)
        self.shown = [name for name in ("frame", "reward", "terminated", "states") if name in shown]

    def action(self) -> Tensor:
        """An action, (A,): the middle of the bounds."""
        config = self.world.config
        low, high = (
            self.template.latents.new_tensor(x) for x in (config.action_low, config.action_high)
        )
        return (low + high) / 2

    def arguments(self, state: Any) -> tuple[Tensor, ...]:
        """A state's tensors, in the order of `forward`'s."""
        return tuple(state.tensors.values())

    @property
    def inputs(self) -> list[str]:
        """Names of `forward`'s arguments."""
        return [ACTION, *(BEFORE + name for name in self.template.tensors)]

    @property
    def outputs(self) -> list[str]:
        """Names of `forward`'s results."""
        return [*self.shown, *(AFTER + name for name in self.template.tensors)]

    def forward(self, action: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """A step.

        Args:
            action: (A,), in the environment's own units.
            tensors: The state's, with a batch of one.

        Returns:
            What is shown, without the batch: `frame` uint8 (H, W, 3), `reward` float32 (),
            `terminated` bool () and, where the world predicts states, `states` (S,). Then the
            state's tensors a step later.
        """
        state = self.template.clone()
        for mine, given in zip(state.tensors.values(), tensors, strict=True):
            mine.copy_(given)
        shown = self.world.predict(state, action[None], frames=True)
        return (*(shown[name][0] for name in self.shown), *state.tensors.values())
