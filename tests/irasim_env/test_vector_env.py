"""The vector environment is the single one, many times, in one batch."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import irasim_env  # noqa: F401 (registers the ids)
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import StreamingWorld

MODES = ("NextStep", "SameStep", "Disabled")


def ends_on_the_right(frames, action):
    """Reward and end by the action alone, so that rounding cannot flip them."""
    assert frames.shape == (2, 96, 96, 3)
    return float(action[1]) / 512, bool(action[0] > 460)


class EagerWorld(StreamingWorld):
    """Ends episodes by the action alone, its reward still the head's."""

    def step_(self, state, action):
        output = super().step_(state, action)
        return dataclasses.replace(output, terminated=torch.as_tensor(action)[:, 1] > 460)


@pytest.fixture(scope="module")
def eager_world():
    return randomized(EagerWorld.create(TINY_CONFIG, make_starts(TINY_CONFIG)))


def assert_close(ours, theirs):
    """Equal in form; in value up to what a batch's rounding does."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_close(ours[key], theirs[key])
    elif isinstance(ours, tuple) or (isinstance(ours, np.ndarray) and ours.dtype == object):
        for mine, other in zip(ours, theirs, strict=True):
            assert_close(mine, other)
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype == np.uint8:
            assert np.abs(ours.astype(int) - theirs).max() <= 1
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
    else:
        assert ours == theirs


def compare(ours, theirs, mode, num_steps, seed=0):
    """Reset and step both with the same seeds and actions; how many ended, how many by limit."""
    rng = np.random.default_rng(seed)
    assert_close(ours.reset(seed=seed), theirs.reset(seed=seed))
    num_terminated = num_truncated = 0
    for _ in range(num_steps):
        actions = rng.uniform(0, 512, (ours.num_envs, 2)).astype(np.float32)
        mine = ours.step(actions)
        assert_close(mine, theirs.step(actions))
        num_terminated += mine[2].sum()
        num_truncated += mine[3].sum()
        over = mine[2] | mine[3]
        if mode == "Disabled" and over.any():
            # SyncVectorEnv pops the mask, so each gets a dictionary of its own.
            assert_close(
                ours.reset(options={"reset_mask": over}), theirs.reset(options={"reset_mask": over})
            )
    return num_terminated, num_truncated


@pytest.mark.parametrize(
    ("obs_type", "reward_fn"), [("pixels", ends_on_the_right), ("pixels_agent_pos", None)]
)
@pytest.mark.parametrize("mode", MODES)
def test_equals_sync_vector_env_with_five_step_limits(eager_world, mode, obs_type, reward_fn):
    kwargs = {
        "num_envs": 4,
        "world": eager_world,
        "max_episode_steps": 5,
        "obs_type": obs_type,
        "reward_fn": reward_fn,
    }
    ours = gym.make_vec("IRASim/PushT-v0", autoreset_mode=mode, **kwargs)
    theirs = gym.make_vec(
        "IRASim/PushT-v0",
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **kwargs,
    )
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    num_terminated, num_truncated = compare(ours, theirs, mode, num_steps=18)
    assert num_terminated >= 3
    assert num_truncated >= 3


@pytest.mark.parametrize("mode", MODES)
def test_each_environment_has_a_time_limit_of_its_own(eager_world, mode):
    limits = [2, 3, 7]
    ours = gym.make_vec(
        "IRASim/World-v0",
        num_envs=3,
        world=eager_world,
        max_episode_steps=limits,
        autoreset_mode=mode,
    )
    theirs = SyncVectorEnv(
        [
            lambda limit=limit: gym.make(
                "IRASim/World-v0", world=eager_world, max_episode_steps=limit
            )
            for limit in limits
        ],
        autoreset_mode=mode,
    )
    _, num_truncated = compare(ours, theirs, mode, num_steps=10, seed=2)
    assert num_truncated >= 3


def test_without_reward_equals_sync_vector_env(tiny_world_without_reward):
    kwargs = {"num_envs": 2, "world": tiny_world_without_reward, "max_episode_steps": 3}
    ours = gym.make_vec("IRASim/World-v0", autoreset_mode="SameStep", **kwargs)
    theirs = gym.make_vec(
        "IRASim/World-v0",
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": "SameStep"},
        **kwargs,
    )
    assert compare(ours, theirs, "SameStep", num_steps=8) == (0, 4)


def test_environment_of_a_batch_equals_the_single_one(tiny_world):
    num_envs, num_steps = 5, 32
    kwargs = {"world": tiny_world, "reward_fn": lambda f, a: (0.0, False)}
    envs = gym.make_vec("IRASim/PushT-v0", num_envs=num_envs, **kwargs)
    actions = np.random.default_rng(0).uniform(0, 512, (num_steps, num_envs, 2))
    batch = [envs.reset(seed=20)[0]] + [envs.step(action)[0] for action in actions]
    for i in range(num_envs):
        env = gym.make("IRASim/PushT-v0", **kwargs)
        single = [env.reset(seed=20 + i)[0]] + [env.step(action[i])[0] for action in actions]
        difference = np.stack(single).astype(int) - np.stack(batch)[:, i]
        assert np.abs(difference).max() <= 1


def test_same_seeds_same_batch(tiny_world):
    results = []
    for seed in (7, [7, 8, 9]):
        envs = gym.make_vec("IRASim/PushT-v0", num_envs=3, world=tiny_world, max_episode_steps=5)
        envs.reset(seed=seed)
        envs.action_space.seed(0)
        results.append([envs.step(envs.action_space.sample()) for _ in range(12)])
    for first, second in zip(*results, strict=True):
        assert data_equivalence(first, second, exact=True)


def test_seed_list_with_none_keeps_that_generator(tiny_world):
    envs = gym.make_vec("IRASim/PushT-v0", num_envs=2, world=tiny_world)
    _, first = envs.reset(seed=[1, 2])
    _, second = envs.reset(seed=[1, None])
    assert first["noise_seed"][0] == second["noise_seed"][0]
    assert first["noise_seed"][1] != second["noise_seed"][1]
    assert envs.np_random_seed == (1, 2)


def test_autoreset_ignores_the_action(tiny_world):
    envs = gym.make_vec("IRASim/World-v0", num_envs=2, world=tiny_world, max_episode_steps=[1, 9])
    envs.reset(seed=0)
    envs.step(np.full((2, 2), 100.0))
    _, rewards, terminated, truncated, infos = envs.step(np.array([[np.nan, 0], [100, 100]]))
    assert rewards[0] == 0
    assert not terminated[0]
    assert not truncated[0]
    assert infos["_start"].tolist() == [True, False]


def test_reset_mask_is_read_not_popped(tiny_world):
    envs = gym.make_vec("IRASim/PushT-v0", num_envs=3, world=tiny_world, autoreset_mode="Disabled")
    before, _ = envs.reset(seed=0)
    options = {"reset_mask": np.array([False, True, False]), "start": 1}
    after, infos = envs.reset(seed=50, options=options)
    assert options.keys() == {"reset_mask", "start"}
    assert infos["_start"].tolist() == [False, True, False]
    assert envs.np_random_seed == (0, 51, 2)
    assert np.array_equal(before[[0, 2]], after[[0, 2]])
    assert np.array_equal(after[1], envs.unwrapped.world.starts[1].frames[-1])


def test_returned_arrays_are_the_callers_own(tiny_world):
    envs = gym.make_vec("IRASim/PushT-v0", num_envs=2, world=tiny_world, render_mode="rgb_array")
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    envs.step(envs.action_space.sample())
    assert np.array_equal(first, kept)
    frames = envs.render()
    assert isinstance(frames, tuple)
    assert [frame.shape for frame in frames] == [(96, 96, 3)] * 2
    frames[0][:] = 0
    assert envs.render()[0].any()


def test_episode_statistics_wrapper_counts_episodes(tiny_world):
    envs = gym.make_vec(
        "IRASim/World-v0",
        num_envs=2,
        world=tiny_world,
        max_episode_steps=3,
        reward_fn=lambda f, a: (1.0, False),
    )
    envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    for _ in range(3):
        infos = envs.step(envs.action_space.sample())[-1]
    assert infos["episode"]["r"].tolist() == [3.0, 3.0]


def test_spec_is_json_and_makes_the_same_again(tiny_world):
    envs = gym.make_vec(
        "IRASim/PushT-v0", num_envs=2, world=str(tiny_world), autoreset_mode="SameStep"
    )
    spec = gym.envs.registration.EnvSpec.from_json(envs.spec.to_json())
    again = gym.make_vec(spec)
    assert again.num_envs == 2
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert np.array_equal(again.reset(seed=0)[0], envs.reset(seed=0)[0])


def test_metadata_is_the_instances_own(tiny_world):
    def make(mode):
        return gym.make_vec("IRASim/World-v0", world=tiny_world, autoreset_mode=mode)

    modes = [make(mode).metadata["autoreset_mode"] for mode in (*MODES, AutoresetMode.DISABLED)]
    assert modes == [*AutoresetMode, AutoresetMode.DISABLED]
    assert "autoreset_mode" not in type(make("Disabled")).metadata
