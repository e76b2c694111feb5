"""Jobs in processes of this machine, and what a cluster asks for before it is one."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from training.data.collect import CollectConfig, main
from training.jobs.run import run_here


def doubles(made: Path) -> Callable[[int], int]:
    """Notes which process it was made in."""
    with made.open("a") as file:
        file.write(f"{os.getpid()}\n")

    def work(job: int) -> int:
        if job < 0:
            raise ValueError(f"{job} is below zero")
        return 2 * job

    return work


@pytest.mark.parametrize("processes", [0, 2])
def test_each_job_is_done_once_and_what_does_them_made_once_a_process(processes, tmp_path):
    found = list(run_here(partial(doubles, tmp_path / "made"), range(9), processes))
    assert sorted(found) == [(job, 2 * job) for job in range(9)]
    makers = (tmp_path / "made").read_text().split()
    assert len(makers) == len(set(makers)) <= max(processes, 1)
    assert (str(os.getpid()) in makers) == (processes == 0)


def test_jobs_are_taken_as_they_are_needed(tmp_path):
    taken = []

    def jobs() -> Iterator[int]:
        for job in range(100):
            taken.append(job)
            yield job

    results = run_here(partial(doubles, tmp_path / "made"), jobs(), 1)
    next(results)
    assert len(taken) < 10
    results.close()


@pytest.mark.parametrize("processes", [0, 1])
def test_an_error_of_a_job_ends_the_work(processes, tmp_path):
    with pytest.raises(ValueError, match="-1 is below zero"):
        list(run_here(partial(doubles, tmp_path / "made"), [1, -1, *range(50)], processes))


def test_workers_in_a_cluster_need_a_cluster(tmp_path):
    with pytest.raises(ValueError, match="give --ray ADDRESS"):
        CollectConfig(env_id="CartPole-v1", out=tmp_path, ray_workers=2)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_missing_ray_is_named_with_its_extra(tmp_path):
    with pytest.raises(ValueError, match=r"pip install 'irasim-env\[ray\]'"):
        main(CollectConfig(env_id="CartPole-v1", camera="render", out=tmp_path, ray="auto"))
