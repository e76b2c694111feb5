"""The real simulator behind the world's face."""

import gymnasium as gym
import numpy as np
import pytest

import irasim_env  # noqa: F401 (registers the ids)
from irasim_env.ground_truth import GroundTruth
from policies.pusht.rl_starts import near_goal_starts
from policies.rl.real_env import RealEnv
from tests.conftest import TINY_CONFIG, randomized
from world_model import WorldModel

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")


@pytest.fixture(scope="module")
def world():
    starts = near_goal_starts(TINY_CONFIG, 2, seed=31)
    return randomized(WorldModel.create(TINY_CONFIG, starts))


def test_starts_are_moments_of_the_simulator_near_the_goal(world):
    truth = GroundTruth(world.config)
    for start in world.starts:
        assert start.frames.shape[0] == len(start.actions) + 1 <= 4
        np.testing.assert_array_equal(start.actions, start.replay[len(start.replay) - 3 :])
        observation = truth.reset_to(start)
        np.testing.assert_array_equal(truth.frame, start.frames[-1])
        np.testing.assert_allclose(observation["agent_pos"], start.states["agent_pos"][-1], 1e-5)
        coverage = truth.step(observation["agent_pos"])[4]["coverage"]
        assert 0.25 < coverage < 0.9
    truth.close()


@pytest.mark.parametrize("obs_type", ["pixels", "pixels_agent_pos"])
def test_a_seed_begins_the_same_episode_as_in_the_world(world, obs_type):
    real = RealEnv(world, obs_type=obs_type, render_mode="rgb_array")
    learned = gym.make("IRASim/World-v0", world=world, obs_type=obs_type)
    assert real.observation_space == learned.observation_space
    assert real.action_space == learned.action_space
    for options in (None, {"start": 1}):
        seen, info = real.reset(seed=4, options=options)
        dreamed, expected = learned.reset(seed=4, options=options)
        assert (info["start"], info["noise_seed"]) == (expected["start"], expected["noise_seed"])
        if obs_type == "pixels":
            seen, dreamed = {"pixels": seen}, {"pixels": dreamed}
        np.testing.assert_array_equal(seen["pixels"], dreamed["pixels"])
    observation, reward, terminated, truncated, info = real.step([256, 256])
    assert real.observation_space.contains(observation)
    assert 0 <= reward <= 1
    assert (type(reward), type(terminated), truncated) == (float, bool, False)
    assert "coverage" in info
    assert real.render().shape == (96, 96, 3)
    real.close()


def test_reward_fn_judges_as_in_the_world(world):
    seen = []

    def judge(frames, action):
        seen.append((frames, action))
        return 7.0, True

    real = RealEnv(world, reward_fn=judge)
    first, _ = real.reset(seed=0)
    second, reward, terminated, _, _ = real.step([600, -5])  # out of bounds: clipped
    assert (reward, terminated) == (7.0, True)
    np.testing.assert_array_equal(seen[0][0], np.stack((first, second)))
    np.testing.assert_array_equal(seen[0][1], [512, 0])
    real.close()


def test_what_the_simulator_cannot_do_is_refused(world):
    real = RealEnv(world)
    clip = {"frames": np.zeros((1, 96, 96, 3), np.uint8)}
    with pytest.raises(ValueError, match="options={'start': i}"):
        real.reset(options=clip)
    with pytest.raises(gym.error.ResetNeeded):
        real.step([1, 1])
    real.close()
