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
from world_model.conditioning import join_controls
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
    past: Tensor
    """Low-dimensional observations of the last two frames, the older first, scaled to [-1, 1],
    float32 (B, 2, S)."""
    last_action: Tensor
    """The action that led to the newest frame, scaled to [-1, 1], (B, A); NaN where none did."""

    def select(self, rows: Sequence[int] | Tensor) -> "StreamingState":
        """See `WorldState.select`."""
        rows = self.rows(rows)
        selected = super().select(rows)
        assert isinstance(selected, StreamingState)
        return replace(
            selected,
            ring=self.ring.select(rows),
            past=self.past[rows],
            last_action=self.last_action[rows],
        )

    def put(self, rows: Sequence[int] | Tensor, other: "StreamingState") -> None:
        """See `WorldState.put`."""
        rows = self.rows(rows)
        super().put(rows, other)
        self.ring.put(rows, other.ring)
        self.past[rows] = other.past
        self.last_action[rows] = other.last_action


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
        previous = latents[:, 0]
        past = latents.new_zeros(num_envs, 2, self.config.state_dim)
        controls = latents.new_zeros(num_envs, self.config.control_dim)
        read = self._remember(previous, previous, controls, ring, acted=False)
        past = self._pass(self._pass(past, read), read)  # before the first frame, nothing moved
        last_action = actions.new_full((num_envs, self.config.action_dim), torch.nan)
        for t in range(1, num_frames):
            controls = self._controls(actions[:, t - 1], last_action, past)
            read = self._remember(latents[:, t], previous, controls, ring, acted=True)
            previous, past = latents[:, t], self._pass(past, read)
            last_action = actions[:, t - 1]
        return StreamingState(
            latents=previous.clone(),
            ring=ring,
            past=past,
            last_action=last_action.clone(),
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(frames[:, -1].clone(), read),
        )

    @torch.no_grad()
    def step_(self, state: StreamingState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        read = self.advance(state, self._check_actions(action, (len(state),)))
        frame = pixels_to_frames(self.codec.decode(state.latents))
        state.output = self._output(frame, read)
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
            read = self.advance(state, actions[:, h])
            reward, end = self._reward(read, len(state))
            rewards.append(reward)
            ends.append(end)
            if return_frames:
                frames.append(pixels_to_frames(self.codec.decode(state.latents)))
        return RolloutOutput(
            reward=torch.stack(rewards, 1).unflatten(0, shape),
            terminated=torch.stack(ends, 1).unflatten(0, shape),
            frames=torch.stack(frames, 1).unflatten(0, shape) if return_frames else None,
        )

    def advance(self, state: StreamingState, action: Tensor) -> dict[str, Tensor]:
        """One step in latents, in place: denoise the next frame, remember it.

        Args:
            action: (B, A), in the environment's own units.

        Returns:
            What the head reads off the new frame.
        """
        action = self.scale_actions(action)
        controls = self._controls(action, state.last_action, state.past)
        previous = state.latents
        acted = torch.ones(len(state), dtype=torch.bool, device=self.device)

        def denoise(noisy: Tensor, levels: Tensor) -> Tensor:
            return self.denoiser.stream(noisy, previous, levels, controls, acted, state.ring)[0]

        sampler = self.config.sampler
        noise = counted_noise(state.seeds, state.steps, self.config.latent_shape)
        change = sample_change(denoise, sampler.noise_scale * noise, sampler)
        state.latents = self.codec.settle(previous + change)
        read = self._remember(state.latents, previous, controls, state.ring, acted=True)
        state.past, state.last_action = self._pass(state.past, read), action
        state.steps = state.steps + 1
        return read

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (actions.to(self.device) - self.action_middle) / self.action_half

    def _controls(self, actions: Tensor, last_actions: Tensor, past: Tensor) -> Tensor:
        return join_controls(actions, last_actions, past[:, 1], past[:, 0], self.config)

    def _pass(self, past: Tensor, read: dict[str, Tensor]) -> Tensor:
        """States of the last two frames (B, 2, S), one frame on."""
        if not self.config.state_dim:
            return past
        return torch.stack((past[:, 1], self.head.state(read)), dim=1)

    def _remember(
        self, latents: Tensor, previous: Tensor, controls: Tensor, ring: Ring, *, acted: bool
    ) -> dict[str, Tensor]:
        """Write a clean frame into the ring; what the head reads off it."""
        num_envs = len(latents)
        levels = latents.new_zeros(num_envs)
        flags = torch.full((num_envs,), acted, device=latents.device)
        change = latents - previous
        tokens = self.denoiser.remember(change, previous, levels, controls, flags, ring)
        ring.advance()
        return self.head(tokens, self.denoiser.foresight(controls), flags)

    def _output(self, frame: Tensor, read: dict[str, Tensor]) -> StepOutput:
        reward, end = self._reward(read, len(frame))
        states = {}
        for name, bounds in self.config.observations.items():
            low, high = read[name].new_tensor(bounds.low), read[name].new_tensor(bounds.high)
            states[name] = (low + (read[name].clamp(-1, 1) + 1) / 2 * (high - low)).float()
        return StepOutput(frame, reward, end, states)

    def _reward(self, read: dict[str, Tensor], num_envs: int) -> tuple[Tensor, Tensor]:
        config = self.config
        if not config.reward_head:
            nothing = torch.zeros(num_envs, device=self.device)
            return nothing, nothing.bool()
        reward = read["reward"].float().clamp(config.reward_low, config.reward_high)
        return reward, read["end"].float().sigmoid() > config.termination_threshold
