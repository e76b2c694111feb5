"""The loop of optimizer steps, of every phase: logs, validation and saved states on the way.

A run that is killed goes on where its phase was last saved, and comes to the same result. One that
is asked to stop saves first.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.run.config import seconds
from training.run.resumable import ResumableTrainer
from training.run.stopping import noted_stops
from world_model.io.whole_files import whole_file
from world_model.progress import progress_bar

# A state is saved more often than asked for where that costs little: seconds between two, at least,
# and as a multiple of what saving takes.
LEAST_BETWEEN, CHEAP = 5.0, 100.0


class LoopConfig(Protocol):
    """Where and how often something is written."""

    @property
    def out(self) -> Path: ...

    @property
    def validate_every(self) -> str: ...

    @property
    def save_every(self) -> str: ...


def resume(trainer: ResumableTrainer, out: Path) -> None:
    """Go on from what an earlier process of the run has saved, if it has."""
    path = out / trainer.state_name
    if path.exists():
        trainer.load_state(path)
        trainer.accelerator.print(f"resumed at step {trainer.progress.step}")


def trained_once(
    path: Path, state: Path, accelerator: Accelerator, train: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Weights that one process trains for all, and that are kept beside the run for a resume.

    Args:
        path: Where they are kept.
        state: What the training resumes from while it lasts.
        accelerator: Of the run.
        train: Trains, and gives the weights.
    """
    if accelerator.is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            weights = {name: one.contiguous().cpu() for name, one in train().items()}
            with whole_file(path, durable=True) as temporary:
                save_file(weights, temporary)
        state.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return load_file(path)


def train_until(
    end: float,
    trainer: ResumableTrainer,
    config: LoopConfig,
    *,
    name: str,
    shown: tuple[str, ...],
    validate: Callable[[], object] | None = None,
) -> None:
    """Take steps until a share of the phase is done; the main process alone validates and writes.

    Args:
        end: That share.
        trainer: Takes the steps, and knows the share done.
        config: Of the run.
        name: Of the phase, beside the progress bar.
        shown: Figures of a step that are shown there.
        validate: Measures the model as it is, and reports.

    Raises:
        KeyboardInterrupt: The run was asked to stop; its state is saved.
    """
    accelerator, progress = trainer.accelerator, trainer.progress
    main, path = accelerator.is_main_process, config.out / trainer.state_name
    saved = progress.elapsed
    between, first = LEAST_BETWEEN, (progress.step, progress.validated)
    bar = progress_bar(desc=name, percent=True, shown=main)
    with noted_stops(alone=trainer.num_processes == 1) as stop:
        while True:
            if stop.number is not None:
                trainer.save_state(path)
                stop.obey()
            # A state is saved first: a run that is killed before it has validated does so when it
            # goes on.
            due = progress.elapsed - progress.validated > seconds(config.validate_every)
            if validate and due:
                progress.validated = progress.elapsed
                if main:
                    validate()
            if trainer.fraction() >= end:
                break
            figures = trainer.train_step()
            if figures:
                figures = figures | trainer.throughput()
                accelerator.log(figures, step=progress.step)
                bar.n = min(100.0, round(100 * trainer.fraction(), 1))
                values = " ".join(f"{key.rpartition('/')[2]} {figures[key]:.5f}" for key in shown)
                bar.set_postfix_str(
                    f"step {progress.step} {values} {figures['frames_per_second']:.0f} frames/s"
                )
            # The main process's time is everybody's, so all come to the same answers.
            if progress.elapsed - saved > min(between, seconds(config.save_every)):
                begin, saved = time.perf_counter(), progress.elapsed
                trainer.save_state(path)
                between = max(LEAST_BETWEEN, CHEAP * trainer.agreed(time.perf_counter() - begin))
    bar.close()
    if (progress.step, progress.validated) != first:
        trainer.save_state(path)
    stop.obey()
