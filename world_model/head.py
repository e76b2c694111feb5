"""The head of a streaming world: numbers read off what the denoiser has already computed.

Dimensions: N tokens.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from world_model.config import StreamingConfig


class Head(nn.Module):
    """Reads reward, the end, and low-dimensional observations off a clean frame's tokens."""

    def __init__(self, config: StreamingConfig):
        super().__init__()
        shape = config.denoiser
        num_tokens = config.grid[0] * config.grid[1]
        self.sizes = {name: len(bounds.low) for name, bounds in config.observations.items()}
        num_outputs = 2 * config.reward_head + sum(self.sizes.values())
        self.has_reward = config.reward_head
        self.norm = nn.LayerNorm(shape.width)
        self.squeeze = nn.Linear(shape.width, 32)
        self.hidden = nn.Linear(32 * num_tokens, shape.head_width)
        self.out = nn.Linear(shape.head_width, num_outputs)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens (..., N, width) -> `reward` (...), `end` logit (...), and each observation by
        its name (..., n), scaled so that its bounds are -1 and 1."""
        flat = F.gelu(self.squeeze(self.norm(tokens))).flatten(-2)
        outputs = self.out(F.gelu(self.hidden(flat)))
        result: dict[str, Tensor] = {}
        if self.has_reward:
            result["reward"], result["end"], outputs = (
                outputs[..., 0],
                outputs[..., 1],
                outputs[..., 2:],
            )
        parts = outputs.split(list(self.sizes.values()), dim=-1) if self.sizes else ()
        return result | dict(zip(self.sizes, parts, strict=True))
