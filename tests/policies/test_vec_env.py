"""The VecEnv gives what Stable-Baselines3's own gives over single environments."""

import dataclasses
import functools

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import irasim_env  # noqa: F401 (registers the ids)
from policies.vec_env import WorldVecEnv
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import StreamingWorld

NUM_ENVS = 3


class EagerWorld(StreamingWorld):
    """Ends episodes by the action alone, and predicts in batches of one whatever it is given.

    A batch of matrix products rounds other than one of them does; without batches two ways of
    stepping can be compared for equality.
    """

    def step_(self, state, action):
        action = torch.as_tensor(action)
        rows = range(len(state))
        for row in rows:
            alone = state.select([row])
            output = super().step_(alone, action[[row]])
            alone.output = dataclasses.replace(output, terminated=action[[row], 1] > 460)
            state.put([row], alone)
        return dataclasses.replace(
            state.output,
            frame=state.output.frame.clone(),
            reward=state.output.reward.clone(),
            terminated=state.output.terminated.clone(),
        )

    def start(self, frames, actions, seeds, observations=None):
        known = [{k: v[[i]] for k, v in (observations or {}).items()} for i in range(len(frames))]
        rows = [
            super(EagerWorld, self).start(frames[[i]], actions[[i]], seeds[[i]], known[i])
            for i in range(len(frames))
        ]
        state = rows[0].select([0] * len(rows))
        for i, row in enumerate(rows):
            state.put([i], row)
        return state


@pytest.fixture(scope="module")
def world():
    return randomized(EagerWorld.create(TINY_CONFIG, make_starts(TINY_CONFIG)))


def make_pair(env_id, **kwargs):
    """Ours, and the reference over single environments."""
    kwargs = {"max_episode_steps": 5, **kwargs}
    ours = WorldVecEnv.make(env_id, NUM_ENVS, **kwargs)
    theirs = DummyVecEnv([functools.partial(gym.make, env_id, **kwargs)] * NUM_ENVS)
    return ours, theirs


def assert_equal(ours, theirs):
    """Equal in type, form and every number."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert set(ours) == set(theirs)
        for key in theirs:
            assert_equal(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_equal(mine, other)
    elif isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        pytest.param("IRASim/PushT-v0", {}, marks=pytest.mark.slow_suite),
        ("IRASim/World-v0", {}),
        pytest.param("IRASim/World-v0", {"chunk": 2}, marks=pytest.mark.slow_suite),
        pytest.param("IRASim/World-v0", {"uncertainty_samples": 2}, marks=pytest.mark.slow_suite),
    ],
    ids=str,
)
@pytest.mark.parametrize("obs_type", ["pixels", "pixels_agent_pos"])
def test_equals_dummy_vec_env_step_for_step(world, env_id, obs_type, kwargs):
    ours, theirs = make_pair(env_id, world=world, obs_type=obs_type, **kwargs)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    rng = np.random.default_rng(0)
    num_truncated = num_terminated = 0
    for seed in (3, None):  # None: each environment's random numbers go on
        assert_equal(ours.seed(seed) if seed else 0, theirs.seed(seed) if seed else 0)
        assert_equal(ours.reset(), theirs.reset())
        assert_equal(ours.reset_infos, theirs.reset_infos)
        for _ in range(18):
            actions = rng.uniform(0, 512, (NUM_ENVS, *ours.action_space.shape)).astype(np.float32)
            mine = ours.step(actions)
            assert_equal(mine, theirs.step(actions))
            assert_equal(ours.reset_infos, theirs.reset_infos)
            num_truncated += sum(info["TimeLimit.truncated"] for info in mine[3])
            num_terminated += sum(
                done and not info["TimeLimit.truncated"]
                for done, info in zip(mine[2], mine[3], strict=True)
            )
            for done, info in zip(mine[2], mine[3], strict=True):
                assert ("terminal_observation" in info) == done
                assert ("uncertainty" in info) == ("uncertainty_samples" in kwargs)
    assert num_truncated >= 2
    assert num_terminated >= 2


def clip(seed):
    rng = np.random.default_rng(seed)
    return {"frames": rng.integers(0, 256, (1, 96, 96, 3), np.uint8)}


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"start": 2},
        [{"start": 1}, {"start": 3}, {"start": 0}],
        [{"start": 1}, {}, {"start": 0}],
        [clip(0), {"start": 3}, clip(1)],
    ],
    ids=["one", "starts", "some", "clips"],
)
def test_options_for_all_or_each_are_used_once(world, options, begun):
    ours, theirs = make_pair("IRASim/World-v0", world=world)
    for env in (ours, theirs):
        if begun:
            env.seed(1)
            env.reset()
        env.seed(5)
        env.set_options(options)
    for _ in range(2):  # the second time without options
        assert_equal(ours.reset(), theirs.reset())
        assert_equal(ours.reset_infos, theirs.reset_infos)


def test_attributes_methods_and_pictures(world):
    ours, theirs = make_pair("IRASim/World-v0", world=world, render_mode="rgb_array")
    for env in (ours, theirs):
        env.seed(0)
        env.reset()
    assert_equal(ours.get_images(), theirs.get_images())
    assert_equal(ours.render(), theirs.render())  # tiled
    assert_equal(
        ours.env_method("render", indices=[2, 0]), theirs.env_method("render", indices=[2, 0])
    )
    for name in ("observation_space", "action_space", "render_mode", "np_random_seed"):
        assert ours.get_attr(name) == theirs.get_attr(name)
        assert ours.get_attr(name, 1) == theirs.get_attr(name, 1)
        assert ours.env_method("get_wrapper_attr", name) == ours.get_attr(name)
    states = [random.bit_generator.state for random in ours.get_attr("np_random")]
    assert states == [random.bit_generator.state for random in theirs.get_attr("np_random")]
    assert not ours.has_attr("no_such_thing")
    ours.set_attr("note", 7)
    assert ours.get_attr("note", [1, 2]) == [7, 7]
    with pytest.raises(ValueError, match="one batch of 3"):
        ours.set_attr("note", 8, indices=1)
    with pytest.raises(AttributeError, match="no method 'snapshot'"):
        ours.env_method("snapshot")
    assert ours.env_is_wrapped(gym.wrappers.TimeLimit) == [False] * NUM_ENVS
    assert ours.env_is_wrapped(gym.wrappers.TimeLimit, indices=0) == [False]


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_other_autoreset_modes_are_refused(world, mode):
    envs = gym.make_vec("IRASim/World-v0", num_envs=2, world=world, autoreset_mode=mode)
    with pytest.raises(ValueError, match="autoreset_mode='SameStep'"):
        WorldVecEnv(envs)


def test_tensors_are_refused(world):
    envs = gym.make_vec(
        "IRASim/World-v0", num_envs=2, world=world, autoreset_mode="SameStep", output="torch"
    )
    with pytest.raises(ValueError, match="output='numpy'"):
        WorldVecEnv(envs)


@pytest.mark.parametrize(
    ("algorithm", "policy", "obs_type"),
    [(PPO, "CnnPolicy", "pixels"), (SAC, "MultiInputPolicy", "pixels_agent_pos")],
)
def test_stable_baselines3_learns_and_evaluates_in_it(world, algorithm, policy, obs_type):
    env = VecMonitor(
        WorldVecEnv.make("IRASim/PushT-v0", 2, world=world, obs_type=obs_type, max_episode_steps=4)
    )
    settings = {"n_steps": 8, "batch_size": 8} if algorithm is PPO else {"buffer_size": 50}
    model = algorithm(policy, env, seed=0, **settings).learn(16)
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=3, return_episode_rewards=True)
    assert len(returns) == 3
    assert max(lengths) <= 4
