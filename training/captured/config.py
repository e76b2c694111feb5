"""Runs of minutes on a lent GPU: from video, actions and what a robot observes of itself alone.

Kept free of torch, so that `irasim train --help` is quick.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.run.config import seconds
from training.streaming.config import TrainConfig, task_preset
from world_model.config_fields import check_least
from world_model.renamed import renamed
from world_model.tasks import all_tasks

# What belongs to longer runs on recorded data; here it would do nothing, so it is refused.
NOT_HERE = (
    "more_data",
    "init",
    "max_steps",
    "codec",
    "hidden",
    "poses",
    "accumulation",
    "self_rollout_from",
)


@renamed()
@dataclass(frozen=True, kw_only=True)
class GpuTrainConfig(TrainConfig):
    """One run that records and trains at the same time, all of it within its budget."""

    data: Path = Path("data/recorded")
    """Directory of the episodes that are recorded, one plain file each; those that are there are
    taken too."""
    budget: str = "8min"
    """Time for everything: recording, warm-up, training, validation and export. A run that was
    stopped has what it had left."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon for the blocks' matrices and adamw for the rest."""
    captured: bool = True
    """Launch a whole optimizer step as one CUDA graph; on a processor it runs as it is."""
    compile_blocks: bool = False
    """Compile the blocks (torch.compile), which all share one compilation."""
    room: int = 520_000
    """Frames that the device's memory is reserved for."""
    recorders: int = max(1, (os.cpu_count() or 1) - 2)
    """Processes that record."""
    record_until: float = 0.33
    """Share of the budget after which recording ends."""
    first_frames: int = 20_000
    """Frames that are waited for before training begins."""
    deep_from: float = 0.7
    """Share of the budget after which a third of the clips are `rollout_rounds` of the model's own
    predictions deep. From `rollout_from` on a half of them are one deep."""
    finish_from: float = 0.95
    """Share of the budget after which the world is validated and written. From `heads_from` to
    there only the head trains."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {field.name: field.default for field in dataclasses.fields(self)}
        changed = [name for name in NOT_HERE if getattr(self, name) != own[name]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)}: not of this kind of run, which records its own episodes "
                "and trains by the clock; take another preset"
            )
        if self.collect_env is None:
            raise ValueError("collect_env is None, expected the environment to record")
        order = ("rollout_from", "deep_from", "heads_from", "finish_from")
        shares = [getattr(self, name) for name in order]
        if shares != sorted(shares) or not 0 <= shares[0] <= shares[-1] < 1:
            raise ValueError(
                f"phases are out of order: {', '.join(order)} are {shares}, expected shares of the "
                "budget that rise, below 1"
            )
        if not 0 < self.record_until <= 1:
            raise ValueError(f"record_until is {self.record_until}, expected a share in (0, 1]")
        check_least(self, room=1, recorders=1, first_frames=1)
        if self.first_frames > self.room:
            raise ValueError(
                f"first_frames is {self.first_frames}, but there is room for {self.room} frames"
            )

    @property
    def seconds(self) -> float:
        """The budget in seconds."""
        return seconds(self.budget)


def gpu_preset_names() -> list[str]:
    """Presets of runs by the clock that tasks bring."""
    return [name for task in all_tasks() for name in task.gpu_presets]


def gpu_preset(name: str) -> GpuTrainConfig:
    """Such a preset: from video, actions and what a robot observes of itself, so without the hidden
    states of its task."""
    task = next(task for task in all_tasks() if name in task.gpu_presets)
    without = {"hidden": (), "poses": (), "mask_radii": ()}
    return task_preset(task, name, {**without, **task.gpu_presets[name]}, GpuTrainConfig)
