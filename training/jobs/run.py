"""Jobs that do not depend on each other: in this process, in processes here, or on a Ray cluster.

What works is made once in each worker (a world is loaded there), then takes one job after another.
Results come back as they are ready, in any order, and the caller keeps them: a job whose worker is
lost has left nothing behind, and is done again.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Work = Callable[[Job], Result]

# For the workers: no window, and one thread each, since there are as many workers as wanted.
WORKER_ENVIRONMENT = {
    "SDL_VIDEODRIVER": "dummy",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
# Jobs handed out for each process, so that none waits for its next one.
HANDED_OUT = 2


@contextmanager
def worker_environment() -> Iterator[None]:
    """Environment variables for processes that start meanwhile."""
    before = dict(os.environ)
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_here(
    make: Callable[[], Work[Job, Result]], jobs: Iterable[Job], processes: int
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, as they are ready.

    Args:
        make: Gives what does a job; called once in each process. It, jobs and results are pickled.
        jobs: Taken as they are needed.
        processes: How many; 0 does the jobs in this one, in their order.

    Raises:
        Exception: What a job raises. Jobs that have not begun are given up.
    """
    if processes == 0:
        work = make()
        yield from ((job, work(job)) for job in jobs)
        return
    waiting = iter(jobs)
    with (
        worker_environment(),
        ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(make,)
        ) as pool,
    ):
        running: dict[Future[Any], Job] = {}
        try:
            while True:
                for job in islice(waiting, processes * HANDED_OUT - len(running)):
                    running[pool.submit(_work, job)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_made: Any = None  # what does the jobs of this process, in a worker


def _begin(make: Callable[[], Any]) -> None:
    global _made
    _made = make()


def _work(job: Any) -> Any:
    return _made(job)
