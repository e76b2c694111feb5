"""The long episode, in miniature."""

import dataclasses
import json

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.prediction.endurance import EnduranceConfig, main, read
from world_model.tasks import load_task


@pytest.mark.slow_suite
def test_a_long_episode_is_measured(tiny_world, tmp_path):
    config = EnduranceConfig(world=str(tiny_world), out=tmp_path, steps=210, device="cpu")
    results = main(config)
    written = json.loads((tmp_path / "endurance.json").read_text())
    assert abs(results["memory_growth"]) < 0.02
    assert [row["step"] for row in written["readings"]] == [100, 210]
    assert (tmp_path / "frames.png").stat().st_size > 0


def test_readings_follow_the_disc():
    """On true frames the disc is read where it is drawn, and its distance from the target told."""
    pytest.importorskip("gym_pusht")
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels", max_episode_steps=-1)
    frame, _ = env.reset(seed=1)
    frames, targets = [frame], []
    for step in range(110):
        target = np.array([60.0, 60.0]) if (step // 10) % 2 else np.array([440.0, 60.0])
        frames.append(env.step(target.astype(np.float32))[0])
        targets.append(target)
    config, task = EnduranceConfig(world="any", steps=110), load_task("pusht")
    (row, last) = read({"frames": frames, "targets": targets}, config, task)
    assert row["disc_to_target_px"] < 3
    assert last["t_read"] == 1.0
    elsewhere = [np.array([256.0, 500.0])] * 110
    off = read({"frames": frames, "targets": elsewhere}, config, task)
    assert off[0]["disc_to_target_px"] > 40


def test_too_few_steps_are_refused():
    with pytest.raises(ValueError, match="expected more than 100"):
        dataclasses.replace(EnduranceConfig(world="x"), steps=50)


@pytest.mark.slow_suite
def test_a_simulator_that_is_not_to_be_had_costs_nothing(tiny_world, tmp_path, monkeypatch, capsys):
    def missing(config):
        raise gym.error.DependencyNotInstalled("pip install 'irasim-env[pusht]'")

    monkeypatch.setattr("benchmarks.prediction.endurance.GroundTruth", missing)
    results = main(EnduranceConfig(world=str(tiny_world), out=tmp_path, steps=110, device="cpu"))
    assert results["real_readings"] == []
    assert "pip install 'irasim-env[pusht]'" in capsys.readouterr().out
