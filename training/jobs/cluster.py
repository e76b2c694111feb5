"""The same jobs over the machines of a Ray cluster.

A worker is an actor of Ray's, which restarts it, on another machine if need be, when its process or
its machine is lost. The job that it had goes to whichever worker is free next: Ray's own retry
would hold it back until that very worker has found a place again.
"""

import importlib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic
from urllib.parse import urlsplit

from training.jobs.config import OnCluster
from training.jobs.run import WORKER_ENVIRONMENT, Job, Result, Work
from world_model.versions import versions

# Of one job: then it is the job, it seems, that its workers die of.
MOST_LOSSES = 5
# Seconds without any worker after which it is said what the work waits for.
PATIENCE = 60.0
# Seconds in which a cluster has to answer.
ANSWERS = 10.0
# What results may depend on; a worker that has another version of it is reported.
SAME_EVERYWHERE = ("irasim-env", "torch", "numpy", "gymnasium", "av", "pymunk", "mujoco")


class Cluster:
    """A Ray cluster that this process is connected to.

    Args:
        config: Says which, and how many workers.
        device: Where worlds run: cpu, cuda, or None: on GPUs if the cluster has any.
        cores: Of the processor, that a worker needs.

    Raises:
        ValueError: There is no Ray, no such cluster, or not enough of what a worker needs in it.
    """

    def __init__(self, config: OnCluster, device: str | None = "cpu", cores: int = 1):
        self._ray = _connected(str(config.ray))
        resources = self._ray.cluster_resources()
        if device is None:
            device = "cuda" if resources.get("GPU") else "cpu"
        # A worker sees the one GPU that is its own.
        self.device = "cuda:0" if device.startswith("cuda") else device
        self._needs = {"num_cpus": cores, "num_gpus": int(device.startswith("cuda"))}
        room = int(resources.get("CPU", 0) // cores)
        if self._needs["num_gpus"]:
            room = min(room, int(resources.get("GPU", 0)))
        if room == 0:
            raise ValueError(
                f"--ray {config.ray}: the cluster has {self._of(resources)}, a worker needs "
                f"{self._of({'CPU': cores, 'GPU': self._needs['num_gpus']})}; add machines"
                + (", or give --device cpu" if self._needs["num_gpus"] else "")
            )
        self.workers = config.ray_workers or room

    def __str__(self) -> str:
        """What it is made of, for reports."""
        machines = sum(node["Alive"] for node in self._ray.nodes())
        found = self._of(self._ray.cluster_resources())
        return f"Ray cluster of {machines} machines, {found}, {self.workers} workers"

    def _of(self, resources: dict[str, float]) -> str:
        cores, gpus = (resources.get(kind, 0) for kind in ("CPU", "GPU"))
        return f"{cores:g} cores, {gpus:g} GPUs"

    def run(
        self, make: Callable[[], Work[Job, Result]], jobs: Iterable[Job]
    ) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, as they are ready.

        Args:
            make: As for `training.jobs.run.run_here`; goes to each machine once. Modules that it
                comes from have to be installed there.
            jobs: Taken as they are needed.

        Raises:
            ValueError: A job has lost its worker time and again.
            Exception: What a job raises, or the making.
        """
        ray: Any = self._ray
        made_of = ray.put(make)
        Worker = ray.remote(_Worker)
        actors = [
            Worker.options(
                **self._needs,
                max_restarts=-1,
                runtime_env={"env_vars": WORKER_ENVIRONMENT},
            ).remote(made_of)
            for _ in range(self.workers)
        ]
        try:
            yield from _Spread(ray, actors, jobs).results()
        finally:
            for actor in actors:
                ray.kill(actor)


class _Worker:
    """Runs in the cluster."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._work: Any = None

    def ready(self) -> dict[str, str]:
        """Make what works; the versions of what it is made with."""
        if self._work is None:
            self._work = self._make()
        return versions(*SAME_EVERYWHERE)

    def work(self, job: Any) -> Any:
        """Do a job."""
        return self._work(job)


@dataclass(eq=False)
class _Task(Generic[Job]):
    job: Job
    losses: int = 0


class _Spread(Generic[Job, Result]):
    """Hands jobs to workers, those of lost workers first."""

    def __init__(self, ray: Any, actors: list[Any], jobs: Iterable[Job]):
        self._ray = ray
        self._new = (_Task(job) for job in jobs)
        self._again: deque[_Task[Job]] = deque()
        self._idle: list[Any] = []
        self._differing: set[str] = set()
        # What is under way: a worker gets ready (None), or does a job.
        self._running: dict[Any, tuple[Any, _Task[Job] | None]] = {}
        for actor in actors:
            self._make_ready(actor)

    def results(self) -> Iterator[tuple[Job, Result]]:
        """Each job with its result."""
        errors = self._ray.exceptions
        lost = (errors.RayActorError, errors.ObjectLostError, errors.OutOfMemoryError)
        while True:
            while self._idle and (task := self._next()):
                actor = self._idle.pop()
                self._running[actor.work.remote(task.job)] = actor, task
            if self._idle and all(task is None for _, task in self._running.values()):
                return
            done, _ = self._ray.wait(list(self._running), timeout=PATIENCE)
            if not done and all(task is None for _, task in self._running.values()):
                self._say_what_is_there()
            for one in done:
                actor, task = self._running.pop(one)
                try:
                    result = self._ray.get(one)
                except errors.RayTaskError as error:  # the job's own
                    raise error.cause from error
                except lost as error:
                    self._lost(actor, task, error)
                    continue
                self._idle.append(actor)
                if task is None:
                    self._compare(result)
                else:
                    yield task.job, result

    def _make_ready(self, actor: Any) -> None:
        """Have a worker begin, as soon as there is a place for it and as often as it takes."""
        ready = actor.ready.options(max_task_retries=-1).remote()
        self._running[ready] = actor, None

    def _next(self) -> _Task[Job] | None:
        return self._again.popleft() if self._again else next(self._new, None)

    def _lost(self, actor: Any, task: _Task[Job] | None, error: Exception) -> None:
        """Have the job done again, and the worker restarted."""
        if task is None:  # Ray restarts it for as long as there is hope
            raise ValueError(f"Ray gave up a worker ({_line(error)}); see `ray status`") from error
        self._make_ready(actor)
        task.losses += 1
        if task.losses == MOST_LOSSES:
            raise ValueError(
                f"{task.losses} workers were lost one after the other over {str(task.job)[:200]}, "
                f"the last as {_line(error)}; what was finished is kept: look for "
                "what ends them (memory?), and run the same command again"
            ) from error
        self._again.append(task)

    def _say_what_is_there(self) -> None:
        free = self._ray.available_resources()
        print(
            f"waiting for the cluster: {len(self._running)} workers are loading or have no place, "
            f"{free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs are free (`ray status`)",
            flush=True,
        )

    def _compare(self, found: dict[str, str]) -> None:
        """Report, once, where a worker has other versions than this process."""
        here = versions(*SAME_EVERYWHERE)
        for name in sorted({*here, *found}):
            there = (
                f"{name} {found.get(name, 'none')} in the cluster, {here.get(name, 'none')} here"
            )
            if found.get(name) != here.get(name) and there not in self._differing:
                self._differing.add(there)
                print(f"{there}: results may differ in rounding; install the same", flush=True)


def _connected(address: str) -> Any:
    """Ray, connected to a cluster, as it stays until this process ends.

    Raises:
        ValueError: It is not installed, or nobody answers there.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise ValueError(
            "--ray needs the package ray: pip install 'irasim-env[ray]', here and on all machines"
        ) from error
    if not ray.is_initialized():
        print(f"connecting to the Ray cluster at {address}", flush=True)
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="warning")
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"--ray {address}: no cluster can be reached there ({_line(error)}); start one "
                "with `ray start --head` and give the address that it prints, or auto on one of "
                "its machines"
            ) from error
    return ray


def _knock(address: str) -> None:
    """Raise OSError or ValueError where nobody answers: Ray itself waits a minute for it."""
    if ":" in address:
        place = urlsplit(address if "://" in address else f"//{address}")
        socket.create_connection((place.hostname or "", place.port or 0), ANSWERS).close()


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
