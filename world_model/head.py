"""The head of a streaming world: numbers read off what the denoiser has already computed.

Dimensions: N tokens.
"""

import torch
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
        self.num_rewards = 2 * config.reward_head
        self.num_corrections = config.state_dim * shape.sees_states
        self.norm = nn.LayerNorm(shape.width)
        self.squeeze = nn.Linear(shape.width, 32)
        self.hidden = nn.Linear(32 * num_tokens, shape.head_width)
        num_outputs = self.num_rewards + config.state_dim + self.num_corrections
        self.out = nn.Linear(shape.head_width, num_outputs)
        # Of each number of the states: where to look, what that place says, and what is seen there.
        self.look = nn.Parameter(torch.randn(config.state_dim, shape.width) * shape.width**-0.5)
        self.place = nn.Parameter(torch.zeros(num_tokens, config.state_dim))
        self.seen = nn.Parameter(torch.zeros(config.state_dim, shape.width))

    def forward(self, tokens: Tensor, guess: Tensor, acted: Tensor) -> dict[str, Tensor]:
        """Read a frame.

        Args:
            tokens: (..., N, width).
            guess: States (..., S) guessed from the control (conditioning.py), which are corrected
                here; (..., 0) for a world that does not see states.
            acted: bool (...); where False, states are read off the frame alone.

        Returns:
            `reward` (...), `end` logit (...), and each observation by its name (..., n), scaled so
            that its bounds are -1 and 1.
        """
        tokens = self.norm(tokens)
        flat = F.gelu(self.squeeze(tokens)).flatten(-2)
        outputs = self.out(F.gelu(self.hidden(flat)))
        sizes = (self.num_rewards, sum(self.sizes.values()), self.num_corrections)
        rewards, states, corrections = outputs.split(sizes, dim=-1)
        weights = F.linear(tokens, self.look).softmax(dim=-2)  # (..., N, S)
        states = states + (weights * (self.place + F.linear(tokens, self.seen))).sum(dim=-2)
        if self.num_corrections:
            states = torch.where(acted[..., None], guess.detach() + corrections, states)
        result: dict[str, Tensor] = {}
        if self.num_rewards:
            result["reward"], result["end"] = rewards.unbind(-1)
        parts = states.split(list(self.sizes.values()), dim=-1) if self.sizes else ()
        return result | dict(zip(self.sizes, parts, strict=True))

    def state(self, read: dict[str, Tensor]) -> Tensor:
        """All low-dimensional observations in what `forward` gave: (..., S), within [-1, 1]."""
        return torch.cat([read[name].clamp(-1, 1) for name in self.sizes], dim=-1)
