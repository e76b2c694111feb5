"""The chunk engine's world: a reference model predicts T - 1 frames at once from the last one.

A single step runs a whole chunk too, the one action repeated, and keeps its first frame; several
actions at once cost no more than one. What came before the last frame is not seen.

Dimensions: B environments, K candidates, H horizon, k actions, T frames a chunk, A action,
C channels, h w latent cells.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from world_model.chunk_config import ChunkConfig
from world_model.chunk_sampling import sample_chunk
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.irasim import IRASim, IRASimConfig
from world_model.noise import counted_index, counted_noise
from world_model.starts import Starts
from world_model.unet3d import UNet3D
from world_model.world import ChunkOutput, RolloutOutput, StepOutput, WorldModel, WorldState

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

    @property
    def device(self) -> torch.device:
        return self.denoiser.null_action.device

    @torch.no_grad()
    def start(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
    ) -> WorldState:
        """See `WorldModel.start`; of a clip only the last frame matters."""
        frames, _, seeds = self._check_clips(frames, actions, seeds)
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

    @torch.no_grad()
    def step_chunk_(self, state: WorldState, actions: np.ndarray | Tensor) -> ChunkOutput:
        """See `WorldModel.step_chunk_`; more than T - 1 actions are predicted chunk by chunk."""
        actions = self._check_chunk(state, actions)
        latents = torch.cat([self._predict(state, part) for part in self._split(actions)], 1)
        # One frame at a time, as a decoder takes far more memory than its picture.
        frames = [pixels_to_frames(self.codec.decode(frame)) for frame in latents.unbind(1)]
        output = self._output(torch.stack(frames, 1))
        state.output = output.at(-1)
        return output

    @torch.no_grad()
    def rollout(
        self, state: WorldState, actions: np.ndarray | Tensor, *, return_frames: bool = False
    ) -> RolloutOutput:
        """See `WorldModel.rollout`; predicted chunk by chunk.

        There is no reward to predict: without `return_frames` there is nothing to do.
        """
        rows, actions, shape = self._check_candidates(state, actions)
        nothing = torch.zeros(*shape, actions.shape[1], device=self.device)
        frames = self.step_chunk_(state.select(rows), actions).frames if return_frames else None
        return RolloutOutput(
            reward=nothing,
            terminated=nothing.bool(),
            frames=None if frames is None else frames.unflatten(0, shape),
        )

    def _split(self, actions: Tensor) -> tuple[Tensor, ...]:
        """Actions (B, k, A) in parts of at most T - 1."""
        return actions.split(self.config.actions_at_once, dim=1)

    def _predict(self, state: WorldState, actions: Tensor) -> Tensor:
        """The latents (B, k, C, h, w) that k <= T - 1 actions lead to; advances the state."""
        config = self.config
        sampler = config.sampler
        chunk_shape = (config.chunk_frames, *state.latents.shape[1:])
        draws = counted_index(state.seeds, state.steps, 2**62, stream=_DRAWS_STREAM)
        latents = sample_chunk(
            self.denoiser,
            state.latents[:, None],
            actions * actions.new_tensor(config.action_scale),
            noise=counted_noise(state.seeds, state.steps, chunk_shape),
            sampler=sampler.name,
            num_steps=sampler.num_steps,
            guidance=sampler.guidance,
            generator=[torch.Generator(self.device).manual_seed(s) for s in draws.tolist()],
        )
        state.latents = latents[:, -1]
        state.steps = state.steps + actions.shape[1]
        return latents[:, 1:]

    def _output(self, frames: Tensor) -> ChunkOutput:
        """Frames (B, k, H, W, 3) with the reward and the end that this engine does not know."""
        nothing = torch.zeros(frames.shape[:2], device=self.device)
        return ChunkOutput(frames=frames, reward=nothing, terminated=nothing.bool(), states={})
