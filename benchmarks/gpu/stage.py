"""The process of one stage: `python -m benchmarks.gpu.stage SETTINGS.json`."""

import importlib
import sys
from pathlib import Path

from benchmarks.gpu.record import Record, Skipped, StageSettings
from benchmarks.gpu.stages import SKIPPED

# Module of each stage, whose `run(settings, record)` does the work, and its share of the budget.
STAGES = {
    "machine": ("benchmarks.gpu.machine", 0.04),
    "truth": ("benchmarks.gpu.truth", 0.22),
    "step": ("benchmarks.gpu.step", 0.26),
    "chunk": ("benchmarks.gpu.chunk", 0.18),
    "training": ("benchmarks.gpu.training", 0.3),
}


def main(settings: StageSettings) -> int:
    """Run a stage; the process's exit status."""
    module, _ = STAGES[settings.name]
    try:
        importlib.import_module(module).run(settings, Record(Path(settings.result)))
    except Skipped as reason:
        print(f"{settings.name}: {reason}")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main(StageSettings.read(Path(sys.argv[1]))))
