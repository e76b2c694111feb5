"""The streaming engine's world: one frame a step, over a ring of its past.

A step goes from `step_` to `predict`, to `advance`, to `sample_change` (sampler.py), to the
network's `stream` (denoiser.py, unet.py). `predict` is what a CUDA graph holds: it changes a state
in place, asks nothing of the host, and computes its noise from the state's seeds and steps, which
are on the device.

Dimensions: B environments, K candidates, H horizon, A action, C channels, h w latent cells, S
components of all states.
"""

import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from world_model.codec import encode_clip
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.io.starts import Starts
from world_model.runtime.counter_rng import counted_noise
from world_model.runtime.precision import Precision, in_own_precision
from world_model.start_cache import StartCache
from world_model.state import RolloutOutput, WorldState
from world_model.stepped import SteppedWorld
from world_model.streaming.conditioning import Conditioner, Control, Memory, Readout
from world_model.streaming.config import StreamingConfig
from world_model.streaming.head import Head
from world_model.streaming.kv_ring import Ring
from world_model.streaming.networks import Network, make_network
from world_model.streaming.sampler import sample_change, sampled_levels
from world_model.streaming.state import StreamingState
from world_model.streaming.states.conditioner import StateConditioner

# Memory for the states of starts that episodes begin with, by kind of device.
START_CACHE_BYTES = {"cpu": 2**28, "cuda": 2**30, "mps": 2**28}
# Parameters by the names that older worlds' files have, and those of today.
RENAMED = {
    "denoiser.condition.level.": "denoiser.level.",
    "denoiser.condition.": "conditioner.",
    "denoiser.control_at_place.": "conditioner.at_token.",
    "denoiser.detail.control_at_cell.": "conditioner.at_cell.",
    "denoiser.detail.": "denoiser.high_resolution_head.",
    "denoiser.foresight.": "conditioner.dynamics.",
    "reader.looks.": "conditioner.estimator.refiners.",
    "reader.": "conditioner.estimator.",
    "conditioner.estimator.looks.": "conditioner.estimator.refiners.",
    "head.judge.": "conditioner.reward.",
}


class StreamingWorld(SteppedWorld):
    """A world with a streaming denoiser, and a head on the tokens that it has computed."""

    config: StreamingConfig
    stored_dtype = torch.float16
    precision: Precision = "float32"
    """float32: without TF32, except in matrix products if `torch.set_float32_matmul_precision`
    allows it. bf16: large matrix products and convolutions in bfloat16, all else in float32. May
    be changed between steps."""

    def __init__(self, config: StreamingConfig, starts: Starts | None = None):
        super().__init__(config, starts)
        conditioned = Conditioner if config.states is None else StateConditioner
        self.conditioner: Conditioner = conditioned(config)
        self.denoiser = make_network(config)
        self.head = Head(config, self.denoiser.tokens, zero=self.conditioner.predicts_states)
        self.weights_changed()

    @classmethod
    def current_name(cls, parameter: str) -> str:
        """See `WorldModel.current_name`."""
        for old, new in RENAMED.items():
            if parameter.startswith(old):
                return new + parameter.removeprefix(old)
        return parameter

    @property
    def device(self) -> torch.device:
        return self.denoiser.position.device

    def started(
        self, frames: Tensor, actions: Tensor, seeds: Tensor, observations: dict[str, Tensor]
    ) -> StreamingState:
        """See `WorldModel.start`; the whole clip goes through the network, frame by frame."""
        num_envs, num_frames = frames.shape[:2]
        known = self.scaled_states(observations, (num_envs, num_frames))
        latents = encode_clip(self.codec, frames_to_pixels(frames))
        actions = self.scale_actions(actions)
        ring = self.denoiser.empty_ring(num_envs)
        memory = self.conditioner.begin(num_envs, latents)
        for t in range(num_frames):
            if t > 0:
                ring.advance()
            control = self.conditioner.control(memory, actions[:, t - 1] if t > 0 else None).last
            before = latents[:, max(t - 1, 0)]
            read, before = self._read_given(latents[:, t], before, control, ring, known[:, t])
            memory = self.conditioner.update(memory, control, read)
        return StreamingState(
            latents=latents[:, -1].clone(),
            ring=ring,
            before=before.clone(),
            memory={name: tensor.clone() for name, tensor in memory.items()},
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(self._read_out(frames[:, -1].clone(), read)),
        )

    @torch.inference_mode(False)
    @torch.no_grad()
    def _begin(self, starts: list[int], seeds: Tensor) -> WorldState:
        """See `WorldModel.begin`; what a start leads to is computed once."""
        backends: Any = torch.backends
        weights = (x for x in (*self.parameters(), *self.buffers()) if not x.is_inference())
        key = (
            *(self.starts, self.config, self.precision, torch.get_num_threads()),
            *(kind.matmul.fp32_precision for kind in (backends.cuda, backends.mkldnn)),
            sum(tensor._version for tensor in weights),  # of changes in place, by most ways
        )
        room = START_CACHE_BYTES[self.device.type]
        return self._start_cache.begin(self._start, starts, seeds, key=key, room=room)

    def _start(self, start: int) -> WorldState:
        """One episode at a start of the world's own, with seed 0."""
        return super()._begin([start], torch.zeros(1, dtype=torch.int64))

    @property
    def rolls_out_states(self) -> bool:
        """Whether it predicts states and their reward, as `rollout_states` needs."""
        return self.conditioner.predicts_states and self.config.reward_head

    @in_own_precision
    def rollout_states(self, state: StreamingState, actions: np.ndarray | Tensor) -> RolloutOutput:
        """A rollout in states alone, by the dynamics and the reward model.

        No picture is drawn, so it costs a hundredth and less of `rollout`, and nothing that a
        picture would have corrected is corrected (as planners in latent spaces go without
        decoding: Dreamer, Hafner et al., arXiv 1912.01603).

        Args:
            state: B environments; it is not changed.
            actions: (B, K, H, A), in the environment's own units, K and H at least 1.

        Raises:
            ValueError: The world predicts no states or no reward of them, or actions do not fit.
        """
        conditioner = self.conditioner
        if not self.rolls_out_states or not isinstance(conditioner, StateConditioner):
            raise ValueError(
                f"world {self.config.name!r} does not predict states and their reward; use "
                "rollout, or train a world with states from data with rewards"
            )
        rows, actions, shape = self._check_candidates(state, actions)
        actions = self.scale_actions(actions)
        rows = state.rows(rows)
        memory: Memory = {name: tensor[rows] for name, tensor in state.memory.items()}
        made = []
        for h in range(actions.shape[1]):
            control = conditioner.control(memory, actions[:, h]).last
            states = conditioner.dynamics(control.values[:, 0])
            read = conditioner.with_reward(states, conditioner.states_in(control)[:, 0])
            memory = conditioner.update(memory, control, read)
            made.append(self._read_out(None, read))
        return self._joined(made, shape)

    def foresee(self, state: StreamingState, actions: np.ndarray | Tensor) -> RolloutOutput:
        """Deprecated name of `rollout_states`."""
        warnings.warn("foresee is called rollout_states now", DeprecationWarning, stacklevel=2)
        return self.rollout_states(state, actions)

    def predict(self, state: StreamingState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """See `SteppedWorld.predict`."""
        read = self.advance(state, action)
        frame = pixels_to_frames(self.codec.decode(state.latents)) if frames else None
        return self._read_out(frame, read)

    def advance(
        self, state: StreamingState, action: Tensor, states: Tensor | None = None
    ) -> Readout:
        """One step in latents, in place: denoise the next frame.

        The newest frame, which is clean, and the one to draw go through the network together: each
        block writes the newest's keys and values before the other looks for them. So the weights
        are read once and not twice.

        Args:
            state: B environments; its tensors are overwritten, none is replaced.
            action: (B, A), in the environment's own units.
            states: Recorded states of both frames, (B, 2, S), in training; None for predicted ones.

        Returns:
            What is read off the new frame.
        """
        sampler, conditioner, network = self.config.sampler, self.conditioner, self._network()
        control = conditioner.control(state.memory, self.scale_actions(action))
        conditioning = conditioner(control, states, last=True)
        levels = sampled_levels(sampler, self.device)[:, None, None].expand(-1, len(state), 1)
        newest = state.latents - state.before
        base = conditioning.drawn_over(state.latents)
        previous = torch.stack((state.before, base), dim=1)
        tokens = newest

        def denoise(noisy: Tensor, step: int) -> Tensor:
            nonlocal tokens
            made, level = noisy[:, None], levels[step]
            if step > 0:  # over the newest frame, which is in the ring by now
                alone = conditioning.last
                change, tokens = network.stream(made, previous[:, 1:], level, alone, state.ring)
                return change
            both, level = torch.stack((newest, noisy), dim=1), F.pad(level, (1, 0))
            change, tokens = network.stream(both, previous, level, conditioning, state.ring)
            state.ring.advance()
            return change

        change = sample_change(denoise, self._noise(state), sampler)
        read = conditioner.read(self.head(tokens), *conditioning.newest)
        memory = conditioner.update(state.memory, control, read)
        state.move_(self.settled(base, change, state.memory, memory), base, memory)
        return read

    def settled(self, base: Tensor, change: Tensor, before: Memory, after: Memory) -> Tensor:
        """The latents that a change drawn over `base` makes; none where memory says so."""
        mask = self.conditioner.mask(before, after)
        if mask is not None:
            change = change * mask.unflatten(1, change.shape[-2:])[:, None]
        return self.codec.settle(base + change)

    @torch.no_grad()
    def doubt_(self, state: StreamingState, scale: float = 1.0) -> None:
        """See `WorldModel.doubt_`."""
        self.conditioner.doubt_(state.memory, state.seeds, state.steps, scale)

    @property
    def _setting(self) -> Hashable:
        return self.precision, self.config.sampler

    def _network(self) -> Network:
        """The denoiser in the world's precision."""
        return self._in_precision(self.denoiser, self.denoiser.half_precision)

    def weights_changed(self) -> None:
        """See `WorldModel.weights_changed`."""
        super().weights_changed()
        self._start_cache = StartCache()

    def _noise(self, state: StreamingState) -> Tensor:
        """What a step's sampling starts from, (B, C, h, w).

        In one pass none of it gets in (`denoiser.informative`), so none is computed.
        """
        sampler = self.config.sampler
        if sampler.num_steps == 1:
            return torch.zeros_like(state.latents)
        noise = counted_noise(state.seeds, state.steps, self.config.latent_shape)
        return sampler.noise_scale * noise

    def _read_given(
        self, latents: Tensor, before: Tensor, control: Control, ring: Ring, known: Tensor
    ) -> tuple[Readout, Tensor]:
        """Write a given frame (B, C, h, w) as the ring's newest; its readout, and what it is drawn
        over. `known` are those of its states, (B, S), that need no estimate; NaN where they do."""
        around = self.conditioner.shown(latents, known)
        conditioning = self.conditioner(control, around, last=True)
        base = conditioning.drawn_over(before)
        change = (latents - base)[:, None]
        tokens = self._network().remember(change, base[:, None], conditioning, ring)
        return self.conditioner.estimate(latents, self.head(tokens), known), base

    def _read_out(self, frame: Tensor | None, read: Readout) -> dict[str, Tensor]:
        """What a step hands out, as `predict` says."""
        rewards = read.rewards.float() if self.config.reward_head else None
        return self._shown(frame, read.clamped.float(), rewards)
