"""Processes that record while something else goes on."""

import time

import numpy as np
import pytest

from tests.training.recorded import episode
from training.captured.recorders import (
    NewFiles,
    Recorders,
    Recording,
    file_name,
    read_arrays,
    states_of,
    wait_for,
    write_arrays,
)
from training.data.collect import FIRST_SEED
from training.data.record import load_policy, make_env, record_episode

ENV, KWARGS = "gym_pusht:gym_pusht/PushT-v0", {"obs_type": "pixels_agent_pos"}


def recording(out, **changes) -> Recording:
    settings = {
        "env_id": ENV,
        "env_kwargs": KWARGS,
        "policy": "policies.pusht:uniform",
        "out": out,
        "validation": 1,
        "train": 2,
        "workers": 2,
    }
    return Recording(**(settings | changes))


@pytest.mark.slow_suite
def test_what_is_recorded_is_what_one_process_would_record(tmp_path):
    with Recorders(recording(tmp_path)) as recorders:
        wait_for(tmp_path, "val", 1, recorders, limit=300)
        wait_for(tmp_path, "train", 2, recorders, limit=300)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train-000000.npz",
        "train-000001.npz",
        "val-000000.npz",
    ]
    env = make_env(ENV, KWARGS)
    for split, index in (("val", 0), ("train", 1)):
        seed = FIRST_SEED[split] + index
        policy = load_policy("policies.pusht:uniform")(env, seed)
        expected = record_episode(env, policy, seed=seed, max_steps=policy.max_steps)
        made = read_arrays(tmp_path / file_name(split, index))
        for name in ("frames", "actions", "rewards", "terminated"):
            np.testing.assert_array_equal(made[name], expected[name])
        np.testing.assert_array_equal(states_of(made)["agent_pos"], expected["states"]["agent_pos"])
        assert made["seed"] == seed


def test_they_stop_when_they_are_told_and_keep_what_was_there(tmp_path):
    write_arrays(tmp_path / file_name("train", 0), episode(7))
    with Recorders(recording(tmp_path, validation=0, train=100_000, workers=1)) as recorders:
        wait_for(tmp_path, "train", 2, recorders, limit=300)
        recorders.stop()
        while recorders.running:
            time.sleep(0.05)
    np.testing.assert_array_equal(
        read_arrays(tmp_path / file_name("train", 0))["frames"], episode(7)["frames"]
    )
    assert len(list(tmp_path.iterdir())) < 10


def test_a_recorder_that_fails_is_told_of(tmp_path):
    broken = recording(tmp_path, policy="policies.pusht:Pose", workers=1)
    with (
        Recorders(broken) as recorders,
        pytest.raises(RuntimeError, match="could not record"),
    ):
        wait_for(tmp_path, "train", 1, recorders, limit=300)


def test_waiting_has_an_end(tmp_path):
    with (
        Recorders(recording(tmp_path, validation=0, train=0)) as recorders,
        pytest.raises(ValueError, match="has fewer than 1 train episodes after 0 s.*--budget"),
    ):
        wait_for(tmp_path, "train", 1, recorders, limit=0.0)


def test_each_file_is_new_once(tmp_path):
    new = NewFiles(tmp_path, "train")
    for seed in range(3):
        write_arrays(tmp_path / file_name("train", seed), episode(seed))
    write_arrays(tmp_path / file_name("val", 9), episode(9))
    assert [int(arrays["seed"]) for arrays in new(2)] == [0, 1]
    assert [int(arrays["seed"]) for arrays in new(2)] == [2]
    assert not list(new(2))
