"""What all training loops share: averaged weights, accumulation, a state that resumes exactly."""

import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from world_model.io.whole_files import whole_file


@dataclass
class Progress:
    """How far a run is; saved and resumed."""

    step: int = 0
    elapsed: float = 0.0
    """Seconds spent in optimizer steps, by the main process's clock."""
    frames: int = 0
    """Frames trained on, over all processes."""
    data_seconds: float = 0.0
    """Seconds of these spent on making batches, or on waiting for them."""
    validated: float = 0.0
    """What `elapsed` was when validation last ran."""


def check_division(batch_clips: int, num_processes: int, accumulation: int) -> None:
    """Raise ValueError unless a batch divides over processes and their parts."""
    if batch_clips % (num_processes * accumulation):
        raise ValueError(
            f"batch_clips {batch_clips} does not divide over {num_processes} processes and "
            f"{accumulation} parts"
        )


def read_state(path: Path) -> dict[str, Any]:
    """What `ResumableTrainer.save_state` wrote.

    Raises:
        ValueError: The file is damaged, or another.
    """
    try:
        # Mapped, so that the processes of a machine share one copy while they read it.
        state = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
        step, tensors = state["progress"]["step"], [*state["weights"], *state["average"]]
        sound = type(step) is int and all(isinstance(one, Tensor) for one in tensors)
    except Exception as error:  # torch raises half a dozen kinds for damaged or unsafe files
        raise ValueError(f"{path} is damaged ({error}); delete it to start anew") from error
    if not sound or "optimizer" not in state:
        raise ValueError(f"{path} is no state of a training; delete it to start anew")
    return state


# Steps whose figures are kept.
RECENT = 50


class ResumableTrainer:
    """A module under training: its optimizer, its averaged weights and its progress.

    A step of a subclass goes through its parts, each under `gradients_of_part`, then calls
    `apply_gradients`, and last `count_step`.
    """

    state_name: str
    """Name of the file in the run's directory that a resume goes on from."""
    report_every = 1
    """Steps from one that gives its figures to the next."""

    def __init__(
        self,
        objective: nn.Module,
        accelerator: Accelerator,
        *,
        rate: float,
        betas: tuple[float, float],
        clip_norm: float = math.inf,
        ema: float | None = None,
        alone: bool = False,
    ):
        """Begin at step 0.

        Args:
            objective: Its parameters that require gradients are trained.
            accelerator: Of the run.
            rate, betas: Of AdamW, which decays no weights.
            clip_norm: Largest norm of the gradient.
            ema: Decay of the averaged weights; None: there are none.
            alone: The main process trains, the others do not take part.
        """
        self.accelerator = accelerator
        self.clip_norm, self.ema = clip_norm, ema
        self.num_processes = 1 if alone else accelerator.num_processes
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        averaged = [] if ema is None else self.parameters
        self.average = [parameter.detach().clone() for parameter in averaged]
        optimizer = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=0.0, betas=betas)
        self.objective, self.optimizer = objective, optimizer
        if not alone:
            self.objective, self.optimizer = accelerator.prepare(objective, optimizer)
        self.progress = Progress()
        self._recent: list[dict[str, float]] = []

    def fraction(self) -> float:
        """Share of the phase that is done."""
        raise NotImplementedError

    def train_step(self) -> dict[str, float]:
        """One optimizer step; its figures, or nothing but every `report_every` steps."""
        raise NotImplementedError

    def recent(self, name: str) -> float | None:
        """Mean of a figure over the last steps; None before the first."""
        found = [figures[name] for figures in self._recent if name in figures]
        return sum(found) / len(found) if found else None

    def agreed(self, seconds: float) -> float:
        """A time by the main process's clock, in all processes."""
        if self.num_processes == 1:
            return seconds
        shared = broadcast(torch.tensor(seconds, device=self.accelerator.device))
        assert isinstance(shared, Tensor)
        return shared.item()

    def gradients_of_part(self, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a part of a step: processes meet in the last one only."""
        return nullcontext() if last else self.accelerator.no_sync(self.objective)

    def apply_gradients(self) -> Tensor:
        """Clip, change the weights and their average; returns the gradient's norm before, ()."""
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        return torch.tensor(torch.nan) if norm is None else norm

    def count_step(self, begin: float, frames: int, figures: dict[str, float]) -> dict[str, float]:
        """Count a step that began at `time.perf_counter()` of `begin`; returns its figures.

        All processes take the main one's time, so that what goes by time is the same in all.
        """
        self.progress.step += 1
        self.progress.frames += frames
        self.progress.elapsed += self.agreed(time.perf_counter() - begin)
        if figures:
            self._recent = [*self._recent[1 - RECENT :], figures]
        return figures

    def share_done(self, max_steps: int | None, budget: float) -> float:
        """Share of the run that is done, in steps if their number is given, else in seconds."""
        if max_steps is not None:
            return self.progress.step / max_steps
        return self.progress.elapsed / budget

    def throughput(self) -> dict[str, float]:
        """Frames a second over the whole run, and the share of time spent on batches."""
        elapsed = max(self.progress.elapsed, 1e-9)
        return {
            "frames_per_second": self.progress.frames / elapsed,
            "data_share": self.progress.data_seconds / elapsed,
        }

    def swap_average(self) -> None:
        """Exchange the weights and their average; twice is as before."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, within."""
        self.swap_average()
        try:
            yield
        finally:
            self.swap_average()

    def save_state(self, path: Path) -> None:
        """Write all that a resume needs, whole or not at all; all processes call, the main one
        writes."""
        more = self._more_state()
        if not self.accelerator.is_main_process:
            return
        state = {
            "weights": [parameter.detach() for parameter in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
            "recent": self._recent,
            "more": more,
        }
        with whole_file(path, durable=True) as temporary:
            torch.save(state, temporary)

    def load_state(self, path: Path) -> None:
        """Continue where `save_state` was called.

        Raises:
            ValueError: The file is damaged, or of a run with another model.
        """
        state = read_state(path)
        for name, mine in (("weights", self.parameters), ("average", self.average)):
            if [weight.shape for weight in state[name]] != [weight.shape for weight in mine]:
                raise ValueError(
                    f"{path} is of a run with another model; choose another --out, or delete it"
                )
        try:
            with torch.no_grad():
                for mine, theirs in (
                    (self.parameters, state["weights"]),
                    (self.average, state["average"]),
                ):
                    for a, b in zip(mine, theirs, strict=True):
                        a.copy_(b)
            self.optimizer.load_state_dict(state["optimizer"])
            self.progress = Progress(**state["progress"])
            self._recent = state.get("recent", [])  # older files have none
            self._load_more_state(state.get("more", {}))  # older files have none
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it to start anew") from error

    def _more_state(self) -> dict[str, Tensor]:
        """What else a subclass goes on from; all processes ask at once."""
        return {}

    def _load_more_state(self, tensors: dict[str, Tensor]) -> None:
        """Take what `_more_state` gave."""

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.ema is None:
            return
        # A young average follows quickly: its decay rises with the step.
        decay = min(self.ema, (1 + self.progress.step) / (10 + self.progress.step))
        torch._foreach_lerp_(self.average, self.parameters, 1 - decay)  # pyright: ignore


def processes(accelerator: Accelerator) -> str:
    """In words, how many a run has."""
    count = accelerator.num_processes
    return f"{count} process{'es' * (count != 1)}"
