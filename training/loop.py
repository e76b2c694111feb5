"""The loop of optimizer steps: logs, validation and saved states on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator
from tqdm import tqdm

from training.presets import seconds
from training.resumable import Progress
from training.run_directory import STATE


class Trainer(Protocol):
    """What takes the steps."""

    accelerator: Accelerator
    progress: Progress

    def fraction(self) -> float: ...

    def train_step(self) -> dict[str, float]: ...

    def throughput(self) -> dict[str, float]: ...

    def save_state(self, path: Path) -> None: ...


class LoopConfig(Protocol):
    """Where and how often something is written."""

    @property
    def out(self) -> Path: ...

    @property
    def validate_every(self) -> str: ...

    @property
    def save_every(self) -> str: ...


def train_until(
    end: float,
    trainer: Trainer,
    config: LoopConfig,
    *,
    name: str,
    shown: tuple[str, ...],
    validate: Callable[[], object],
) -> None:
    """Take steps until a share of the run is done; the main process alone validates and writes.

    Args:
        end: That share.
        trainer: Takes the steps, and knows the share done.
        config: Of the run.
        name: Of the phase, beside the progress bar.
        shown: Figures of a step that are shown there.
        validate: Measures the model as it is, and reports.
    """
    accelerator, progress = trainer.accelerator, trainer.progress
    main = accelerator.is_main_process
    saved = validated = progress.elapsed
    bar = tqdm(
        total=100,
        disable=not main or None,
        bar_format="{l_bar}{bar}| {elapsed} {postfix}",
        desc=name,
    )
    while trainer.fraction() < end:
        figures = trainer.train_step() | trainer.throughput()
        accelerator.log(figures, step=progress.step)
        bar.n = min(100.0, round(100 * trainer.fraction(), 1))
        values = " ".join(f"{key.rpartition('/')[2]} {figures[key]:.5f}" for key in shown)
        bar.set_postfix_str(
            f"step {progress.step} {values} {figures['frames_per_second']:.0f} frames/s"
        )
        # The main process's time is everybody's, so all come to the same answers.
        if main and progress.elapsed - validated > seconds(config.validate_every):
            validated = progress.elapsed
            validate()
        if progress.elapsed - saved > seconds(config.save_every):
            saved = progress.elapsed
            trainer.save_state(config.out / STATE)
    bar.close()
    trainer.save_state(config.out / STATE)
