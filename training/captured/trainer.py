"""The trainer of runs by the clock: whole steps, captured phase by phase."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.captured.clock import Clock
from training.captured.config import GpuTrainConfig
from training.captured.device_store import DeviceStore
from training.captured.objective import CapturedObjective, ClipLoss, Rollouts
from training.captured.whole_step import Launcher, OptimizerName, WholeStep
from training.run.resumable import Progress, ResumableTrainer
from training.streaming.trainer import rate_left
from world_model import StreamingWorld
from world_model.progress import progress_bar
from world_model.streaming.block import Block
from world_model.streaming.denoiser import StreamingDenoiser

REPORT = 2.0  # seconds from one look at the losses to the next: each waits for the device
AHEAD = 2  # steps that the host may be ahead of the device
# Steps a second say how quickly the average may follow: see `decay`.
YOUNG = 10


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What the denoiser learns from, from a share of the budget on."""

    name: str
    begins: float
    rollouts: Rollouts


class CapturedTrainer(ResumableTrainer):
    """Trains a world's denoiser and head by whole steps, for as long as the clock allows."""

    def __init__(
        self,
        world: StreamingWorld,
        store: DeviceStore,
        config: GpuTrainConfig,
        accelerator: Accelerator,
    ):
        # Not ResumableTrainer's own beginning: this optimizer's numbers are on the device.
        self.world, self.store, self.config, self.accelerator = world, store, config, accelerator
        self.step, self.clips = whole_step(
            world,
            store,
            config,
            num_clips=config.batch_clips,
            optimizer=config.optimizer,
            compiled=config.compile_blocks,
        )
        self.objective, self.parameters = self.clips.objective, self.step.parameters
        self.average, self.optimizer = self.step.average, self.step
        self._recent = []
        self.progress = Progress()
        self.head_loss, self.head_steps = float("nan"), 0
        self.phases = (
            Phase(name="clips", begins=0.0, rollouts=Rollouts()),
            Phase(
                name="one deep",
                begins=config.rollout_from,
                rollouts=Rollouts(share=1 / 2, rounds=1, smeared=True),
            ),
            Phase(
                name=f"{config.rollout_rounds} deep",
                begins=config.deep_from,
                rollouts=Rollouts(share=1 / 3, rounds=config.rollout_rounds, smeared=True),
            ),
        )

    def run_denoiser(self, clock: Clock, tasks: Sequence[Callable[[], object]]) -> None:
        """Steps until the head's turn; `tasks` are called between them."""
        config = self.config
        phase, launch = None, None
        report = time.monotonic()
        throttle = Throttle(self.world.device)
        bar = self._bar("denoiser")
        while clock.fraction < config.heads_from:
            now = [one for one in self.phases if one.begins <= clock.fraction][-1]
            if now is not phase or launch is None:
                finish_device(self.world.device)
                phase, launch = now, None  # the graph before lets its memory go
                self.objective.rollouts = now.rollouts
                launch = Launcher(self.step, captured=self._captured())
            self.step.set(self.rate_at(clock.fraction), decay(config.ema, self.progress.step))
            shown = launch()
            throttle()
            self._count(clock)
            if time.monotonic() - report > REPORT:
                report = time.monotonic()
                self._report(bar, now.name, shown, clock)
            for task in tasks:
                task()
        bar.close()
        finish_device(self.world.device)
        self.progress.elapsed = clock.elapsed

    def run_head(self, clock: Clock) -> None:
        """Steps of the head alone, until validation; nothing in a world without one."""
        config, world = self.config, self.world
        trained = [p for p in world.head.parameters() if p.requires_grad]
        if not trained or not (world.config.reward_head or world.config.observations):
            return
        step = WholeStep(trained, self.clips.head, clip_norm=config.clip_norm)
        launch = Launcher(step, captured=self._captured())
        throttle, begin, shown = Throttle(world.device), clock.fraction, {}
        bar = self._bar("head")
        while clock.fraction < config.finish_from:
            done = (clock.fraction - begin) / max(config.finish_from - begin, 1e-9)
            step.set(config.rate * (1 - done), config.ema)
            shown = launch()
            throttle()
            self.head_steps += 1
        bar.close()
        finish_device(world.device)
        self.head_loss = float(shown["loss"]) if shown else float("nan")

    def rate_at(self, fraction: float) -> float:
        """The learning rate when a share of the budget is over."""
        config = self.config
        rise = min(1.0, (self.progress.step + 1) / max(1, config.warmup))
        return config.rate * rise * rate_left(config, fraction)

    def load_state(self, path: Any) -> None:
        """See `ResumableTrainer.load_state`."""
        super().load_state(path)
        self.clips.count.fill_(self.progress.step)

    def _captured(self) -> bool | None:
        return None if self.config.captured else False

    def _count(self, clock: Clock) -> None:
        self.progress.step += 1
        self.progress.frames += self.config.batch_clips * self.config.clip_frames
        self.progress.elapsed = clock.elapsed

    def _bar(self, name: str) -> Any:
        return progress_bar(desc=name, percent=True)

    def _report(self, bar: Any, name: str, shown: dict[str, Tensor], clock: Clock) -> None:
        figures = {key: float(value) for key, value in shown.items()}
        if figures["loss"] != figures["loss"]:
            raise ValueError(
                f"the loss is no number any more at step {self.progress.step}; go on from the last "
                "saved state with another --out and a lower --rate, or with --mixed-precision no"
            )
        logged = {f"loss/{key}": value for key, value in figures.items()}
        logged |= self.throughput() | {"frames_recorded": self.store.num_frames}
        self.accelerator.log(logged, step=self.progress.step)
        bar.n = min(100.0, round(100 * clock.fraction, 1))
        bar.set_postfix_str(
            f"{name}, step {self.progress.step}, loss {figures['denoiser']:.5f}, "
            f"{logged['frames_per_second']:.0f} frames/s, {self.store.num_frames:,} recorded"
        )


class Throttle:
    """Keeps the host from running ahead of the device, whose time the schedule goes by."""

    def __init__(self, device: torch.device):
        self._device = device
        self._events: deque[torch.cuda.Event] = deque()

    def __call__(self) -> None:
        """A step was launched: wait for the one some steps before."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._events.append(event)
        if len(self._events) > AHEAD:
            self._events.popleft().synchronize()


def whole_step(
    world: StreamingWorld,
    store: DeviceStore,
    config: GpuTrainConfig,
    *,
    num_clips: int,
    optimizer: OptimizerName,
    compiled: bool,
) -> tuple[WholeStep, ClipLoss]:
    """The step on a world's denoiser, and the loss that it is of."""
    if compiled:
        for block in blocks_of(world):
            block.compile()
    clips = ClipLoss(
        world,
        store,
        CapturedObjective(
            world, edge_weight=config.edge_weight, absolute_weight=config.absolute_weight
        ),
        seed=config.seed,
        num_clips=num_clips,
        num_frames=config.clip_frames,
        autocast=config.mixed_precision == "bf16",
    )
    step = WholeStep(
        [p for p in clips.objective.parameters() if p.requires_grad],
        clips.drawing,
        optimizer=optimizer,
        matrices=block_matrices(world) if optimizer == "muon" else (),
        clip_norm=config.clip_norm,
    )
    return step, clips


def finish_device(device: torch.device) -> None:
    """Wait until all that was asked of it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def decay(ema: float, step: int) -> float:
    """Decay of averaged weights: a young average follows quickly."""
    return min(ema, (1 + step) / (YOUNG + step))


def blocks_of(world: StreamingWorld) -> list[Block]:
    """Those of its transformer.

    Raises:
        ValueError: It has a U-Net.
    """
    if not isinstance(world.denoiser, StreamingDenoiser):
        raise ValueError(
            f"world {world.config.name!r} is drawn by a U-Net, and what is trained by whole "
            "captured steps is a transformer: leave out --network, or take --preset video"
        )
    return [block for block in world.denoiser.blocks if isinstance(block, Block)]


def block_matrices(world: StreamingWorld) -> list[nn.Parameter]:
    """The matrices of attention and MLP of all blocks, which Muon is for."""
    names = ("space_in", "space_out", "time_in", "time_out", "mlp_in", "mlp_out")
    matrices = []
    for block in blocks_of(world):
        matrices += [getattr(block, name).weight for name in names]
    return matrices
