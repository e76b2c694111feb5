"""The head of a streaming world: numbers read off what the denoiser has already computed.

Dimensions: N tokens, S components of all states.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.config import StreamingConfig


class Head(nn.Module):
    """Reads reward, the end, and low-dimensional observations off a clean frame's tokens.

    In a world that sees states they are guessed before the frame is drawn (states/dynamics.py): the
    tokens correct the guess of what is observed, and reward and end are judged by the states and
    corrected by the tokens.
    """

    def __init__(self, config: StreamingConfig):
        super().__init__()
        shape = config.denoiser
        num_tokens = config.grid[0] * config.grid[1]
        self.sizes = {name: len(bounds.low) for name, bounds in config.tracked.items()}
        self.num_rewards = 2 * config.reward_head
        self.num_unobserved = sum(len(bounds.low) for bounds in config.hidden.values())
        self.sees_states = shape.sees_states
        self.frequencies = shape.action_frequencies
        num_outputs = self.num_rewards + config.state_dim - self.num_unobserved
        self.reads_tokens = num_outputs > 0
        if self.reads_tokens:
            self.norm = nn.LayerNorm(shape.width)
            self.squeeze = nn.Linear(shape.width, 32)
            self.hidden = nn.Linear(32 * num_tokens, shape.head_width)
            self.out = nn.Linear(shape.head_width, num_outputs)
            if self.sees_states:
                nn.init.zeros_(self.out.weight)
                nn.init.zeros_(self.out.bias)
        if self.sees_states and config.reward_head:
            self.judge = nn.Sequential(
                nn.Linear(num_features(config.state_dim, self.frequencies), shape.head_width),
                nn.SiLU(),
                nn.Linear(shape.head_width, shape.head_width),
                nn.SiLU(),
                nn.Linear(shape.head_width, self.num_rewards),
            )

    def forward(self, tokens: Tensor, guess: Tensor, *, certain: bool = False) -> dict[str, Tensor]:
        """Read a frame.

        Args:
            tokens: (..., N, width).
            guess: States (..., S) as they were guessed or read before; (..., 0) for a world that
                does not see states.
            certain: The guess is what is so, and the tokens are not asked.

        Returns:
            `reward` (...), `end` logit (...), and each state by its name (..., n), scaled so that
            its bounds are -1 and 1.
        """
        if certain or not self.reads_tokens:
            return self._named(self.judged(guess), guess)
        flat = F.gelu(self.squeeze(self.norm(tokens))).flatten(-2)
        outputs = self.out(F.gelu(self.hidden(flat)))
        rewards, states = outputs.tensor_split((self.num_rewards,), dim=-1)
        if self.sees_states:
            states = guess + F.pad(states, (0, self.num_unobserved))
            rewards = rewards + self.judged(states.detach())
        return self._named(rewards, states)

    def _named(self, rewards: Tensor, states: Tensor) -> dict[str, Tensor]:
        result: dict[str, Tensor] = {}
        if self.num_rewards:
            result["reward"], result["end"] = rewards.unbind(-1)
        return result | self.parts(states)

    def parts(self, states: Tensor) -> dict[str, Tensor]:
        """States (..., S) by name, (..., n) each; views."""
        parts = states.split(list(self.sizes.values()), dim=-1) if self.sizes else ()
        return dict(zip(self.sizes, parts, strict=True))

    def judged(self, states: Tensor) -> Tensor:
        """Reward and logit of the end, (..., 2), as far as the states (..., S) tell them; (..., 0)
        in a world without rewards."""
        if not self.num_rewards:
            return states[..., :0]
        with torch.autocast(states.device.type, enabled=False):
            return self.judge(features(states.float(), self.frequencies))

    def state(self, read: dict[str, Tensor]) -> Tensor:
        """All states in what `forward` gave: (..., S), within [-1, 1]."""
        return torch.cat([read[name].clamp(-1, 1) for name in self.sizes], dim=-1)
