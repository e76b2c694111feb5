"""Work over two machines of a Ray cluster, of which one is killed midway: as on one machine.

The machines are Ray's own local ones (`ray.cluster_utils`): each has its own scheduler and workers.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.control.policy_runs import RunConfig
from benchmarks.policy_evaluation import evaluate_policies
from benchmarks.pusht import planning as pusht_planning
from benchmarks.pusht.planning import PushTPlanningConfig
from policies.pusht.proposals import SkillConfig
from tests.adoption import OVERLOADED, PATIENT
from training.data import collect
from training.data.collect import CollectConfig
from training.jobs.cluster import Cluster
from training.jobs.config import OnCluster
from training.jobs.run import run_here

pytestmark = pytest.mark.adoption


def patiently(start: Callable[..., Any]) -> Callable[..., Any]:
    """Starts again what Ray gives half a minute to start, which a busy machine exceeds."""

    def start_patiently(**settings: Any) -> Any:
        for _ in range(4):
            try:
                return start(**settings)
            except Exception as error:
                if OVERLOADED not in str(error):
                    raise
        return start(**settings)

    return start_patiently


class Machines:
    """A head, which is never lost, and another machine, which may be; a core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as LocalCluster

        self.cluster = LocalCluster()
        self.cluster.add_node = patiently(self.cluster.add_node)
        self.cluster.add_node(num_cpus=1, include_dashboard=False)
        self.other: Any = None

    def start_other(self) -> None:
        if self.other is None:
            self.other = self.cluster.add_node(num_cpus=1)
            self.cluster.wait_for_nodes()

    @contextmanager
    def loses_one(self, when: Callable[[], bool]) -> Iterator[threading.Event]:
        """Meanwhile, the other machine is killed as soon as that holds."""
        self.start_other()
        killed, over = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.is_set() and not when():
                time.sleep(0.02)
            if not over.is_set():
                other, self.other = self.other, None
                self.cluster.remove_node(other, allow_graceful=False)
                killed.set()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield killed
        finally:
            over.set()
            watching.join()


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    ray = pytest.importorskip("ray", reason="needs pip install 'irasim-env[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATIENT.items():
            patch.setenv(name, value)
        found = Machines()
        yield found
        ray.shutdown()
        found.cluster.shutdown()


def pushes_right(observation: Any) -> Any:
    time.sleep(0.05)
    return [500.0, 256.0]


def lines(path: Path) -> list[dict[str, Any]]:
    """A log's entries, sorted."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))


def on(config: Any, machines: Machines, **changes: Any) -> Any:
    """A config for the cluster."""
    return type(config)(**vars(config) | {"ray": machines.cluster.address} | changes)


def test_episodes_are_recorded_as_on_one_machine(machines, tmp_path):
    config = CollectConfig(
        env_id="tests.slow_environment:Slow-v0", episodes=8, workers=0, out=tmp_path / "here"
    )
    collect.main(config)
    there = tmp_path / "there"
    annotations = there / "annotation/train"
    with machines.loses_one(lambda: len(list(annotations.glob("[!.]*.json"))) >= 2) as killed:
        collect.main(on(config, machines, out=there))
    assert killed.is_set()
    files = sorted(path.relative_to(config.out) for path in config.out.rglob("[!.]*/*/*.*"))
    assert len(files) == 16
    for file in files:
        assert (there / file).read_bytes() == (config.out / file).read_bytes(), file
    assert not list(there.rglob("*.tmp"))


def test_policies_play_as_on_one_machine(machines, tiny_world, tmp_path):
    config = RunConfig(
        world=str(tiny_world), out=tmp_path / "here", episodes=6, max_steps=8, batch=4, warm_up=3,
        device="cpu",
    )  # fmt: skip
    policies = {"right": pushes_right, "wander": "policies.pusht_family:wander"}
    here = evaluate_policies(policies, config)
    there = tmp_path / "there"

    def begun() -> bool:
        log = there / "truth.jsonl"
        return log.exists() and len(log.read_text().splitlines()) > 2

    with machines.loses_one(begun) as killed:
        found = evaluate_policies(policies, on(config, machines, out=there))
    assert killed.is_set()
    assert found["policies"] == here["policies"]
    for name in ("truth.jsonl", "world.jsonl"):
        assert lines(there / name) == lines(config.out / name)
    assert "Ray cluster of" in found["hardware"]


def test_trials_are_planned_as_on_one_machine(machines, tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr(pusht_planning, "SKILL", SkillConfig(longest=4))
    config = PushTPlanningConfig(
        world=(f"0={tiny_world}",), out=tmp_path / "here", trials=3, candidates=(1, 2), max_steps=5,
        device="cpu",
    )  # fmt: skip
    pusht_planning.main(config)
    there = tmp_path / "there"

    def begun() -> bool:
        return (there / "trials.jsonl").exists()

    with machines.loses_one(begun) as killed:
        pusht_planning.main(on(config, machines, out=there))
    assert killed.is_set()

    def trials(out: Path) -> list[dict[str, Any]]:
        found = lines(out / "trials.jsonl")
        for trial in found:
            del trial["decision_seconds"]
        return sorted(found, key=lambda trial: (trial["seed"], trial["model"], trial["count"]))

    assert len(trials(there)) == 9
    assert trials(there) == trials(config.out)


class _Settings(OnCluster):
    ray_workers = None

    def __init__(self, address: str):
        self.ray = address


def doubles(made: Path, dying: int | None = None) -> Callable[[int], int]:
    """Notes that it was made; one job ends its worker, in each worker or in the first only."""
    with made.open("a") as file:
        file.write(f"{os.getpid()}\n")

    def work(job: int) -> int:
        if job == dying and not (made.with_name("once").exists()):
            made.with_name("once").touch()
            os._exit(1)
        if job == -1:
            os._exit(1)
        if job == -2:
            raise ValueError("two below zero")
        return 2 * job

    return work


def test_a_worker_is_made_once_and_one_that_dies_costs_nothing_else(machines, tmp_path):
    machines.start_other()
    cluster = Cluster(_Settings(machines.cluster.address))
    assert cluster.workers == 2
    made = tmp_path / "made"
    found = dict(cluster.run(partial(doubles, made, 7), range(30)))
    assert found == {job: 2 * job for job in range(30)}
    assert found == dict(run_here(partial(doubles, tmp_path / "here"), range(30), 0))
    assert len(made.read_text().splitlines()) <= 3  # two workers, and one that was restarted


def test_what_cannot_be_done_is_said_and_ends_the_work(machines, tmp_path):
    cluster = Cluster(_Settings(machines.cluster.address))
    make = partial(doubles, tmp_path / "made")
    with pytest.raises(ValueError, match="two below zero"):
        list(cluster.run(make, [1, -2, 3]))
    with pytest.raises(ValueError, match=r"workers were lost .* over -1.*memory"):
        list(cluster.run(make, [-1]))
    with pytest.raises(ValueError, match="0 GPUs.*--device cpu"):
        Cluster(_Settings(machines.cluster.address), "cuda")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_leaves_nothing(tmp_path, address):
    out = tmp_path / "data"
    command = [sys.executable, "-m", "irasim_env.console", "collect", "--ray", address]
    command += ["--env-id", "CartPole-v1", "--out", str(out), "--episodes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"--ray {address}: no cluster can be reached there" in done.stderr
    assert "ray start --head" in done.stderr
    assert not out.exists()
