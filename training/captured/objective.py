"""The streaming objective as a function of numbers on the device, fit for a captured graph.

Which clips, how deep each goes into the model's own predictions, and how many are counted is fixed
by their place in the batch or computed on the device, so nothing waits for the host.

Dimensions: B clips, T frames, C channels, h w latent cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.captured.device_store import DeviceStore
from training.captured.whole_step import in_autocast
from training.streaming.heads import drawn_loss
from training.streaming.objective import (
    Batch,
    StreamingObjective,
    before,
    make_batch,
    read_frames,
)
from world_model import StreamingWorld
from world_model.streaming.conditioning import Conditioning


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """How the clips of a phase see the frames before them."""

    share: float = 0.0
    """Of the clips, those whose frames before are the model's own predictions."""
    rounds: int = 0
    """How many predictions deep these go."""
    smeared: bool = False
    """Whether frames before are damaged besides: see `training.streaming.objective.Smear`."""


class CapturedObjective(StreamingObjective):
    """As `StreamingObjective`; the first clips of a batch are rolled, all equally deep."""

    rollouts = Rollouts()

    @torch.no_grad()
    def roll(self, batch: Batch, conditioning: Conditioning) -> Tensor:
        """The frame before each (B, T, C, h, w): recorded, or the model's own."""
        previous = before(batch.inputs)
        count = int(self.rollouts.share * len(previous))
        if not count:
            return previous
        rolled, first = previous[:count], batch.inputs[:count, 0]
        noise, ones = batch.noise[:count], torch.ones_like(batch.levels[:count])
        conditioning = conditioning.select(slice(count))
        for _ in range(self.rollouts.rounds):
            change, _ = self.denoiser(noise, rolled, ones, conditioning)
            made = self.settle(rolled + change)
            rolled = before(made, first=first).to(previous.dtype)
        return torch.cat((rolled, previous[count:]))


class ClipLoss:
    """Losses of the clips whose turn it is; a counter on the device says which these are.

    Args:
        world: Is trained.
        store: Where clips come from, and where their losses are kept in mind.
        objective: Of the world.
        seed: With the counter it fixes clips, noise and levels.
        num_clips: B.
        num_frames: T.
        autocast: Whether the network's products are in bfloat16.
    """

    def __init__(
        self,
        world: StreamingWorld,
        store: DeviceStore,
        objective: CapturedObjective,
        *,
        seed: int,
        num_clips: int,
        num_frames: int,
        autocast: bool,
    ):
        self.world, self.store, self.objective = world, store, objective
        self.seed, self.num_frames, self.autocast = seed, num_frames, autocast
        device = world.device
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self._numbers = torch.arange(num_clips, device=device)

    def drawing(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of the supervised frames, and its two parts."""
        objective, (begins, batch) = self.objective, self._next()
        with in_autocast(self.world.device, self.autocast):
            error, head = objective.errors(batch)
        supervised = batch.supervised
        read = head * read_frames(batch, objective.config)
        total = supervised.sum().clamp(min=1)
        drawing = (error * supervised).sum() / total
        reading = objective.head_weight * read.sum() / total
        each = (error.detach() * supervised).sum(1) / supervised.sum(1).clamp(min=1)
        self.store.note(begins, each)
        return drawing + reading, {"denoiser": drawing.detach(), "head": reading.detach()}

    def head(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The head's mean loss on the tokens that draw a frame, the denoiser staying as it is."""
        (_, batch), world = self._next(), self.world
        autocast = in_autocast(world.device, self.autocast)
        return drawn_loss(world, world.head, self.objective, batch, autocast), {}

    def _next(self) -> tuple[Tensor, Batch]:
        """Where the next clips begin, and the clips made ready."""
        samples = self.count * len(self._numbers) + self._numbers
        self.count += 1
        begins = self.store.pick(torch.full_like(samples, self.seed), samples)
        clips = self.store.clips(begins, self.num_frames)
        smeared = self.objective.rollouts.smeared
        return begins, make_batch(self.world, clips, self.seed, samples, 0, smeared=smeared)
