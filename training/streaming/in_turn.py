"""The loss of a U-Net: the frames of a clip in turn, each drawn over the one that was just drawn.

A transformer draws all frames of a clip at once, so that its own rollouts take rounds of their own
(objective.py). A U-Net sees two frames of the past and draws each frame by itself: here a rollout
costs nothing, since each of its steps is one that is learned from. Gradients do not go from a step
into the one before: each learns to lead back from where the others have led (the pushforward trick:
Brandstetter et al., arXiv 2202.03376). Rollouts begin with one step, when a network still has to
find out what moves, and grow. What the head reads does not shape the network: that learns from
frames and actions alone.

Dimensions: B clips, T frames, C channels, h w latent cells.
"""

import torch
from torch import Tensor

from training.streaming.objective import Batch, StreamingObjective, frame_error, head_loss
from world_model.streaming.sampler import outside
from world_model.streaming.unet import UNetDenoiser
from world_model.streaming.world import StreamingWorld

GIVEN = 2
"""Frames of a clip that are given: the last one, and the one before it, which says what moves."""
MOVES = 0.06
"""What differs by more than this has moved (frames are in [-1, 1]; a grey level is 0.0078)."""


class InTurnObjective(StreamingObjective):
    """Draws the frames of a batch in turn."""

    def __init__(self, world: StreamingWorld, *, motion_weight: float = 0.0, **weights: float):
        """`motion_weight` is that of pixels that move or are drawn wrongly, beside 1 for all."""
        super().__init__(world, **weights)
        self.motion_weight = motion_weight

    def errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `StreamingObjective.errors`; those of a clip's first `GIVEN` frames are zero."""
        network = self.denoiser
        assert isinstance(network, UNetDenoiser), "drawn in turn by a U-Net"
        conditioning = self.conditioning(batch, batch.wanted)
        threshold, inputs = self.config.sampler.change_threshold, batch.inputs
        frame, last = inputs[:, GIVEN - 1], inputs[:, GIVEN - 1] - inputs[:, GIVEN - 2]
        errors, tokens = [torch.zeros_like(batch.levels[:, 0])] * GIVEN, []
        for t in range(GIVEN, inputs.shape[1]):
            target, level = batch.latents[:, t], batch.levels[:, t]
            weight = level[:, None, None, None]
            noisy = (1 - weight) * (inputs[:, t] - frame) + weight * batch.noise[:, t]
            made, read = network.draw(
                noisy[:, None],
                frame[:, None],
                last[:, None],
                level[:, None],
                conditioning.frame(t),
            )
            made = made[:, 0].float()
            errors.append(self._error(made - (target - frame), target - batch.latents[:, t - 1]))
            tokens.append(read)
            drawn = self.settle(frame + outside(made.detach(), threshold))
            frame, last = drawn, drawn - frame
        nothing = torch.zeros_like(tokens[0]).expand(-1, GIVEN, -1, -1)
        read = self.conditioner.read(
            self.head(torch.cat((nothing, *tokens), dim=1).float().detach()),
            conditioning.prediction,
            conditioning.before,
        )
        learned = torch.arange(inputs.shape[1], device=inputs.device) >= GIVEN
        return torch.stack(errors, dim=1), learned * head_loss(read, batch, self.config)

    def _error(self, wrong: Tensor, motion: Tensor) -> Tensor:
        """Errors (B,) of changes that are wrong by (B, C, h, w), where so much moves."""
        moved = torch.maximum(wrong.detach().abs(), motion.abs()).amax(dim=1, keepdim=True) > MOVES
        weights = (1 + self.motion_weight * moved)[:, None]
        return frame_error(wrong[:, None], self.edge_weight, self.absolute_weight, weights)[:, 0]
