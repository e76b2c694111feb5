"""The head of a streaming world: numbers read off what the denoiser has already computed.

Dimensions: N tokens.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import Readout
from world_model.streaming.config import StreamingConfig


class Head(nn.Module):
    """Reads reward, the end, and low-dimensional observations off a clean frame's tokens.

    In a world that predicts states it corrects what is known of them already (`zero` at first).
    """

    def __init__(self, config: StreamingConfig, tokens: tuple[int, int], *, zero: bool = False):
        """For `tokens`: how many there are, and of how many numbers each."""
        super().__init__()
        num_tokens, width = tokens
        self.num_rewards = 2 * config.reward_head
        num_states = sum(len(bounds.low) for bounds in config.observations.values())
        self.num_outputs = self.num_rewards + num_states
        if not self.num_outputs:
            return
        self.norm = nn.LayerNorm(width)
        self.squeeze = nn.Linear(width, 32)
        self.hidden = nn.Linear(32 * num_tokens, config.denoiser.head_width)
        self.out = nn.Linear(config.denoiser.head_width, self.num_outputs)
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor) -> Readout:
        """Read a frame off its tokens (..., N, width)."""
        if not self.num_outputs:
            nothing = tokens[..., 0, :0]
            return Readout(rewards=nothing, states=nothing)
        flat = F.gelu(self.squeeze(self.norm(tokens))).flatten(-2)
        outputs = self.out(F.gelu(self.hidden(flat)))
        rewards, states = outputs.tensor_split((self.num_rewards,), dim=-1)
        return Readout(rewards=rewards, states=states)
