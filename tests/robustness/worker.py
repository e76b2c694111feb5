"""A process that damages one kind of input again and again, and tells what its readers made of it.

    python -m tests.robustness.worker NAME ... --count 500 [--seed 0] [--first 0]

It may not take more than 2 GB of address space beyond what it has after its imports, nor 5 seconds
of processor time for an input: then it is gone, and who started it knows from its last line which
input that was (see fuzz.py).
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tests.robustness.readers import FUZZED, Fuzzed

MEMORY = 2 * 2**30
SECONDS = 5.0
# Of waiting, on a machine that others use too.
WALL_SECONDS = 60
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
OURS = ("world_model", "training", "irasim_env", "policies", "benchmarks")
# What an allocation over the limit says of itself, if it was taken for a damaged file.
NO_MEMORY = ("alloc", "not enough memory", "insufficient memory", "bad_alloc", "out of memory")


class Watch:
    """Notes where Python opens files to write, or changes folders."""

    def __init__(self) -> None:
        self.allowed: tuple[Path, ...] = ()
        self.outside: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
            paths = [path]
        elif event in ("os.rename", "os.link", "os.symlink"):
            paths = list(arguments[:2])
        elif event in ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"):
            paths = [arguments[0]]
        else:
            return
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                place = Path(os.path.realpath(os.fsdecode(path)))
                if not any(place.is_relative_to(one) for one in self.allowed):
                    self.outside.append(f"{event} {place}")


def files_in(place: Path, but: tuple[Path, ...]) -> dict[str, tuple[int, int]]:
    """Size and time of change of all that is in a directory, some folders left out."""
    found = {}
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if Path(folder, name) not in but]
        for name in (*folders, *files):
            stat = os.lstat(os.path.join(folder, name))
            changed = 0 if name in folders else stat.st_mtime_ns
            found[os.path.join(folder, name)] = (stat.st_size if changed else 0, changed)
    return found


def blame(error: BaseException) -> str | None:
    """Why an exception is a fault of ours; None where it is an answer to the user."""
    text = str(error)
    if isinstance(error, MemoryError) or any(part in text.lower() for part in NO_MEMORY):
        return "memory"
    if isinstance(error, SystemExit):
        return None if isinstance(error.code, str) else "exit"
    # What Python's own decoders raise are kinds of it too, but say nothing of the file.
    mine = type(error).__module__.partition(".")[0] in OURS or type(error) is ValueError
    return None if isinstance(error, ValueError) and mine else "traceback"


def where(error: BaseException) -> str:
    """An exception in a line, and the lines of ours that it came through."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and "/tests/" not in frame.filename
    ]
    return f"{type(error).__name__}: {str(error)[:300]} ({' '.join(frames[-6:])})"


def peak() -> int:
    """Bytes of memory at the peak since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Begin to measure anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def limit_memory() -> None:
    """So much more address space and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


class Worker:
    """Damages inputs in a directory of its own and writes what came of it.

    Args:
        place: The directory.
        answers: Where a line goes before each input and one after.
    """

    def __init__(self, place: Path, answers: TextIO):
        self.place, self.answers, self.watch = place, answers, Watch()
        # Several levels, so that ".." of names in the input leads to where it is noticed.
        self.data, self.out = place / "case/a/b/data", place / "case/a/b/out"

    def fuzz(self, fuzzed: Fuzzed, seed: int, numbers: range) -> None:
        """Damage a kind of input, each time otherwise."""
        sound = self.place / "sound"
        shutil.rmtree(sound, ignore_errors=True)
        sound.mkdir()
        fuzzed.make(sound)
        self._copy(sound)
        for read in fuzzed.read:  # undamaged it must be readable; and all is imported then
            with silence():
                read(self.data, self.out)
        limit_memory()
        for number in numbers:
            self._copy(sound)
            rng = random.Random(zlib.crc32(f"{seed} {fuzzed.name} {number}".encode()))
            at = {"name": fuzzed.name, "number": number}
            self._say({**at, "damage": fuzzed.damage(rng, self.data)})
            results, faults = self._read(fuzzed)
            self._say({**at, "results": results, "faults": faults})
        os.chdir(self.place)

    def _copy(self, sound: Path) -> None:
        shutil.rmtree(self.place / "case", ignore_errors=True)
        shutil.copytree(sound, self.data)
        self.out.mkdir()
        os.chdir(self.place / "case")

    def _say(self, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=self.answers, flush=True)

    def _read(self, fuzzed: Fuzzed) -> tuple[list[str], list[str]]:
        """Each reader's answer, and all that is wrong with them."""
        allowed = (self.out, *(self.data / folder for folder in fuzzed.may_write))
        before = files_in(self.place, allowed)
        self.watch.allowed, self.watch.outside = (*allowed, Path(os.devnull)), []
        forget_peak()
        base = peak()
        results, faults = [], []
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(WALL_SECONDS)
        self.watch.on = True
        for read in fuzzed.read:
            result, fault = self._ask(read)
            results.append(result)
            faults += [fault] if fault else []
        self.watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        if (grown := peak() - base) > MEMORY:
            faults.append(f"memory: {grown / 2**20:.0f} MB")
        after = files_in(self.place, allowed)
        changed = [path for path in after if before.get(path) != after[path]]
        changed += [path for path in before if path not in after]
        return results, faults + [f"written: {path}" for path in (*self.watch.outside, *changed)]

    def _ask(self, read: Callable[[Path, Path], None]) -> tuple[str, str | None]:
        """A reader's answer, and what is wrong with it."""
        try:
            with silence():
                read(self.data, self.out)
        except BaseException as error:
            kind = blame(error)
            if kind == "memory" and isinstance(error, ValueError) and self._refused_unbounded(read):
                kind = None
            if kind is not None:
                return kind, f"{kind}: {where(error)}"
            if not any(part in str(error) for part in (str(self.data), str(self.out), "episode ")):
                return "refused without a file", f"unnamed: {error}"
            return "refused", None
        return "taken", None

    def _refused_unbounded(self, read: Callable[[Path, Path], None]) -> bool:
        """Whether a reader refuses with all memory at hand too, and takes little of it: FFmpeg says
        "cannot allocate" of sizes that it does not even try."""
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limits[1], limits[1]))
        self.watch.on = False  # which would see that file
        forget_peak()
        self.watch.on, base = True, peak()
        try:
            with silence():
                read(self.data, self.out)
        except ValueError:
            return peak() - base < MEMORY
        except BaseException:
            return False
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        return False


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What readers print goes nowhere."""
    with (
        open(os.devnull, "w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        yield


def main() -> None:
    """Fuzz kinds of input, from number `first` of the first on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    kinds = {fuzzed.name: fuzzed for fuzzed in FUZZED}
    with tempfile.TemporaryDirectory() as temporary:
        worker = Worker(Path(os.path.realpath(temporary)), answers)
        for name in options.names:
            first = options.first if name == options.names[0] else 0
            worker.fuzz(kinds[name], options.seed, range(first, options.count))


if __name__ == "__main__":
    main()
