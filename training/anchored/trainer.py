"""Trains an anchored world's painter, on pairs of frames of an episode, any distance apart.

Dimensions: F frames of all episodes, B pairs, S components of all states, H W pixels.
"""

import time
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from training.anchored.adversary import Adversary
from training.anchored.config import AnchoredTrainConfig
from training.anchored.fit import Fitted, fit_dynamics, run_freely, run_from_rest
from training.anchored.references import choose_frames, nearest_of_others, states_metric
from training.data.clips import ClipStore
from training.run.config import seconds
from training.run.directory import STATE
from training.run.resumable import ResumableTrainer
from world_model.anchored.painter import Given, Painted
from world_model.anchored.world import AnchoredWorld
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index, counted_uniform

STREAM = 41
"""Of the counted numbers of one step's samples."""
REFERENCE_STREAM = 42
"""Of the counted numbers that choose their references."""
NEAR = 12
"""Frames from an anchor that count as near it."""
LEVEL = 2 / 255
"""A grey level where pictures span [-1, 1]."""
STILL_LEVELS, STILL_AROUND = 10, 5
"""Where no pixel of so large a neighbourhood differs by so many grey levels nothing has moved."""
SQUARE_SCALE, LOGARITHM_SCALE = 20.0, 0.3
"""They bring both losses to gradients of one size, about."""


class PainterTrainer(ResumableTrainer):
    """Trains painter, head and state estimator; fits the dynamics before the first step."""

    state_name = STATE
    report_every = 20

    def __init__(
        self,
        world: AnchoredWorld,
        store: ClipStore,
        config: AnchoredTrainConfig,
        accelerator: Accelerator,
    ):
        if accelerator.num_processes > 1:
            raise ValueError(
                f"{accelerator.num_processes} processes: this preset trains in one; start it "
                "without accelerate launch"
            )
        trained = nn.ModuleDict(
            {"painter": world.painter, "estimator": world.estimator, "head": world.head}
        ).requires_grad_(True)
        super().__init__(
            trained,
            accelerator,
            rate=config.rate,
            betas=(0.9, 0.98),
            clip_norm=config.clip_norm,
            ema=config.ema,
        )
        self.world, self.store, self.config = world, store, config
        known = world.scaled_states(store.states, (len(store.frames),))
        self.recorded = known.clamp(-1, 1).float()  # (F, S)
        self.fitted, followed = self._fit()
        self.followed = followed  # (F, S)
        self.explained = followed * world.dynamics.explained  # (F, S)
        self.references = self._keep_references()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.adversary = Adversary(config.sharpen_weight).to(accelerator.device)
        self.offsets = torch.as_tensor(store.offsets, device=accelerator.device)

    def _fit(self) -> tuple[Fitted, Tensor]:
        """Fit the world's dynamics; the states (F, S) that they say of each episode, as the world
        would from its first frame."""
        world, config = self.world, self.config
        states = self.recorded.cpu().double().numpy()
        actions = world.scale_actions(self.store.actions).cpu().double().numpy()
        spans = [slice(a, b) for a, b in pairwise(self.store.offsets)]
        fitted = fit_dynamics([states[s] for s in spans], [actions[s] for s in spans], config.lags)
        law = world.dynamics
        for name, buffer in law.named_buffers():
            numbers = torch.from_numpy(getattr(fitted, name)).float()
            buffer.copy_(numbers.to(world.stored_dtype))  # as it will be kept
        weight, rest = (x.cpu().double().numpy() for x in (law.weight, law.rest))
        runs = []
        for span in spans:
            lawful = run_from_rest(weight, rest, actions[span][:2], config.lags)[:1]
            near = np.abs(states[span][:1] - lawful) <= law.tolerance.cpu().double().numpy()
            begun = np.concatenate((np.where(near, lawful, states[span][:1]), states[span][1:]))
            runs.append(run_freely(weight, begun, actions[span], config.lags))
        return fitted, torch.from_numpy(np.concatenate(runs)).to(self.recorded)

    def _keep_references(self) -> Tensor | None:
        """Choose the frames that the world keeps; of each frame those that may be its reference in
        training, flat numbers (F, CANDIDATES)."""
        kept, store = self.world.references, self.store
        if kept is None:
            return None
        metric = states_metric(store.frames, self.explained, store.offsets)
        kept.metric.copy_(metric.to(self.world.stored_dtype))  # as it will be kept
        placed = self.explained @ kept.metric
        chosen = choose_frames(placed, len(kept.frames))
        kept.frames.copy_(store.frames[chosen])
        kept.states.copy_(self.explained[chosen].to(self.world.stored_dtype))
        return nearest_of_others(placed, chosen, store.offsets)

    def fraction(self) -> float:
        """See `ResumableTrainer.share_done`."""
        return self.share_done(self.config.max_steps, seconds(self.config.budget))

    def train_step(self) -> dict[str, float]:
        """One optimizer step; now and then its losses."""
        begin, share, config = time.perf_counter(), self.fraction(), self.config
        self._set_rate(share)
        anchors, shows = self._pairs()
        given, true = self._given(anchors, shows), self._pictures(shows)
        with self.accelerator.autocast():
            painted, wanted, by = self._paint(given, true, shows, share)
            reward = self._reward_loss(given, shows)
            estimated = self._estimator_loss(true, shows)
        square = (painted.frame - wanted).square().flatten(1).mean(1)
        if share < config.logarithm_from:
            loss = SQUARE_SCALE * square.mean()
        else:
            floor = (config.floor * LEVEL) ** 2
            loss = LOGARITHM_SCALE * (square + floor).log().mean()
        loss = loss + config.still_weight * still_loss(painted, wanted, by)
        if share >= config.sharpen_from:
            with self.accelerator.autocast():
                # Where nothing has moved there is nothing to sharpen, and rest would be lost.
                moved = torch.where(still(wanted, by), wanted, painted.frame)
                self.adversary.learn(moved, wanted, by)
                last = self.world.painter.refine_out.weight
                loss = loss + self.adversary.loss(moved, by, loss, last)
        self.accelerator.backward(loss + reward + estimated)
        self.apply_gradients()
        figures = {}
        if self.progress.step % self.report_every == 0:
            figures = {
                "loss/psnr": float(-10 * (square.detach().mean() / 4).log10()),
                "loss/reward": float(reward.detach()),
                "loss/estimator": float(estimated.detach()),
                "rate": self.optimizer.param_groups[0]["lr"],
            }
        return self.count_step(begin, config.batch, figures)

    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Anchors and the frames to paint, the same or later, flat numbers (B,) each."""
        config, device = self.config, self.accelerator.device
        first = self.progress.step * config.batch
        samples = torch.arange(first, first + config.batch, device=device)
        seeds = torch.full_like(samples, config.seed)
        where, back, kind, near = counted_uniform(seeds, samples, (4,), stream=STREAM).unbind(1)
        # Any frame but an episode's first, all alike: their numbers, with those firsts left out.
        ends = (self.offsets.diff() - 1).cumsum(0)
        number = (where * ends[-1]).long().clamp(max=int(ends[-1]) - 1)
        episodes = torch.searchsorted(ends, number, right=True)
        shows = number + episodes + 1
        begins = self.offsets[episodes]
        anchors = begins + (back * (shows - begins)).long()
        anchors = torch.where(kind < config.first_anchored, begins, anchors)
        recent = torch.maximum(begins, shows - (back * (NEAR + 1)).long())
        return torch.where(near < config.near, recent, anchors), shows

    def _pictures(self, index: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1]."""
        return frames_to_pixels(self.store.frames[index])

    def _given(self, anchors: Tensor, shows: Tensor) -> Given:
        """What frames are painted from, as the world has it; a reference by chance, one of the
        nearest, so that the painter learns to use one that is not quite where it should be."""
        known = self._pictures(anchors), self.explained[anchors]
        if self.references is None:
            return Given(*known)
        config, (batch, candidates) = self.config, (len(shows), self.references.shape[1])
        first = self.progress.step * config.batch
        samples = torch.arange(first, first + batch, device=shows.device)
        seeds = torch.full_like(samples, config.seed)
        pick = counted_index(seeds, samples, candidates, stream=REFERENCE_STREAM)
        reference = self.references[shows, pick]
        return Given(*known, self._pictures(reference), self.explained[reference])

    def _paint(
        self, given: Given, true: Tensor, shows: Tensor, share: float
    ) -> tuple[Painted, Tensor, Tensor]:
        """Frames, what they should be and their anchors: coarse at first, then at full size."""
        painter, anchor = self.world.painter, given.anchor
        sketch = painter.sketch(given, self.explained[shows])
        if share < self.config.refine_from:
            coarse = F.avg_pool2d(true, painter.coarse), F.avg_pool2d(anchor, painter.coarse)
            return painter.sketched(sketch, given), *coarse
        return painter.refined(sketch, given), true, anchor

    def _reward_loss(self, given: Given, shows: Tensor) -> Tensor:
        """Error of reward and end as read off what is painted; unknown rewards count nothing."""
        world, config = self.world, self.world.config
        if not config.reward_head:
            return given.anchor.new_zeros(())
        with torch.no_grad():  # the painter stays what it is
            sketch = world.painter.sketch(given, self.explained[shows])
        reward, end = world.read_reward(self.followed[shows], sketch.pooled).unbind(-1)
        known = ~self.store.rewards[shows].isnan()
        wanted = torch.where(known, self.store.rewards[shows], 0.0)
        scale = 0.1 * (config.reward_high - config.reward_low)
        loss = F.smooth_l1_loss(reward / scale, wanted / scale, reduction="none")
        ended = self.store.ended[shows].float()
        loss = loss + F.binary_cross_entropy_with_logits(end, ended, reduction="none")
        return (loss * known).sum() / known.sum().clamp(min=1)

    def _estimator_loss(self, true: Tensor, shows: Tensor) -> Tensor:
        """Error of states read off recorded frames."""
        read = self.world.estimator(true)
        return F.smooth_l1_loss(10 * read, 10 * self.recorded[shows])

    def _set_rate(self, share: float) -> None:
        config = self.config
        rise = min(1.0, (self.progress.step + 1) / max(1, config.warmup))
        fall = min(1.0, max(0.02, (1 - share) / max(1 - config.decay_from, 1e-9)))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * rise * fall

    def _more_state(self) -> dict[str, Tensor]:
        return self.adversary.tensors()

    def _load_more_state(self, tensors: dict[str, Tensor]) -> None:
        self.adversary.load(tensors)


def still(true: Tensor, anchor: Tensor) -> Tensor:
    """Where a frame (B, 3, H, W) shows what its anchor does, bool (B, 1, H, W)."""
    change = (true - anchor).abs().amax(dim=1, keepdim=True)
    around = F.max_pool2d(change, STILL_AROUND, stride=1, padding=STILL_AROUND // 2)
    return around < STILL_LEVELS * LEVEL


def still_loss(painted: Painted, true: Tensor, anchor: Tensor) -> Tensor:
    """How far the blend is from the anchor where nothing has moved, ().

    There recorded frame and anchor agree, so that the anchor's weight has a label for free. Without
    it the network redraws the background of each training episode from memory.
    """
    where = still(true, anchor).float()[:, 0]
    return -(where * painted.weights[:, 0].clamp(min=1e-4).log()).mean()
