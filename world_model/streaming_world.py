"""The streaming engine's world: one frame a step, over a ring of its past.

A step goes from `step_` to `predict`, to `advance`, to `sample_change` (sampler.py), to
`StreamingDenoiser.stream` (streaming.py). `predict` is what a CUDA graph holds: it changes a state
in place, asks nothing of the host, and computes its noise from the state's seeds and steps, which
are on the device. Nothing is drawn there, so that noise needs no way in from outside.

Dimensions: B environments, K candidates, H horizon, A action, C channels, h w latent cells, S
components of all states: low-dimensional observations and hidden ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from world_model.codec import encode_clip
from world_model.conditioning import join_controls
from world_model.config import StreamingConfig
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.head import Head
from world_model.noise import counted_noise
from world_model.reader import Reader
from world_model.ring import Ring
from world_model.sampler import sample_change, sampled_levels
from world_model.starts import Starts
from world_model.streaming import StreamedPass, StreamingDenoiser, half_precision
from world_model.world import Precision, RolloutOutput, StepOutput, WorldModel, WorldState


@dataclass(eq=False)
class StreamingState(WorldState):
    """A state with the keys and values of its past frames."""

    ring: Ring
    past: Tensor
    """States of the last two frames, the older first, scaled to [-1, 1], float32 (B, 2, S)."""
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

    def clone(self) -> "StreamingState":
        """See `WorldState.clone`."""
        return self.select(torch.arange(len(self)))

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
    precision: Precision = "float32"
    """bf16: large matrix products and convolutions in bfloat16, all else in float32. May be changed
    between steps."""
    action_middle: Tensor
    action_half: Tensor
    state_low: Tensor
    state_high: Tensor

    def __init__(self, config: StreamingConfig, starts: Starts | None = None):
        super().__init__(config, starts)
        self.denoiser = StreamingDenoiser(config)
        self.head = Head(config)
        self.reader = Reader(config) if config.denoiser.sees_states else None
        low = torch.tensor(config.action_low)
        high = torch.tensor(config.action_high)
        self.register_buffer("action_middle", (high + low) / 2, persistent=False)
        self.register_buffer("action_half", (high - low) / 2, persistent=False)
        bounds = config.tracked.values()
        for name, ends in (("low", [b.low for b in bounds]), ("high", [b.high for b in bounds])):
            joined = torch.tensor([end for part in ends for end in part])
            self.register_buffer(f"state_{name}", joined, persistent=False)
        self._forget()
        self.register_load_state_dict_post_hook(lambda world, _: world._forget())

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
        clean = latents.new_zeros(1, num_envs)
        previous = latents[:, 0]
        past = latents.new_zeros(num_envs, 2, self.config.state_dim)
        controls = latents.new_zeros(num_envs, self.config.control_dim)
        acted = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        [told] = self._network().passes(clean, controls, acted, ring)
        given = self._given(previous)
        read = self._remember(previous, previous, told, ring, given)
        past = self._pass(self._pass(past, read), read)  # before the first frame, nothing moved
        last_action = actions.new_full((num_envs, self.config.action_dim), torch.nan)
        for t in range(1, num_frames):
            controls = self._controls(actions[:, t - 1], last_action, past)
            [told] = self._network().passes(clean, controls, ~acted, ring)
            given = self._given(latents[:, t])
            read = self._remember(latents[:, t], previous, told, ring, given)
            previous, past = latents[:, t], self._pass(past, read)
            last_action = actions[:, t - 1]
        return StreamingState(
            latents=previous.clone(),
            ring=ring,
            past=past,
            last_action=last_action.clone(),
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(self._shown(frames[:, -1].clone(), read)),
        )

    @torch.no_grad()
    def step_(self, state: StreamingState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        action = self._check_actions(action, (len(state),))
        state.output = self._output(self._run(state, action, frames=True))
        return state.output

    @torch.no_grad()
    def rollout(
        self, state: StreamingState, actions: np.ndarray | Tensor, *, return_frames: bool = False
    ) -> RolloutOutput:
        """See `WorldModel.rollout`."""
        rows, actions, shape = self._check_candidates(state, actions)
        state = state.select(rows)
        made = [
            self._run(state, actions[:, h], frames=return_frames) for h in range(actions.shape[1])
        ]

        def join(name: str) -> Tensor:
            return torch.stack([shown[name] for shown in made], 1).unflatten(0, shape)

        return RolloutOutput(
            reward=join("reward"),
            terminated=join("terminated"),
            frames=join("frame") if return_frames else None,
        )

    def predict(self, state: StreamingState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """One step, in place; the same whether it is captured or not.

        Args:
            state: B environments; its tensors are overwritten, none is replaced.
            action: float32 (B, A), in the environment's own units, on the world's device.
            frames: Decode the frame too.

        Returns:
            `reward` float32 (B,), `terminated` bool (B,), each state by its place in `states`
            float32 (B, S), and with `frames` also `frame` uint8 (B, H, W, 3).
        """
        read = self.advance(state, action)
        frame = pixels_to_frames(self.codec.decode(state.latents)) if frames else None
        return self._shown(frame, read)

    def advance(self, state: StreamingState, action: Tensor) -> dict[str, Tensor]:
        """One step in latents, in place: denoise the next frame, remember it.

        Args:
            state: B environments; its tensors are overwritten, none is replaced.
            action: (B, A), in the environment's own units.

        Returns:
            What the head reads off the new frame.
        """
        sampler, network, ring = self.config.sampler, self._network(), state.ring
        action = self.scale_actions(action)
        previous = state.latents
        controls = self._controls(action, state.last_action, state.past)
        acted = torch.ones(len(state), dtype=torch.bool, device=self.device)
        levels = sampled_levels(sampler, self.device)[:, None].expand(-1, len(state))
        *denoising, remembering = network.passes(levels, controls, acted, ring)

        def denoise(noisy: Tensor, step: int) -> Tensor:
            return network.stream(noisy, previous, denoising[step], ring)[0]

        noise = counted_noise(state.seeds, state.steps, self.config.latent_shape)
        change = sample_change(denoise, sampler.noise_scale * noise, sampler)
        latents = self.codec.settle(previous + change)
        read = self._remember(latents, previous, remembering, ring)
        state.latents.copy_(latents)
        state.past.copy_(self._pass(state.past, read))
        state.last_action.copy_(action)
        state.steps.add_(1)
        return read

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (actions.to(self.device) - self.action_middle) / self.action_half

    def state_modules(self) -> dict[str, nn.Module]:
        """What predicts states without a picture or reads them off one, by name; nothing in a world
        that does not see states."""
        if self.reader is None:
            return {}
        modules: dict[str, nn.Module] = {
            "foresight": self.denoiser.foresight,
            "reader": self.reader,
        }
        return modules | ({"judge": self.head.judge} if self.config.reward_head else {})

    def _run(self, state: StreamingState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """`predict`, through a graph where the world captures; tensors of their own."""
        if not self.captures:
            return self.predict(state, action, frames=frames)
        if self._graphs is None:
            from world_model.streaming_graph import CapturedSteps

            self._graphs = CapturedSteps(self.predict)
        setting = (self.precision, self.config.sampler)
        return self._graphs(state, action, frames=frames, setting=setting)

    def _network(self) -> StreamingDenoiser:
        """The denoiser in the world's precision."""
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision is {self.precision!r}, expected one of {', '.join(get_args(Precision))}"
            )
        if self.precision == "float32":
            return self.denoiser
        if self._narrow is None:
            self._narrow = (half_precision(self.denoiser),)  # a tuple, so no module of the world
        return self._narrow[0]

    def _forget(self) -> None:
        """Drop what was made from the weights."""
        self._narrow: tuple[StreamingDenoiser] | None = None
        self._graphs: Callable[..., dict[str, Tensor]] | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "StreamingWorld":
        """torch's own way to move or convert a module."""
        self._forget()
        return super()._apply(fn, recurse)

    def _controls(self, actions: Tensor, last_actions: Tensor, past: Tensor) -> Tensor:
        return join_controls(actions, last_actions, past[:, 1], past[:, 0], self.config)

    def _pass(self, past: Tensor, read: dict[str, Tensor]) -> Tensor:
        """States of the last two frames (B, 2, S), one frame on."""
        if not self.config.state_dim:
            return past
        return torch.stack((past[:, 1], self.head.state(read)), dim=1)

    def _given(self, latents: Tensor) -> Tensor | None:
        """States (B, S) read off a given picture; None in a world that does not see states."""
        return None if self.reader is None else self.reader(latents)

    def _remember(
        self,
        latents: Tensor,
        previous: Tensor,
        told: StreamedPass,
        ring: Ring,
        given: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Write a clean frame into the ring; what the head reads off it, `given` its states."""
        tokens = self._network().remember(latents - previous, previous, told, ring)
        ring.advance()
        if given is None:
            return self.head(tokens, told.told.guess)
        return self.head(tokens, given, certain=True)

    def _shown(self, frame: Tensor | None, read: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a step hands out, as `predict` says."""
        config = self.config
        some = next(iter(read.values()))
        if config.reward_head:
            reward = read["reward"].float().clamp(config.reward_low, config.reward_high)
            terminated = read["end"].float().sigmoid() > config.termination_threshold
        else:
            reward = torch.zeros(len(some), device=some.device)
            terminated = torch.zeros_like(reward, dtype=torch.bool)
        shown = {"reward": reward, "terminated": terminated}
        if config.tracked:
            span = self.state_high - self.state_low
            shown["states"] = self.state_low + (self.head.state(read).float() + 1) / 2 * span
        return shown if frame is None else shown | {"frame": frame}

    def _output(self, shown: dict[str, Tensor]) -> StepOutput:
        sizes = self.head.sizes
        parts = shown["states"].split(list(sizes.values()), dim=1) if sizes else ()
        return StepOutput(
            frame=shown["frame"],
            reward=shown["reward"],
            terminated=shown["terminated"],
            states=dict(zip(sizes, parts, strict=True)),
        )
