"""`irasim bench gpu`: one command that proves the captured step, measures it, and times training.

Made for a machine that is lent for minutes: each stage is a process of its own with a time limit
(stages.py), and `gpu.json` and `gpu.md` are whole after each of them. How to bring the project to
such a machine is in docs/gpu.md.
"""

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from training.run.config import seconds
from world_model.config import DEFAULT_WORLD

StageName = Literal["machine", "truth", "step", "chunk", "training"]
# Seconds after which a rehearsal is stopped. On two idle cores it takes less than one of them; a
# busy machine shall not fail it.
SMOKE_BUDGET = 900.0
# Fewer threads than elsewhere: a processor's stages are a rehearsal beside other work.
SMOKE_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
# No window; and what is printed is in the log at once, for a stage that is stopped.
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "SDL_VIDEODRIVER": "dummy"}


@dataclass(frozen=True, kw_only=True)
class GpuConfig:
    """On a GPU, check the captured step for correctness, measure its speed, and time training."""

    out: Path
    """Directory for gpu.json, gpu.md and gpu.log, which are updated after each stage."""
    budget: str = "4min"
    """Time for all stages together, such as 90s or 4min; what one leaves over goes to the next."""
    smoke: bool = False
    """Rehearsal: run every stage on the CPU with tiny shapes, in under a minute on two idle cores
    (--budget is ignored)."""
    stages: tuple[StageName, ...] = get_args(StageName)
    """Stages to run, in this order."""
    world: str = DEFAULT_WORLD
    """World to step: a shipped name, a directory, or a Hub id."""
    seed: int = 0
    """Seed of starts, actions, noise and weights."""

    def __post_init__(self) -> None:
        seconds(self.budget)
        if not self.stages:
            raise ValueError(f"stages is empty, expected some of {', '.join(get_args(StageName))}")


def main(config: GpuConfig) -> dict[str, Any]:
    """Run the stages, write the report after each, print it, and return it.

    Raises:
        ValueError: There is no CUDA device here, and it is no rehearsal.
    """
    from benchmarks.gpu.report import as_text
    from benchmarks.gpu.stage import STAGES
    from benchmarks.gpu.stages import Stage, module_command, run_stages
    from benchmarks.report import versions, write_report
    from world_model.directories import check_directory

    check_directory(config.out)
    if not config.smoke:
        check_gpu()
    config.out.mkdir(parents=True, exist_ok=True)
    log = config.out / "gpu.log"
    log.unlink(missing_ok=True)
    budget = SMOKE_BUDGET if config.smoke else seconds(config.budget)
    shares = {name: STAGES[name][1] for name in STAGES if name in config.stages}
    content: dict[str, Any] = {
        "command": "irasim bench gpu",
        "config": asdict(config),
        "device": None,
        "versions": versions(),
        "stages": {},
    }

    def report(results: dict[str, dict[str, Any]]) -> None:
        content["stages"] = {name: results.get(name, {"status": "waiting"}) for name in shares}
        figures = results.get("machine", {}).get("figures", {})
        content["device"] = figures.get("device", content["device"])
        write_report(config.out / "gpu.json", content)
        (config.out / "gpu.md").write_text(as_text(content) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as directory, _asked_to_end() as check:
        stages = []
        for name, share in shares.items():
            result = Path(directory) / f"{name}.result.json"
            settings = Path(directory) / f"{name}.json"
            part = budget * share / sum(shares.values())
            settings.write_text(json.dumps(_settings(config, name, part, result)))
            stages.append(
                Stage(
                    name=name,
                    command=module_command("benchmarks.gpu.stage", str(settings)),
                    share=share,
                    result=result,
                )
            )
        environment = ENVIRONMENT | (SMOKE_ENVIRONMENT if config.smoke else {})
        run_stages(stages, budget, log, report, environment, check)
    print(as_text(content))
    return content


def check_gpu() -> None:
    """Raise ValueError where there is no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError(
            f"there is no CUDA device here (torch {torch.__version__}); run this on a machine that "
            "has one, or rehearse it on the processor with --smoke"
        )


@contextmanager
def _asked_to_end() -> Iterator[Callable[[], None]]:
    """Take note of a request to end (SIGTERM, as `timeout` sends it), so that the stage that runs
    ends too; gives a function that ends this process where it was asked to.

    An exception in the handler itself could come while a stage is being started, which nobody would
    then know of.
    """
    asked = False

    def note(*_: object) -> None:
        nonlocal asked
        asked = True

    def check() -> None:
        if asked:
            sys.exit("irasim bench gpu: asked to end; what was measured is in gpu.json")

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGTERM, before)


def _settings(config: GpuConfig, name: str, part: float, result: Path) -> dict[str, Any]:
    from benchmarks.gpu.record import StageSettings

    settings = StageSettings(
        name=name,
        device="cpu" if config.smoke else "cuda",
        smoke=config.smoke,
        seconds=part,
        world=config.world,
        seed=config.seed,
        result=str(result),
    )
    return asdict(settings)


def run(config: GpuConfig) -> None:
    """What the command does: `main`, and a status that says whether all stages succeeded."""
    content = main(config)
    good = ("ok", "skipped")
    bad = [name for name, stage in content["stages"].items() if stage["status"] not in good]
    if bad:
        sys.exit(f"stages that did not end well: {', '.join(bad)}; see {content['config']['out']}")
