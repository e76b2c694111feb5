"""The streaming engine's world: one frame a step, over a ring of its past.

A step goes from `step_` to `predict`, to `advance`, to `sample_change` (sampler.py), to
`StreamingDenoiser.stream` (denoiser.py). `predict` is what a CUDA graph holds: it changes a state
in place, asks nothing of the host, and computes its noise from the state's seeds and steps, which
are on the device. Nothing is drawn there, so that noise needs no way in from outside.

Dimensions: B environments, K candidates, H horizon, A action, C channels, h w latent cells, S
components of all states: low-dimensional observations and hidden ones.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from world_model.codec import encode_clip
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.io.starts import Starts
from world_model.runtime.counter_rng import candidate_seeds, counted_noise
from world_model.runtime.precision import Precision, in_own_precision
from world_model.start_cache import StartCache
from world_model.state import RolloutOutput, StepOutput, WorldState
from world_model.streaming.conditioning import coordinates, join_controls
from world_model.streaming.config import StreamingConfig
from world_model.streaming.denoiser import StreamedPass, StreamingDenoiser, half_precision
from world_model.streaming.head import Head
from world_model.streaming.kv_ring import Ring
from world_model.streaming.sampler import sample_change, sampled_levels
from world_model.streaming.state import StreamingState
from world_model.streaming.states.estimator import Reader
from world_model.streaming.states.planar import Plane
from world_model.world import WorldModel

# Largest deviation of the states that a prediction is given in training; their range is [-1, 1].
UNSURE_SCALE = 0.004
# Memory for the states of starts that episodes begin with, by kind of device.
START_CACHE_BYTES = {"cpu": 2**28, "cuda": 2**30, "mps": 2**28}
# Stream of the counted noise of `doubt_`; 0 is that of sampling.
DOUBT = 1


class StreamingWorld(WorldModel):
    """A world with a streaming denoiser, and a head that reads what it has computed."""

    config: StreamingConfig
    stored_dtype = torch.float16
    precision: Precision = "float32"
    """float32: strict, convolutions too, which cuDNN would make in TF32; matrix products as
    `torch.set_float32_matmul_precision` has them, which is strict unless somebody asked for less.
    bf16: large matrix products and convolutions in bfloat16, all else in float32. May be changed
    between steps."""
    action_middle: Tensor
    action_half: Tensor
    state_low: Tensor
    state_high: Tensor
    cells: Tensor

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
        self.plane = Plane(config)
        self.register_buffer("cells", coordinates(*config.latent_shape[1:]), persistent=False)
        self.weights_changed()

    @property
    def device(self) -> torch.device:
        return self.denoiser.position.device

    @torch.inference_mode(False)  # a state can be reset outside of a caller's inference mode
    @in_own_precision
    def start(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
        observations: Mapping[str, np.ndarray | Tensor] | None = None,
    ) -> StreamingState:
        """See `WorldModel.start`; the whole clip goes through the network, frame by frame."""
        frames, actions, seeds, given = self._check_clips(frames, actions, seeds, observations)
        num_envs, num_frames = frames.shape[:2]
        known = self._scaled(given, (num_envs, num_frames))
        latents = encode_clip(self.codec, frames_to_pixels(frames))
        actions = self.scale_actions(actions)
        ring = self.denoiser.empty_ring(num_envs)
        before = latents[:, 0]
        past = latents.new_zeros(num_envs, 2, self.config.state_dim)
        controls = latents.new_zeros(num_envs, self.config.control_dim)
        acted = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        read = self._look(latents[:, 0], before, controls, acted, ring, known[:, 0])
        past = self._pass(self._pass(past, read), read)  # before the first frame, nothing moved
        for t in range(1, num_frames):
            before = latents[:, t - 1]
            controls = self.next_controls(actions[:, t - 1], controls, acted, past)
            acted = torch.ones_like(acted)
            ring.advance()
            read = self._look(latents[:, t], before, controls, acted, ring, known[:, t])
            past = self._pass(past, read)
        return StreamingState(
            latents=latents[:, -1].clone(),
            ring=ring,
            before=before.clone(),
            controls=controls,
            acted=acted,
            past=past,
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(self._shown(num_envs, frames[:, -1].clone(), read)),
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

    @torch.no_grad()
    def step_(self, state: StreamingState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        action = self._check_actions(action, (len(state),))
        state.output = self._output(self._run(state, action, frames=True))
        return state.output

    @torch.no_grad()
    def rollout(
        self,
        state: StreamingState,
        actions: np.ndarray | Tensor,
        *,
        return_frames: bool = False,
        share_noise: bool = True,
    ) -> RolloutOutput:
        """See `WorldModel.rollout`; a world of one denoising pass takes no noise, shared or not."""
        rows, actions, shape = self._check_candidates(state, actions)
        seeds, state = state.seeds, state.select(rows)
        if not share_noise:
            state.seeds = candidate_seeds(seeds, shape[1])
        made = [
            self._run(state, actions[:, h], frames=return_frames) for h in range(actions.shape[1])
        ]
        return self._joined(made, shape)

    @property
    def foresees(self) -> bool:
        """Whether it predicts states and judges by them, as `foresee` needs."""
        return self.reader is not None and self.config.reward_head

    @in_own_precision
    def foresee(self, state: StreamingState, actions: np.ndarray | Tensor) -> RolloutOutput:
        """A rollout in states alone: the foresight guesses them, the judge says their worth.

        No picture is drawn, so it costs a hundredth and less of `rollout`, and nothing that a
        picture would have corrected is corrected (as planners in latent spaces go without
        decoding: Dreamer, Hafner et al., arXiv 1912.01603).

        Args:
            state: B environments; it is not changed.
            actions: (B, K, H, A), in the environment's own units, K and H at least 1.

        Raises:
            ValueError: The world does not predict states and judge by them, or actions do not fit.
        """
        if not self.foresees:
            raise ValueError(
                f"world {self.config.name!r} does not foresee states and judge by them; use "
                "rollout, or train a world that sees states from data with rewards"
            )
        rows, actions, shape = self._check_candidates(state, actions)
        actions = self.scale_actions(actions)
        rows = state.rows(rows)
        controls, acted, past = (x[rows] for x in (state.controls, state.acted, state.past))
        made = []
        for h in range(actions.shape[1]):
            controls = self.next_controls(actions[:, h], controls, acted, past)
            acted = torch.ones_like(acted)
            guess = self.denoiser.foresight(controls)
            read = self.head(guess, guess, certain=True)
            past = self._pass(past, read)
            made.append(self._shown(len(rows), None, read))
        return self._joined(made, shape)

    def _joined(self, made: list[dict[str, Tensor]], shape: tuple[int, int]) -> RolloutOutput:
        """What steps handed out for B * K rows, as candidates' (B, K) = `shape`."""
        joined = {
            name: torch.stack([shown[name] for shown in made], 1).unflatten(0, shape)
            for name in made[0]
        }
        return RolloutOutput(
            reward=joined["reward"],
            terminated=joined["terminated"],
            frames=joined.get("frame"),
            states=self._named(joined),
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
        return self._shown(len(state), frame, read)

    def advance(
        self, state: StreamingState, action: Tensor, states: Tensor | None = None
    ) -> dict[str, Tensor]:
        """One step in latents, in place: denoise the next frame.

        The newest frame, which is clean, and the one to draw go through the network together: each
        block writes the newest's keys and values before the other looks for them. So the weights
        are read once and not twice.

        Args:
            state: B environments; its tensors are overwritten, none is replaced.
            action: (B, A), in the environment's own units.
            states: What the newest frame shows and the new one shall, (B, 2, S), as training knows
                it from the record; None for what is foreseen.

        Returns:
            What the head reads off the tokens that drew the new frame.
        """
        sampler, network, ring = self.config.sampler, self._network(), state.ring
        action = self.scale_actions(action)
        controls = self.next_controls(action, state.controls, state.acted, state.past)
        controls = torch.stack((state.controls, controls), dim=1)  # (B, 2, U)
        acted = torch.stack((state.acted, torch.ones_like(state.acted)), dim=1)
        previous = torch.stack((state.before, state.latents), dim=1)
        levels = sampled_levels(sampler, self.device)[:-1, None, None].expand(-1, len(state), 1)
        both = torch.cat((torch.zeros_like(levels[:1]), levels[:1]), dim=2)  # (1, B, 2)
        [first] = network.passes(both, controls, acted, ring, states)
        further: list[StreamedPass] = []
        tokens = state.latents

        def denoise(noisy: Tensor, step: int) -> Tensor:
            nonlocal further, tokens
            if step > 0:
                told = further[step - 1]
                change, tokens = network.stream(noisy[:, None], previous[:, 1:], told, ring)
                return change
            noisy = torch.stack((state.latents - state.before, noisy), dim=1)
            change, tokens = network.stream(noisy, previous, first, ring)
            ring.advance()
            if len(levels) > 1:
                wanted = None if states is None else states[:, 1:]
                further = network.passes(levels[1:], controls[:, 1:], acted[:, 1:], ring, wanted)
            return change

        change = sample_change(denoise, self._noise(state), sampler)
        read = self.head(tokens, first.told.guess)
        past = self._pass(state.past, read)
        change = self.confined(change, state.past[:, 0], past)
        state.before.copy_(state.latents)
        state.latents.copy_(self.codec.settle(state.latents + change))
        state.controls.copy_(controls[:, 1])
        state.acted.fill_(True)
        state.past.copy_(past)
        state.steps.add_(1)
        return read

    @torch.no_grad()
    def doubt_(self, state: StreamingState) -> None:
        """See `WorldModel.doubt_`: states are known no better than training had them known, and
        what a push does can hang on less. Both frames' are displaced alike: nothing seems to
        move."""
        if self.reader is None:
            return
        shape = (1, self.config.state_dim)
        noise = counted_noise(state.seeds, state.steps, shape, stream=DOUBT)
        moved = (state.past + UNSURE_SCALE * noise).clamp(-1, 1)
        state.past.copy_(self.plane.upright(moved))

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (actions.to(self.device) - self.action_middle) / self.action_half

    def next_controls(self, actions: Tensor, before: Tensor, acted: Tensor, past: Tensor) -> Tensor:
        """Controls (B, U) of actions (B, A) after those `before` (B, U), where these `acted`."""
        last = before[:, : self.config.action_dim]
        last = torch.where(acted[:, None], last, torch.nan)
        return join_controls(actions, last, past[:, 1], past[:, 0], self.config)

    def confined(self, change: Tensor, earlier: Tensor, past: Tensor) -> Tensor:
        """A change (B, C, h, w) where the picture may change: see `PlaneConfig.reach`.

        `earlier`: states (B, S) one frame before those of `past` (B, 2, S), the new frame's last.
        """
        if not self.config.plane.reach:
            return change
        touched = self.plane.touched(earlier, past[:, 0], past[:, 1], self.cells)
        return change * touched.unflatten(1, change.shape[-2:])[:, None]

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

    @in_own_precision
    def _run(self, state: StreamingState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """`predict`, through a graph where the world captures; tensors of their own."""
        if not self.captures:
            return self.predict(state, action, frames=frames)
        if self._graphs is None:
            from world_model.streaming.graph import CapturedSteps

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

    def weights_changed(self) -> None:
        """See `WorldModel.weights_changed`."""
        self._narrow: tuple[StreamingDenoiser] | None = None
        self._graphs: Callable[..., dict[str, Tensor]] | None = None
        self._start_cache = StartCache()

    def __getstate__(self) -> dict[str, Any]:
        """Of pickles and copies, which cannot hold graphs."""
        return self.__dict__ | {"_narrow": None, "_graphs": None}

    def _pass(self, past: Tensor, read: dict[str, Tensor]) -> Tensor:
        """States of the last two frames (B, 2, S), one frame on."""
        if not self.config.state_dim:
            return past
        return torch.stack((past[:, 1], self.head.state(read)), dim=1)

    def _noise(self, state: StreamingState) -> Tensor:
        """What a step's sampling starts from, (B, C, h, w).

        In one pass none of it gets in (`streaming.informative`), so none is computed.
        """
        sampler = self.config.sampler
        if sampler.num_steps == 1:
            return torch.zeros_like(state.latents)
        noise = counted_noise(state.seeds, state.steps, self.config.latent_shape)
        return sampler.noise_scale * noise

    def _scaled(self, given: dict[str, Tensor], leading: tuple[int, int]) -> Tensor:
        """Observations by name (B, T, n) as states (B, T, S) within [-1, 1]; NaN where none is
        given."""
        known = self.state_low.new_full((*leading, self.config.state_dim), torch.nan)
        parts = self.head.parts(known)
        for name, values in given.items():
            parts[name].copy_(values)
        return 2 * (known - self.state_low) / (self.state_high - self.state_low) - 1

    def _look(
        self,
        latents: Tensor,
        before: Tensor,
        controls: Tensor,
        acted: Tensor,
        ring: Ring,
        known: Tensor,
    ) -> dict[str, Tensor]:
        """Write a given frame (B, C, h, w) as the ring's newest; what is read off it.

        A world that sees states has a reader for them; else the head reads the tokens. What is
        `known` of the states, (B, S), is taken as it is; NaN is what is not.
        """
        network = self._network()
        controls, acted, before = controls[:, None], acted[:, None], before[:, None]
        clean = controls.new_zeros(1, *acted.shape)
        [told] = network.passes(clean, controls, acted, ring)
        tokens = network.remember(latents[:, None] - before, before, told, ring)
        if self.reader is not None:
            states = torch.where(known.isnan(), self.reader(latents), known)
            return self.head(tokens, states, certain=True)
        read = self.head(tokens, told.told.guess)
        for name, part in self.head.parts(known).items():
            read[name] = torch.where(part.isnan(), read[name], part)
        return read

    def _shown(
        self, num_envs: int, frame: Tensor | None, read: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """What a step hands out, as `predict` says; a world may read nothing off its frames."""
        config = self.config
        if config.reward_head:
            reward = read["reward"].float().clamp(config.reward_low, config.reward_high)
            terminated = read["end"].float().sigmoid() > config.termination_threshold
        else:
            reward = torch.zeros(num_envs, device=self.device)
            terminated = torch.zeros_like(reward, dtype=torch.bool)
        shown = {"reward": reward, "terminated": terminated}
        if config.tracked:
            span = self.state_high - self.state_low
            shown["states"] = self.state_low + (self.head.state(read).float() + 1) / 2 * span
        return shown if frame is None else shown | {"frame": frame}

    def _output(self, shown: dict[str, Tensor]) -> StepOutput:
        return StepOutput(
            frame=shown["frame"],
            reward=shown["reward"],
            terminated=shown["terminated"],
            states=self._named(shown),
        )

    def _named(self, shown: dict[str, Tensor]) -> dict[str, Tensor]:
        """States (..., S) of what a step hands out, by name (..., n)."""
        return self.head.parts(shown["states"]) if self.config.tracked else {}
