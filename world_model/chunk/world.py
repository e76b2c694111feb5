"""The chunk engine's world: a reference model predicts T - 1 frames at once from the last one.

A single step runs a whole chunk too, the one action repeated, and keeps its first frame; several
actions at once cost no more than one. It conditions on the last frame only.

Dimensions: B environments, K candidates, H horizon, k actions, T frames a chunk, A action,
C channels, h w latent cells.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_model.chunk.config import ChunkConfig
from world_model.chunk.irasim import IRASim, IRASimConfig
from world_model.chunk.sampler import ChunkSampler
from world_model.chunk.unet3d import UNet3D
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.io.starts import Starts
from world_model.runtime.counter_rng import counted_index, counted_noise
from world_model.runtime.precision import Precision, in_own_precision
from world_model.state import ChunkOutput, RolloutOutput, StepOutput, WorldState
from world_model.world import WorldModel

# Keys the streams of ddpm's own draws; a chunk's first noise is stream 0.
_DRAWS_STREAM = 1


class ChunkWorld(WorldModel):
    """A world around a denoiser of chunks. It knows no reward and no end.

    Args:
        config: What the world is.
        starts: Where its episodes begin.
        denoiser: The denoiser of `config`, where there is one already; default a fresh one.
    """

    config: ChunkConfig
    stored_dtype = torch.float32  # an imported model gives the reference's figures
    built_on = "meta"  # no gigabytes of random numbers, to be thrown away
    precision: Precision = "float32"
    """float32: the reference's figures, strict in convolutions too, which cuDNN would make in TF32.
    bf16: the quick one, which also computes a transformer's adaLN parameters of all steps at once.
    May be changed between steps."""
    decode_frames: int | None = None
    """Frames that the codec decodes at once: a decoder takes far more memory than its pictures.
    None: 8 on a GPU, 1 elsewhere, where more gain little."""
    denoiser: IRASim | UNet3D

    def __init__(
        self,
        config: ChunkConfig,
        starts: Starts | None = None,
        denoiser: IRASim | UNet3D | None = None,
    ):
        super().__init__(config, starts)
        if denoiser is None:
            denoiser = (
                IRASim(config.denoiser)
                if isinstance(config.denoiser, IRASimConfig)
                else UNet3D(config.denoiser)
            )
        assert denoiser.config == config.denoiser, "the denoiser is another than the config's"
        self.denoiser = denoiser
        self.weights_changed()

    @property
    def device(self) -> torch.device:
        return self.denoiser.null_action.device

    def started(
        self, frames: Tensor, actions: Tensor, seeds: Tensor, observations: dict[str, Tensor]
    ) -> WorldState:
        """See `WorldModel.start`; of a clip only the last frame matters."""
        last = frames[:, -1].clone()
        return WorldState(
            latents=self.codec.encode(frames_to_pixels(last)),
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(last[:, None]).at(0),
        )

    def step_(self, state: WorldState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        self.step_chunk_(state, self._check_actions(action, (len(state),))[:, None])
        return state.output

    @in_own_precision
    def step_chunk_(self, state: WorldState, actions: np.ndarray | Tensor) -> ChunkOutput:
        """See `WorldModel.step_chunk_`; more than T - 1 actions are predicted chunk by chunk."""
        actions = self._check_chunk(state, actions)
        latents = torch.cat([self._predict(state, part) for part in self._split(actions)], 1)
        output = self._output(self._decode(latents))
        state.output = output.at(-1)
        return output

    def rolled_out(
        self, state: WorldState, actions: Tensor, shape: tuple[int, int], *, frames: bool
    ) -> RolloutOutput:
        """See `WorldModel.rollout`; predicted chunk by chunk.

        There is no reward to predict: without frames there is nothing to do.
        """
        nothing = torch.zeros(*shape, actions.shape[1], device=self.device)
        made = self.step_chunk_(state, actions).frames.unflatten(0, shape) if frames else None
        return RolloutOutput(reward=nothing, terminated=nothing.bool(), frames=made)

    def _split(self, actions: Tensor) -> tuple[Tensor, ...]:
        """Actions (B, k, A) in parts of at most T - 1."""
        return actions.split(self.config.actions_at_once, dim=1)

    def _predict(self, state: WorldState, actions: Tensor) -> Tensor:
        """The latents (B, k, C, h, w) that k <= T - 1 actions lead to; advances the state."""
        config = self.config
        chunk_shape = (config.chunk_frames, *state.latents.shape[1:])
        generators = None
        if config.sampler.name == "ddpm":
            draws = counted_index(state.seeds, state.steps, 2**62, stream=_DRAWS_STREAM)
            generators = [torch.Generator(self.device).manual_seed(s) for s in draws.tolist()]
        latents = self._sampler()(
            state.latents[:, None],
            actions * actions.new_tensor(config.action_scale),
            counted_noise(state.seeds, state.steps, chunk_shape),
            generators,
        )
        state.latents = latents[:, -1]
        state.steps = state.steps + actions.shape[1]
        return latents[:, 1:]

    def _sampler(self) -> ChunkSampler:
        """The sampler of the present settings, kept with its graphs."""
        config = self.config.sampler
        # ddpm draws as it goes, so that it is captured only where that is asked for, and refused.
        graph = self.captures and not (self.graph is None and config.name == "ddpm")
        key = (config, self.precision, graph)
        if key not in self._samplers:
            in_bf16 = self.precision == "bf16"
            self._samplers[key] = ChunkSampler(
                self.denoiser,
                config,
                precision=self.precision,
                graph=graph,
                tabulate=in_bf16 and isinstance(self.denoiser, IRASim),
            )
        return self._samplers[key]

    def weights_changed(self) -> None:
        """See `WorldModel.weights_changed`."""
        self._samplers: dict[object, ChunkSampler] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Of pickles and copies, which cannot hold graphs."""
        return self.__dict__ | {"_samplers": {}}

    def _decode(self, latents: Tensor) -> Tensor:
        """Latents (B, k, C, h, w) as frames uint8 (B, k, H, W, 3)."""
        at_once = self.decode_frames
        if at_once is None:
            at_once = 8 if self.device.type == "cuda" else 1
        parts = latents.flatten(0, 1).split(at_once)
        frames = torch.cat([pixels_to_frames(self.codec.decode(part)) for part in parts])
        return frames.unflatten(0, latents.shape[:2])

    def _output(self, frames: Tensor) -> ChunkOutput:
        """Frames (B, k, H, W, 3) with the reward and the end that this engine does not know."""
        nothing = torch.zeros(frames.shape[:2], device=self.device)
        return ChunkOutput(frames=frames, reward=nothing, terminated=nothing.bool(), states={})
