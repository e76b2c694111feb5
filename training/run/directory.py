"""A run's directory: its settings, its logs, and what it ran on."""

import dataclasses
import gc
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from training.data.episodes import read_json
from training.run.config import BEFORE
from world_model.directories import check_directory
from world_model.io.whole_files import clear_leftovers, write_whole
from world_model.renamed import with_current_names

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.run.resumable import ResumableTrainer

STATE = "state.pt"
# What phases before the main one have made: the codec, and what predicts states.
CODEC, STATES = "codec.safetensors", "states.safetensors"
# What these phases, and the head's, resume from while they last.
CODEC_STATE, STATES_STATE, HEAD_STATE = "codec.state.pt", "states.state.pt", "head.state.pt"
KEPT = (STATE, CODEC, STATES, CODEC_STATE, STATES_STATE, HEAD_STATE)
CONFIG = "train_config.json"


class RunConfig(Protocol):
    """What every kind of run is given."""

    @property
    def out(self) -> Path: ...

    @property
    def cpu(self) -> bool: ...

    @property
    def mixed_precision(self) -> str: ...


Config = TypeVar("Config", bound=RunConfig)


def run_training(
    train: Callable[[Config, "Accelerator"], Path],
    config: Config,
    free: set[str],
    prepare: Callable[[Config], object] | None = None,
) -> Path:
    """Train, in each process of a run; returns what `train` does.

    The group of the processes is left when the data-parallel models are gone, which `train` alone
    may hold. A model that outlives the group takes gloo's threads down as it goes, holding Python's
    lock while it waits for them, and one of them may wait for that lock.

    Args:
        train: Takes the config, and the accelerator of the run.
        config: Of the run.
        free: See `write_config`.
        prepare: What the main process does first, while the others wait.
    """
    check_directory(config.out)
    clear_leftovers(config.out)
    accelerator = make_accelerator(
        config.out, cpu=config.cpu, mixed_precision=config.mixed_precision
    )
    if accelerator.is_main_process:
        config.out.mkdir(parents=True, exist_ok=True)
        write_config(config, config.out, free)
        if prepare is not None:
            prepare(config)
    accelerator.wait_for_everyone()
    accelerator.init_trackers("tensorboard")
    result = train(config, accelerator)
    accelerator.wait_for_everyone()
    gc.collect()  # a chunk model refers to itself
    accelerator.end_training()
    return result


def make_accelerator(out: Path, *, cpu: bool, mixed_precision: str) -> "Accelerator":
    """Processes and devices of this run; logs go to tensorboard in `out`."""
    from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration

    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        # Models of several processes import it. After the group is made that keeps the group for
        # ever, whose threads then run on as the process ends, and now and then abort it.
        import torch._dynamo  # noqa: F401

    from training.run.logs import LoggingOnce

    # One process trains codec and states, for longer than the others would wait by default.
    patient = InitProcessGroupKwargs(timeout=timedelta(hours=24))
    return LoggingOnce(
        out / "logs",
        cpu=cpu,
        kwargs_handlers=[patient],
        mixed_precision=mixed_precision,
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out / "logs")),
    )


def write_config(config: Any, out: Path, free: set[str]) -> None:
    """Keep the resolved config beside the run; refuse to mix two runs in one directory.

    Args:
        config: A dataclass.
        out: The run's directory.
        free: Fields that may differ from those of a run that goes on here.
    """
    path = out / CONFIG
    content = as_written(config)
    if path.exists() and any((out / name).exists() for name in KEPT):
        before = with_current_names(type(config), without_directory(read_json(path)), str(path))
        # What the run did not know of yet is as it is by default, or as its field says that it was.
        default = {
            field.name: field.metadata.get(BEFORE, field.default)
            for field in dataclasses.fields(config)
            if isinstance(field.default, bool | int | float | str)
        }
        before = default | before
        changed = [k for k in content if k not in free and before.get(k) != content[k]]
        if changed:
            had = ", ".join(f"{name} ({before.get(name)})" for name in changed)
            raise SystemExit(
                f"{out} holds a run with another {had}; give what it had to go on, choose "
                "another --out, or delete it to start anew"
            )
    write_whole(path, json.dumps(content, indent=2) + "\n")


def as_written(config: Any) -> dict[str, Any]:
    """A config, a dataclass, as it is kept in JSON; see `without_directory`."""
    return without_directory(json.loads(json.dumps(dataclasses.asdict(config), default=str)))


def without_directory(value: Any) -> Any:
    """JSON in which paths in the working directory are relative to it, however they were given.

    What is kept goes along with worlds that are shared; where they were made is nobody's business.
    """
    if isinstance(value, dict):
        return {key: without_directory(content) for key, content in value.items()}
    if isinstance(value, list):
        return [without_directory(content) for content in value]
    return value.removeprefix(f"{Path.cwd()}{os.sep}") if isinstance(value, str) else value


def write_result(
    path: Path, config: Any, trainer: "ResumableTrainer", **more: Any
) -> dict[str, Any]:
    """Write how a run went, and what it ran on, as JSON; returns it.

    Args:
        path: Of the file.
        config: Of the run.
        trainer: Knows how far it came, and how quickly.
        more: What else there is to say.
    """
    result = {
        "config": as_written(config),
        "trained": dataclasses.asdict(trainer.progress),
        **more,
        **trainer.throughput(),
        **environment(trainer.accelerator),
    }
    write_whole(path, json.dumps(result, indent=2, default=str) + "\n")
    return result


def environment(accelerator: "Accelerator") -> dict[str, Any]:
    """Versions and hardware of this run."""
    import accelerate
    import torch

    cuda = torch.cuda.is_available() and accelerator.device.type == "cuda"
    hardware = torch.cuda.get_device_name() if cuda else f"{os.cpu_count()} CPU cores"
    return {
        "hardware": hardware,
        "processes": accelerator.num_processes,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "accelerate": accelerate.__version__,
        },
        "date": time.strftime("%Y-%m-%d"),
    }
