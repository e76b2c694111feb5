"""Processes that record episodes while something else goes on: one plain file an episode.

For training that is over in minutes, where encoding videos and reading them again would take
longer than recording. A file is there whole or not at all, so a run that was stopped keeps all
that was recorded; which episode is recorded from which seed does not depend on who records it.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from training.data.collect import FIRST_SEED, SEEDS_PER_SPLIT
from training.data.record import load_policy, make_env, record_episode
from training.jobs.run import worker_environment
from world_model.io.whole_files import whole_file

# Of its numbers: frames uint8 (N + 1, H, W, 3), actions (N, A), rewards (N,), terminated (N,), and
# each low-dimensional observation (N + 1, n) under this prefix.
STATE_PREFIX = "state."
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is recorded, and how much of it."""

    env_id: str
    env_kwargs: dict[str, Any]
    policy: str
    """Import path "module:factory": see `training.data.record.load_policy`."""
    out: Path
    """Directory of the files."""
    validation: int
    """Episodes of the validation split, which are recorded first."""
    train: int
    """Most episodes of the training split."""
    workers: int

    def tasks(self) -> list[tuple[str, int]]:
        """Split and number of each episode, in the order in which they are recorded."""
        return [("val", i) for i in range(self.validation)] + [
            ("train", i) for i in range(min(self.train, SEEDS_PER_SPLIT))
        ]


class Recorders:
    """Worker processes that record until they are stopped, or all is there."""

    def __init__(self, recording: Recording):
        context = multiprocessing.get_context("spawn")
        recording.out.mkdir(parents=True, exist_ok=True)
        self._stop: Event = context.Event()
        self._workers: list[BaseProcess] = [
            context.Process(target=record_share, args=(recording, number, self._stop), daemon=True)
            for number in range(recording.workers)
        ]

    def __enter__(self) -> "Recorders":
        with worker_environment():
            for worker in self._workers:
                worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for worker in self._workers:
            worker.join(timeout=2.0)
            if worker.is_alive():
                worker.terminate()
                worker.join()

    def stop(self) -> None:
        """Let them end after the episode that each is at."""
        self._stop.set()

    def check(self) -> None:
        """Raise RuntimeError if one of them has failed; its traceback is on the terminal."""
        failed = [worker.name for worker in self._workers if worker.exitcode not in (None, 0)]
        if failed:
            raise RuntimeError(f"{', '.join(failed)} could not record; see the messages above")

    @property
    def running(self) -> bool:
        """Whether any of them still records."""
        return any(worker.is_alive() for worker in self._workers)


def record_share(recording: Recording, number: int, stop: Event) -> None:
    """Record every so manieth episode; the work of one process."""
    os.nice(5)  # whoever trains comes first
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who trains says when they end
    parent = multiprocessing.parent_process()
    env = make_env(recording.env_id, recording.env_kwargs)
    factory = load_policy(recording.policy)
    for split, index in recording.tasks()[number :: recording.workers]:
        if stop.is_set() or (parent is not None and not parent.is_alive()):
            break
        path = recording.out / file_name(split, index)
        if path.exists():
            continue
        seed = FIRST_SEED[split] + index
        policy = factory(env, seed)
        limit = getattr(policy, "max_steps", None)
        arrays = record_episode(env, policy, seed=seed, max_steps=limit)
        states = {STATE_PREFIX + name: values for name, values in arrays.pop("states").items()}
        del arrays["hidden"]
        write_arrays(path, {**arrays, **states, "seed": np.array(seed)})
    env.close()


def file_name(split: str, index: int) -> str:
    """Name of an episode's file."""
    return f"{split}-{index:06d}.npz"


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> Arrays:
    """The arrays of one episode."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def states_of(arrays: Arrays) -> Arrays:
    """Low-dimensional observations by name, (N + 1, n) each."""
    return {
        name.removeprefix(STATE_PREFIX): values
        for name, values in arrays.items()
        if name.startswith(STATE_PREFIX)
    }


class NewFiles:
    """Tells which episodes of a split have come since it was last asked."""

    def __init__(self, directory: Path, split: str):
        self._directory, self._split = directory, split
        self._seen: set[str] = set()

    def __call__(self, most: int) -> Iterator[Arrays]:
        """Episodes that are new, oldest number first, at most so many."""
        found = sorted(path.name for path in self._directory.glob(f"{self._split}-*.npz"))
        for name in [name for name in found if name not in self._seen][:most]:
            self._seen.add(name)
            yield read_arrays(self._directory / name)


def wait_for(directory: Path, split: str, count: int, recorders: Recorders, limit: float) -> None:
    """Wait until a split has so many episodes.

    Raises:
        RuntimeError: A recorder failed.
        ValueError: They are not there after `limit` seconds: too many are asked for.
    """
    end = time.monotonic() + limit
    while len(list(directory.glob(f"{split}-*.npz"))) < count:
        recorders.check()
        if time.monotonic() > end:
            raise ValueError(
                f"{directory} has fewer than {count} {split} episodes after {limit:.0f} s; give "
                "the run more time (--budget), or record fewer (--collect-episodes)"
            )
        time.sleep(0.1)
