"""WorldModel: what the camera sees after each action, one batched call a step.

A step goes from `step_` to `advance`, to `sample_change` (sampler.py), to
`StreamingDenoiser.stream` (streaming.py).

Dimensions: B environments, K candidates, H horizon, A action, C channels, h w latent cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from world_model.codec import encode_clip, make_codec
from world_model.config import WorldConfig
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.noise import counted_noise
from world_model.ring import Ring
from world_model.sampler import sample_change
from world_model.starts import Starts
from world_model.streaming import Head, StreamingDenoiser


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What a step shows. Tensors of their own: later steps do not change them."""

    frame: Tensor
    """uint8 (B, H, W, 3)"""
    reward: Tensor
    """float32 (B,), 0 for a world without a reward head"""
    terminated: Tensor
    """bool (B,), False for a world without a reward head"""
    states: dict[str, Tensor]
    """Low-dimensional observations by name, float32 (B, n), in the environment's own units."""


@dataclass(frozen=True, eq=False)
class RolloutOutput:
    """What K candidate action sequences lead to. After an end, later entries mean nothing."""

    reward: Tensor
    """float32 (B, K, H)"""
    terminated: Tensor
    """bool (B, K, H)"""
    frames: Tensor | None = None
    """uint8 (B, K, H, height, width, 3), where asked for"""


@dataclass(eq=False)
class WorldState:
    """All that the future of B environments depends on."""

    latents: Tensor  # (B, C, h, w) of the newest frame
    ring: Ring
    seeds: Tensor  # int64 (B,)
    steps: Tensor  # int64 (B,): frames predicted since the start
    output: StepOutput  # of the newest frame

    def __len__(self) -> int:
        return len(self.seeds)

    def select(self, rows: Sequence[int] | Tensor) -> "WorldState":
        """A copy that holds environments `rows` only, in that order (repeats allowed)."""
        rows = torch.as_tensor(rows, dtype=torch.int64, device=self.seeds.device)
        out = self.output
        return WorldState(
            latents=self.latents[rows],
            ring=self.ring.select(rows),
            seeds=self.seeds[rows],
            steps=self.steps[rows],
            output=StepOutput(
                out.frame[rows],
                out.reward[rows],
                out.terminated[rows],
                {name: values[rows] for name, values in out.states.items()},
            ),
        )

    def clone(self) -> "WorldState":
        """A copy that shares no memory."""
        return self.select(torch.arange(len(self)))

    def put(self, rows: Sequence[int] | Tensor, other: "WorldState") -> None:
        """Overwrite environments `rows` with those of `other`: a reset of some of a batch."""
        rows = torch.as_tensor(rows, dtype=torch.int64, device=self.seeds.device)
        self.latents[rows] = other.latents
        self.ring.put(rows, other.ring)
        self.seeds[rows] = other.seeds
        self.steps[rows] = other.steps
        mine, theirs = self.output, other.output
        mine.frame[rows] = theirs.frame
        mine.reward[rows] = theirs.reward
        mine.terminated[rows] = theirs.terminated
        for name, values in mine.states.items():
            values[rows] = theirs.states[name]


class WorldModel(nn.Module):
    """A learned simulator: codec, denoiser and head, and the starts of its episodes."""

    def __init__(self, config: WorldConfig, starts: Starts | None = None):
        super().__init__()
        self.config = config
        self.starts = starts if starts is not None else Starts()
        self.codec = make_codec(config.codec)
        self.denoiser = StreamingDenoiser(config)
        self.head = Head(config)
        low = torch.tensor(config.action_low)
        high = torch.tensor(config.action_high)
        self.register_buffer("action_middle", (high + low) / 2, persistent=False)
        self.register_buffer("action_half", (high - low) / 2, persistent=False)

    @classmethod
    def create(cls, config: WorldConfig, starts: Starts | None = None) -> "WorldModel":
        """A world with random weights, ready to step (it predicts that nothing moves)."""
        return cls(config, starts).eval()

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, device: str = "cpu") -> "WorldModel":
        """Load a shipped world by name, a world directory, or a repository on the Hub.

        Raises:
            ValueError: No such world, or one of its files is damaged or unknown.
        """
        from world_model.checkpoint import load_world

        return load_world(name_or_path).to(device).eval()

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json`, `model.safetensors` (half precision) and `starts.safetensors`."""
        from world_model.checkpoint import save_world

        save_world(self, Path(directory))

    @property
    def device(self) -> torch.device:
        return self.denoiser.position.device

    @torch.no_grad()
    def start(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
    ) -> WorldState:
        """Take in recorded clips.

        Args:
            frames: uint8 (B, T, H, W, 3), T at least 1.
            actions: float (B, T - 1, A), in the environment's own units; action t leads from
                frame t to frame t + 1.
            seeds: ints (B,): each environment's stream of noise.

        Returns:
            A state at the last frame, its `output` what the head reads there.
        """
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
        return WorldState(
            latents=previous.clone(),
            ring=ring,
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._read(frames[:, -1].clone(), tokens),
        )

    def step(self, state: WorldState, action: np.ndarray | Tensor) -> tuple[WorldState, StepOutput]:
        """Predict the frame after `action` (B, A), in the environment's own units.

        The given state stays as it was, to step again from; `step_` saves the copy.
        """
        state = state.clone()
        return state, self.step_(state, action)

    @torch.no_grad()
    def step_(self, state: WorldState, action: np.ndarray | Tensor) -> StepOutput:
        """As `step`, changing `state` in place."""
        tokens = self.advance(state, self._check_actions(action, (len(state),)))
        frame = pixels_to_frames(self.codec.decode(state.latents))
        state.output = self._read(frame, tokens)
        return state.output

    @torch.no_grad()
    def rollout(
        self, state: WorldState, actions: np.ndarray | Tensor, *, return_frames: bool = False
    ) -> RolloutOutput:
        """Try K sequences of H actions from each environment: actions (B, K, H, A).

        The state stays as it was. Candidates of one environment share its noise, so that they
        differ by their actions alone. Frames are decoded only where asked for.
        """
        actions = torch.as_tensor(actions)
        if actions.ndim != 4:
            raise ValueError(f"actions have shape {tuple(actions.shape)}, expected (B, K, H, A)")
        num_envs, num_candidates, horizon, _ = actions.shape
        actions = self._check_actions(actions, (len(state), num_candidates, horizon))
        state = state.select(torch.arange(num_envs).repeat_interleave(num_candidates))
        rewards, ends, frames = [], [], []
        for h in range(horizon):
            tokens = self.advance(state, actions[:, :, h].flatten(0, 1))
            reward, end = self._read_reward(self.head(tokens), len(state))
            rewards.append(reward)
            ends.append(end)
            if return_frames:
                frames.append(pixels_to_frames(self.codec.decode(state.latents)))
        shape = (num_envs, num_candidates)
        return RolloutOutput(
            reward=torch.stack(rewards, 1).unflatten(0, shape),
            terminated=torch.stack(ends, 1).unflatten(0, shape),
            frames=torch.stack(frames, 1).unflatten(0, shape) if return_frames else None,
        )

    def advance(self, state: WorldState, action: Tensor) -> Tensor:
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
        _, tokens = self.denoiser.stream(latents - previous, previous, levels, action, flags, ring)
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

    def _check_clips(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        frames = torch.as_tensor(frames)
        if (
            frames.ndim != 5
            or frames.dtype != torch.uint8
            or tuple(frames.shape[2:]) != (config.height, config.width, 3)
            or frames.shape[1] < 1
        ):
            raise ValueError(
                f"frames are {frames.dtype} {tuple(frames.shape)}, expected uint8 "
                f"(B, T, {config.height}, {config.width}, 3) with T at least 1"
            )
        num_envs, num_frames = frames.shape[:2]
        seeds = torch.as_tensor(seeds, dtype=torch.int64, device=self.device).reshape(-1)
        if len(seeds) != num_envs:
            raise ValueError(f"{len(seeds)} seeds for {num_envs} clips; give one a clip")
        actions = torch.as_tensor(actions)
        if num_frames == 1 and actions.numel() == 0:
            actions = torch.zeros(num_envs, 0, config.action_dim)
        return (
            frames.to(self.device),
            self._check_actions(actions, (num_envs, num_frames - 1)),
            seeds,
        )

    def _check_actions(self, actions: np.ndarray | Tensor, leading: tuple[int, ...]) -> Tensor:
        expected = (*leading, self.config.action_dim)
        actions = torch.as_tensor(actions)
        if tuple(actions.shape) != expected:
            names = ": " + " ".join(self.config.action_names) if self.config.action_names else ""
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, expected {expected}{names}"
            )
        return actions.to(self.device, torch.float32)
