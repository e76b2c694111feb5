"""The streaming engine's world: one frame a step, over a ring of its past.

A step goes from `step_` to `advance`, to `sample_change` (sampler.py), to
`StreamingDenoiser.stream` (streaming.py).

Dimensions: B environments, K candidates, H horizon, A action, C channels, h w latent cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from world_model.codec import encode_clip
from world_model.config import StreamingConfig
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.head import Head
from world_model.noise import counted_noise
from world_model.ring import Ring
from world_model.sampler import sample_change
from world_model.starts import Starts
from world_model.streaming import StreamingDenoiser
from world_model.world import RolloutOutput, StepOutput, WorldModel, WorldState


@dataclass(eq=False)
class StreamingState(WorldState):
    """A state with the keys and values of its past frames."""

    ring: Ring

    def select(self, rows: Sequence[int] | Tensor) -> "StreamingState":
        """See `WorldState.select`."""
        rows = self.rows(rows)
        selected = super().select(rows)
        assert isinstance(selected, StreamingState)
        return replace(selected, ring=self.ring.select(rows))

    def put(self, rows: Sequence[int] | Tensor, other: "StreamingState") -> None:
        """See `WorldState.put`."""
        rows = self.rows(rows)
        super().put(rows, other)
        self.ring.put(rows, other.ring)


class StreamingWorld(WorldModel):
    """A world with a streaming denoiser, and a head that reads what it has computed."""

    config: StreamingConfig
    stored_dtype = torch.float16
    action_middle: Tensor
    action_half: Tensor

    def __init__(self, config: StreamingConfig, starts: Starts | None = None):
        super().__init__(config, starts)
        self.denoiser = StreamingDenoiser(config)
        self.head = Head(config)
        low = torch.tensor(config.action_low)
        high = torch.tensor(config.action_high)
        self.register_buffer("action_middle", (high + low) / 2, persistent=False)
        self.register_buffer("action_half", (high - low) / 2, persistent=False)

    @property
    def device(self) -> torch.device:
        return self.denoiser.position.device

    @torch.no_grad()
    def start(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
    ) -> StreamingState:
        """See `WorldModel.start`; the whole clip goes into the ring."""
        frames, actions, seeds = self._check_clips(frames, actions, seeds)
        num_envs, num_frames = frames.shape[:2]
        latents = encode_clip(self.codec, frames_to_pixels(frames))
        actions = self.scale_actions(actions)
        ring = self.denoiser.empty_ring(num_envs)
        previous, nothing = latents[:, 0], actions.new_zeros(num_envs, self.config.action_dim)
        tokens = torch.empty(0)
        for t in range(num_frames):
            action = actions[:, t - 1] if t else nothing
            tokens = self._remember(latents[:, t], previous, action, ring, acted=t > 0)
            previous = latents[:, t]
        return StreamingState(
            latents=previous.clone(),
            ring=ring,
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._read(frames[:, -1].clone(), tokens),
        )

    @torch.no_grad()
    def step_(self, state: StreamingState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        tokens = self.advance(state, self._check_actions(action, (len(state),)))
        frame = pixels_to_frames(self.codec.decode(state.latents))
        state.output = self._read(frame, tokens)
        return state.output

    @torch.no_grad()
    def rollout(
        self, state: StreamingState, actions: np.ndarray | Tensor, *, return_frames: bool = False
    ) -> RolloutOutput:
        """See `WorldModel.rollout`."""
        rows, actions, shape = self._check_candidates(state, actions)
        state = state.select(rows)
        rewards, ends, frames = [], [], []
        for h in range(actions.shape[1]):
            tokens = self.advance(state, actions[:, h])
            reward, end = self._read_reward(self.head(tokens), len(state))
            rewards.append(reward)
            ends.append(end)
            if return_frames:
                frames.append(pixels_to_frames(self.codec.decode(state.latents)))
        return RolloutOutput(
            reward=torch.stack(rewards, 1).unflatten(0, shape),
            terminated=torch.stack(ends, 1).unflatten(0, shape),
            frames=torch.stack(frames, 1).unflatten(0, shape) if return_frames else None,
        )

    def advance(self, state: StreamingState, action: Tensor) -> Tensor:
        """One step in latents, in place: denoise the next frame, remember it.

        Args:
            action: (B, A), in the environment's own units.

        Returns:
            The new frame's tokens (B, N, width), for the head.
        """
        action, previous = self.scale_actions(action), state.latents
        acted = torch.ones(len(state), dtype=torch.bool, device=self.device)

        def denoise(noisy: Tensor, levels: Tensor) -> Tensor:
            return self.denoiser.stream(noisy, previous, levels, action, acted, state.ring)[0]

        sampler = self.config.sampler
        noise = counted_noise(state.seeds, state.steps, self.config.latent_shape)
        change = sample_change(denoise, sampler.noise_scale * noise, sampler)
        state.latents = self.codec.settle(previous + change)
        tokens = self._remember(state.latents, previous, action, state.ring, acted=True)
        state.steps = state.steps + 1
        return tokens

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (actions.to(self.device) - self.action_middle) / self.action_half

    def _remember(
        self, latents: Tensor, previous: Tensor, action: Tensor, ring: Ring, *, acted: bool
    ) -> Tensor:
        """Write a clean frame into the ring; its tokens (B, N, width)."""
        num_envs = len(latents)
        levels = latents.new_zeros(num_envs)
        flags = torch.full((num_envs,), acted, device=latents.device)
        tokens = self.denoiser.remember(latents - previous, previous, levels, action, flags, ring)
        ring.advance()
        return tokens

    def _read(self, frame: Tensor, tokens: Tensor) -> StepOutput:
        read = self.head(tokens)
        reward, end = self._read_reward(read, len(frame))
        states = {}
        for name, bounds in self.config.observations.items():
            low, high = read[name].new_tensor(bounds.low), read[name].new_tensor(bounds.high)
            states[name] = (low + (read[name].clamp(-1, 1) + 1) / 2 * (high - low)).float()
        return StepOutput(frame, reward, end, states)

    def _read_reward(self, read: dict[str, Tensor], num_envs: int) -> tuple[Tensor, Tensor]:
        config = self.config
        if not config.reward_head:
            nothing = torch.zeros(num_envs, device=self.device)
            return nothing, nothing.bool()
        reward = read["reward"].float().clamp(config.reward_low, config.reward_high)
        return reward, read["end"].float().sigmoid() > config.termination_threshold
