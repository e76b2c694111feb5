"""What a script does that runs in several processes, so that it cannot hang without a word."""

# Before the group of processes is left, its models must be gone: see `run_training`.
BEFORE = """
import contextlib
import faulthandler
import gc
from pathlib import Path
from accelerate import Accelerator
from torch.nn.parallel import DistributedDataParallel

faulthandler.dump_traceback_later(150, exit=True)

def end_training(accelerator, end=Accelerator.end_training):
    alive = [x for x in gc.get_objects() if type(x) is DistributedDataParallel]
    assert not alive, "a model outlives its processes' group"
    end(accelerator)

Accelerator.end_training = end_training
"""

# And after it, its threads: they would abort the process now and then.
AFTER = """
names = []
for path in Path("/proc/self/task").glob("*/comm"):
    with contextlib.suppress(FileNotFoundError):
        names.append(path.read_text())
assert not any("gloo" in name for name in names), names
"""
