"""What the future of a streaming world's environments depends on.

Dimensions: B environments, C channels, h w latent cells.
"""

from dataclasses import dataclass

from torch import Tensor

from world_model.state import WorldState
from world_model.streaming.conditioning import Memory
from world_model.streaming.kv_ring import Ring


@dataclass(eq=False)
class StreamingState(WorldState):
    """A state with the keys and values of its past frames.

    Where steps are captured graphs, the tensors of a state that is stepped are the graph's buffers.
    Copy it with `clone` or `select`: a shallow copy (`dataclasses.replace`, `copy.copy`) shares the
    buffers, and is lost when another state moves in, which only the stepped one is saved from.
    """

    ring: Ring
    before: Tensor
    """What the newest frame is drawn over, (B, C, h, w): its proxy in a world that has one. Else
    the frame before it; an episode's first has itself."""
    memory: Memory
    """What the conditioner carries from step to step, tensors (B, ...)."""

    def move_(self, latents: Tensor, before: Tensor, memory: Memory) -> None:
        """Make a frame (B, C, h, w) that was drawn over `before` the newest, in place."""
        self.before.copy_(before)
        self.latents.copy_(latents)
        for name, tensor in self.memory.items():
            tensor.copy_(memory[name])
        self.steps.add_(1)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that a step reads and overwrites, by name."""
        ring = {name: getattr(self.ring, name) for name in ("keys", "values", "index", "filled")}
        mine = {name: getattr(self, name) for name in ("latents", "seeds", "steps", "before")}
        return ring | mine | {f"memory.{name}": tensor for name, tensor in self.memory.items()}

    def share(self, other: "StreamingState") -> None:
        """Have the tensors of `other`, but for what is shown."""
        for name in ("ring", "latents", "seeds", "steps", "before", "memory"):
            setattr(self, name, getattr(other, name))
