"""Training within minutes on a GPU, from video, actions and low-dimensional observations alone.

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

# Options of longer runs on recorded data. Here they would have no effect, so they are refused.
NOT_HERE = (
    "more_data",
    "init",
    "max_steps",
    "codec",
    "hidden",
    "poses",
    "proxy",
    "accumulation",
    "self_rollout_from",
)


@renamed()
@dataclass(frozen=True, kw_only=True)
class GpuTrainConfig(TrainConfig):
    """One run that records and trains at the same time, all of it within its budget."""

    data: Path = Path("data/recorded")
    """Directory of recorded episodes, one uncompressed file each; those already there are used
    too."""
    budget: str = "8min"
    """Time for everything: recording, warm-up, training, validation and export. A run that is
    resumed continues with the time that was left."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon (for the matrices of the blocks, with adamw for the rest)."""
    captured: bool = True
    """Launch each whole optimizer step as one CUDA graph; on a CPU it runs uncaptured."""
    compile_blocks: bool = False
    """Compile the blocks with torch.compile, which all share one compilation."""
    room: int = 520_000
    """Number of frames to reserve memory for on the device."""
    recorders: int = max(1, (os.cpu_count() or 1) - 2)
    """Number of processes that record episodes."""
    record_until: float = 0.33
    """Share of the budget after which recording ends."""
    first_frames: int = 20_000
    """Number of recorded frames at which training begins."""
    deep_from: float = 0.7
    """Share of the budget after which a third of the clips are self-rollouts of `rollout_rounds`
    predictions. From `rollout_from` on, half of the clips are self-rollouts of one."""
    finish_from: float = 0.95
    """Share of the budget after which the world is validated and written. From `heads_from` until
    then only the head is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {field.name: field.default for field in dataclasses.fields(self)}
        changed = [name for name in NOT_HERE if getattr(self, name) != own[name]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)}: has no effect in this kind of run, which records its own "
                "episodes and trains for a fixed time; choose another preset"
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
