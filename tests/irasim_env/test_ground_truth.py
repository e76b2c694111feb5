"""The real simulator beside the learned one."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from irasim_env.ground_truth import GroundTruth
from tests.conftest import TINY_CONFIG
from world_model import Start
from world_model.config import GroundTruthConfig


def test_reset_to_replays_to_the_start_exactly():
    pytest.importorskip("gym_pusht")
    env = gym.make(
        "gym_pusht:gym_pusht/PushT-v0", obs_type="pixels_agent_pos", render_mode="rgb_array"
    )
    observations = [env.reset(seed=3)[0]]
    # Aim at the block, so that contact is replayed too.
    block = env.unwrapped.block.position
    actions = np.tile(np.array(block, np.float32), (12, 1))
    observations += [env.step(action)[0] for action in actions]
    frames = np.stack([obs["pixels"] for obs in observations])
    assert not np.array_equal(frames[0], frames[8])

    truth = GroundTruth(TINY_CONFIG)
    start = Start(frames=frames[5:9], actions=actions[5:8], seed=3, replay=actions[:8])
    for _ in range(2):
        observation = truth.reset_to(start)
        assert np.array_equal(truth.frame, start.frames[-1])
        assert np.array_equal(observation["agent_pos"], observations[8]["agent_pos"])
        for t in range(8, 12):
            observation, reward, terminated, truncated, info = truth.step(actions[t])
            assert np.array_equal(truth.frame, frames[t + 1])
            assert np.array_equal(observation["agent_pos"], observations[t + 1]["agent_pos"])
        assert (type(reward), type(terminated), truncated) == (float, bool, False)
        assert "coverage" in info
    truth.close()


def test_it_has_no_time_limit():
    pytest.importorskip("gym_pusht")
    truth = GroundTruth(TINY_CONFIG)
    still = np.full((301, 2), 20, np.float32)
    frame = np.zeros((1, 96, 96, 3), np.uint8)
    truth.reset_to(Start(frames=frame, actions=still[:0], seed=0, replay=still))
    assert truth.step(still[0])[3] is False


def test_frame_before_reset_is_refused():
    pytest.importorskip("gym_pusht")
    with pytest.raises(gym.error.ResetNeeded, match="reset_to"):
        _ = GroundTruth(TINY_CONFIG).frame


def test_start_without_replay_is_refused():
    pytest.importorskip("gym_pusht")
    frame = np.zeros((1, 96, 96, 3), np.uint8)
    start = Start(frames=frame, actions=np.zeros((0, 2), np.float32))
    with pytest.raises(ValueError, match="no replay"):
        GroundTruth(TINY_CONFIG).reset_to(start)


def test_frames_of_another_size_are_refused():
    pytest.importorskip("gym_pusht")
    start = Start(
        frames=np.zeros((1, 48, 48, 3), np.uint8),
        actions=np.zeros((0, 2), np.float32),
        replay=np.zeros((0, 2), np.float32),
    )
    config = dataclasses.replace(TINY_CONFIG, height=48, width=48)
    with pytest.raises(ValueError, match=r"\(96, 96, 3\).*expects uint8 \(48, 48, 3\)"):
        GroundTruth(config).reset_to(start)


def test_world_without_ground_truth_is_refused():
    with pytest.raises(ValueError, match="'tiny' names no ground truth"):
        GroundTruth(dataclasses.replace(TINY_CONFIG, ground_truth=None))


@pytest.mark.parametrize(
    ("module", "cure"),
    [
        ("gym_pusht", r"pip install 'irasim-env\[pusht\]'"),
        ("no_such_sim", "PYTHONPATH"),
    ],
)
def test_missing_simulator_names_what_to_install(monkeypatch, module, cure):
    def refuse(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("irasim_env.ground_truth.importlib.import_module", refuse)
    truth = GroundTruthConfig(env_id=f"{module}:{module}/PushT-v0")
    with pytest.raises(gym.error.DependencyNotInstalled, match=f"'{module}'.*{cure}"):
        GroundTruth(dataclasses.replace(TINY_CONFIG, ground_truth=truth))
