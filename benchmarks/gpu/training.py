"""Stage: how quickly a world trains, eager, compiled by region and captured; AdamW against Muon.

Trained is the world of the first preset for a GPU that a task brings, by that preset's trainer, on
episodes that are drawn and not simulated: a disc that goes to its target, over noise. They cost
nothing to make, and a step's work does not depend on what it sees.
"""

import dataclasses
import gc
import time
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.gpu.record import Record, StageSettings
from benchmarks.gpu.stages import is_out_of_memory
from benchmarks.report import number
from benchmarks.speed import roofline
from benchmarks.speed.flops import count_operations
from training.captured.config import GpuTrainConfig, gpu_preset, gpu_preset_names
from training.captured.device_store import DeviceStore, StoreShape
from training.captured.objective import ClipLoss, Rollouts
from training.captured.recorded_world import describe
from training.captured.recorders import STATE_PREFIX, Arrays
from training.captured.trainer import Throttle, finish_device, whole_step
from training.captured.whole_step import Launcher, OptimizerName, WholeStep
from world_model import StreamingWorld
from world_model.runtime.counter_rng import counted_noise

MOST_ROWS = 65_535  # blocks of a CUDA grid along y: rows of attention in time, clips x places
VALIDATION_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    batches: tuple[int, ...]
    """Clips a step; the quickest that fits is what the optimizers are compared at."""
    seconds: float
    """For each way of running each batch."""
    optimizers: float
    """Share of the stage's time for each optimizer, at most 40 s."""
    episodes: int
    compiled: bool


ON_GPU = Plan(batches=(64, 256, 512, 960), seconds=1.5, optimizers=0.3, episodes=200, compiled=True)
SMOKE = Plan(batches=(2,), seconds=0.1, optimizers=0.01, episodes=2, compiled=False)
Way = tuple[str, bool, bool]  # its name, whether captured, whether compiled


def run(settings: StageSettings, record: Record) -> None:
    """Rates of each way first, then the optimizers."""
    begin = time.monotonic()
    roofline.measure_for(0.3, rehearsal=settings.smoke)
    plan = SMOKE if settings.smoke else ON_GPU
    config = dataclasses.replace(
        gpu_preset(gpu_preset_names()[0]),
        seed=settings.seed,
        mixed_precision="no" if settings.smoke else "bf16",
    )
    if settings.smoke:
        config = dataclasses.replace(config, patch=24, width=32, depth=1, num_heads=2)
    device = torch.device(settings.device)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    store = drawn_store(plan.episodes, device, settings.seed)
    bench = Bench(config, store, record, settings.smoke)
    captured = device.type == "cuda"
    rates = {}
    for size in plan.batches:
        if size * bench.places > MOST_ROWS:
            continue
        rates |= bench.rates(size, "captured" if captured else "eager", captured, False, plan)
    fastest = max(rates, key=lambda size: rates[size])
    record.figure("batch_that_fills_the_card", fastest)
    if captured:
        bench.rates(fastest, "eager", False, False, plan)
    bench.with_rollouts(fastest, captured, plan)
    left = settings.seconds - (time.monotonic() - begin)
    each = min(40.0, plan.optimizers * settings.seconds, 0.4 * max(left, 0.1))
    for optimizer in ("adamw", "muon"):
        bench.learn(optimizer, fastest, captured, each)
    if plan.compiled:  # last: compiling may take longer than there is time
        bench.rates(fastest, "compiled by region, captured", captured, True, plan)
        bench.rates(fastest, "compiled by region, eager", False, True, plan)


class Bench:
    """Makes fresh worlds of one config, and times steps of their training."""

    def __init__(self, config: GpuTrainConfig, store: DeviceStore, record: Record, smoke: bool):
        self.config, self.store, self.record = config, store, record
        self.device = store.frames.device
        self.world_config = describe(config, store.filled())
        rows, columns = self.world_config.grid
        self.places = rows * columns
        self._large: float | None = None
        self._smoke = smoke

    def fresh(
        self, size: int, optimizer: OptimizerName = "adamw", compiled: bool = False
    ) -> tuple[WholeStep, ClipLoss]:
        """The step of a world of random weights, the same each time."""
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            world = StreamingWorld(self.world_config).eval()
        world.to(self.device)
        step, clips = whole_step(
            world, self.store, config, num_clips=size, optimizer=optimizer, compiled=compiled
        )
        step.set(config.rate, config.ema)
        return step, clips

    def rates(
        self, size: int, name: str, captured: bool, compiled: bool, plan: Plan
    ) -> dict[int, float]:
        """Frames a second of one way, by batch; nothing where it does not fit."""
        try:
            step, _ = self.fresh(size, compiled=compiled)
            rate = self._time(step, size, name, captured, plan)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.record.figure(f"batch {size}, {name}", f"out of memory: {str(error)[:200]}")
            rate = None
        release(self.device)
        return {} if rate is None else {size: rate}

    def with_rollouts(self, size: int, captured: bool, plan: Plan) -> None:
        """The same where a third of the clips are four of the model's own predictions deep."""
        step, clips = self.fresh(size)
        clips.objective.rollouts = Rollouts(share=1 / 3, rounds=4, smeared=True)
        self._time(step, size, "own predictions, 4 deep", captured, plan)
        del step, clips
        release(self.device)

    def _time(self, step: WholeStep, size: int, name: str, captured: bool, plan: Plan) -> float:
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        launch = Launcher(step, captured=None if captured else False)
        begin = time.perf_counter()
        for _ in range(1 if self._smoke else 5):  # the fourth captures
            launch()
        finish_device(self.device)
        first = time.perf_counter() - begin
        throttle, count, begin = Throttle(self.device), 0, time.perf_counter()
        while time.perf_counter() - begin < plan.seconds or not count:
            launch()
            throttle()
            count += 1
        finish_device(self.device)
        frames = size * self.config.clip_frames
        rate = frames * count / (time.perf_counter() - begin)
        peak = torch.cuda.max_memory_reserved(self.device) / 2**20 if on_gpu else None
        figures = {"frames_per_second": rate, "first_seconds": first, "peak_cuda_mib": peak}
        share = self._utilisation(rate)
        self.record.figure(f"batch {size}, {name}", figures | {"share_of_large_product": share})
        self.record.row(
            f"Training steps, clips of {self.config.clip_frames} frames",
            ("clips", "way", "frames/s", "before the first, s", "MiB", "of a large product"),
            (str(size), name, number(rate, 0), number(first, 1), number(peak, 0))
            + (f"{share:.1%}",),
        )
        return rate

    def _utilisation(self, rate: float) -> float:
        """Of the FLOP/s of one large product in the training's precision."""
        if self._large is None:
            half = self.config.mixed_precision == "bf16"
            dtype = torch.bfloat16 if half else torch.float32
            self._large = roofline.large_matmul_peak(dtype, self.device)
            step, clips = self.fresh(2)
            work = count_operations(step).flops  # forward and backward
            self._flops = work / (2 * self.config.clip_frames)
            del step, clips
        return rate * self._flops / self._large

    def learn(self, optimizer: OptimizerName, size: int, captured: bool, seconds: float) -> None:
        """Train for some seconds by the schedule; the loss on clips that are never trained on."""
        step, clips = self.fresh(size, optimizer)
        self.store.losses.fill_(torch.inf)  # what one has learned about clips, the other has not
        launch = Launcher(step, captured=None if captured else False)
        throttle, count, begin = Throttle(self.device), 0, time.perf_counter()
        while (done := (time.perf_counter() - begin) / seconds) < 1 or not count:
            rise, fall = min(1.0, (count + 1) / 50), min(1.0, 2 * (1.0 - min(done, 1.0)) + 0.02)
            step.set(self.config.rate * rise * fall, 0.99)
            launch()
            throttle()
            count += 1
        finish_device(self.device)
        loss = validation_loss(clips)
        figures = {"seconds": seconds, "steps": count, "validation_loss": loss}
        self.record.figure(f"optimizer {optimizer}", figures)
        self.record.row(
            "Optimizers, the same time each, loss on other clips (noise over drawn discs: says "
            "more of speed than of worlds)",
            ("optimizer", "steps", "seconds", "loss"),
            (optimizer, str(count), number(seconds, 1), number(loss, 6)),
        )
        del launch, step, clips
        release(self.device)


@torch.no_grad()
def validation_loss(clips: ClipLoss) -> float:
    """Mean loss of the denoiser of clips by numbers far past those that were trained on."""
    clips.count.fill_(2**40)
    losses = [clips.drawing()[1]["denoiser"] for _ in range(VALIDATION_STEPS)]
    return float(torch.stack(losses).mean())


def drawn_store(episodes: int, device: torch.device, seed: int, length: int = 100) -> DeviceStore:
    """Episodes of a disc that follows its action over a plain ground, drawn on the device."""
    first = drawn_episode(0, length, seed)
    store = DeviceStore(StoreShape.of(first, episodes * (length + 1)), device)
    for index in range(episodes):
        store.append(first if index == 0 else drawn_episode(index, length, seed))
    return store


def drawn_episode(index: int, length: int, seed: int) -> Arrays:
    """One of them, as a recorder writes it."""
    numbers = torch.arange(length)
    seeds = torch.full_like(numbers, seed * 1_000_003 + index)
    steps = counted_noise(seeds, numbers, (2,)).numpy()
    targets = 256 + 200 * np.sin(np.cumsum(0.15 * steps, axis=0))
    places = np.concatenate((np.full((1, 2), 256.0), targets))
    down, across = np.mgrid[:96, :96] * 512 / 96
    away = np.hypot(across - places[:, 0, None, None], down - places[:, 1, None, None])
    frames = np.full((length + 1, 96, 96, 3), 255, np.uint8)
    frames[away < 15] = (65, 105, 225)
    return {
        "frames": frames,
        "actions": targets.astype(np.float32),
        "rewards": (places[1:, 0] / 512).astype(np.float64),
        "terminated": np.arange(length) == length - 1,
        f"{STATE_PREFIX}agent_pos": places,
        "seed": np.array(index),
    }


def release(device: torch.device) -> None:
    """Let go of what the last way has held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
