"""What LeRobot and others ask of each environment of a batch: as of Gymnasium's own."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import irasim_env  # noqa: F401 (registers the ids)

ATTRIBUTES = (
    "_max_episode_steps",
    "action_space",
    "observation_space",
    "render_mode",
    "np_random_seed",
    "task",
    "task_description",
)


def make(world, **kwargs):
    settings = {"world": world, "render_mode": "rgb_array", "max_episode_steps": 4, **kwargs}
    return gym.make_vec("IRASim/World-v0", num_envs=2, **settings)


@pytest.fixture
def envs(tiny_world):
    envs = make(tiny_world)
    envs.reset(seed=3)
    yield envs
    envs.close()


@pytest.fixture
def theirs(tiny_world):
    def one():
        return gym.make(
            "IRASim/World-v0", world=tiny_world, render_mode="rgb_array", max_episode_steps=4
        )

    envs = SyncVectorEnv([one] * 2)
    envs.reset(seed=3)
    yield envs
    envs.close()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_those_of_single_environments(name, envs, theirs):
    assert envs.get_attr(name) == theirs.get_attr(name) == envs.call(name)


def test_frames_are_those_of_single_environments(envs, theirs):
    ours, other = envs.call("render"), theirs.call("render")
    assert len(ours) == len(other) == 2
    for mine, frame in zip(ours, other, strict=True):
        assert np.abs(mine.astype(int) - frame).max() <= 1


def test_the_task_is_told_in_words(envs, tiny_world):
    assert envs.call("task") == ("pusht", "pusht")
    assert envs.call("task_description")[0].startswith("Push the T-shaped block")
    env = gym.make("IRASim/World-v0", world=tiny_world)
    assert (env.unwrapped.task, env.unwrapped.task_description) == (
        envs.get_attr("task")[0],
        envs.get_attr("task_description")[0],
    )


def test_time_limits_can_be_set(envs):
    envs.set_attr("_max_episode_steps", [1, 2])
    assert envs.get_attr("_max_episode_steps") == (1, 2)
    actions = np.full((2, 2), 100, np.float32)
    assert envs.step(actions)[3].tolist() == [True, False]
    assert envs.step(actions)[3].tolist() == [False, True]


def test_what_is_set_is_kept_for_each(envs):
    envs.set_attr("level", (1, [2]))
    assert envs.get_attr("level") == (1, [2])
    envs.set_attr("task_description", "Leave the T alone.")
    assert envs.call("task_description") == ("Leave the T alone.",) * 2


def test_the_world_is_shared(envs):
    assert envs.get_attr("world") == (envs.world, envs.world)


def test_methods_that_are_set_are_called(envs):
    envs.set_attr("double", lambda number: 2 * number)
    assert envs.call("double", 4) == (8, 8)


def test_what_is_not_there_is_told(envs, tiny_world):
    assert not hasattr(envs, "no_such_thing")
    with pytest.raises(AttributeError, match=r"'no_such_thing'.*task_description"):
        envs.call("no_such_thing")
    with pytest.raises(AttributeError, match=r"step\(\)"):
        envs.call("step", np.zeros(2))
    with pytest.raises(AttributeError, match="max_episode_steps="):
        make(tiny_world, max_episode_steps=-1).call("_max_episode_steps")


@pytest.mark.parametrize(
    ("name", "values", "cure"),
    [
        ("level", [1, 2, 3], "one each"),
        ("world", None, "make_vec"),
        ("num_envs", 3, "make_vec"),
        ("_max_episode_steps", [0, 1], "positive"),
    ],
)
def test_what_cannot_be_set_is_told(envs, name, values, cure):
    with pytest.raises(ValueError, match=cure):
        envs.set_attr(name, values)


def test_options_of_other_programs_are_passed_over_with_one_warning(tiny_world):
    single = gym.make("IRASim/World-v0", world=tiny_world)
    for env in (single, make(tiny_world)):
        plain = env.reset(seed=5, options={"start": 1})[1]
        options = {"lerobot_new_rollout": True, "start": 1}
        with pytest.warns(UserWarning, match="lerobot_new_rollout.*known are start"):
            told = env.reset(seed=5, options=options)[1]
        assert np.array_equal(told["noise_seed"], plain["noise_seed"])
        assert np.array_equal(told["start"], plain["start"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env.reset(options=options)
        with pytest.warns(UserWarning, match="another"):
            env.reset(options={**options, "another": 1})


def test_a_misspelt_mask_is_refused(envs):
    with pytest.raises(ValueError, match="'reset_mask'"):
        envs.reset(options={"reset_masks": np.ones(2, bool)})


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_success_is_told_in_every_step(mode, tiny_world):
    envs = make(
        tiny_world,
        autoreset_mode=mode,
        max_episode_steps=9,
        reward_fn=lambda frames, action: (0.0, action[0] > 256),
    )
    assert envs.reset(seed=0)[1]["is_success"].tolist() == [False, False]
    left, one = np.zeros((2, 2), np.float32), np.array([[500, 0], [0, 0]], np.float32)
    assert envs.step(left)[-1]["is_success"].tolist() == [False, False]
    infos = envs.step(one)[-1]
    final = infos["final_info"] if mode == "SameStep" else infos
    assert final["is_success"].tolist() == [True, False]
