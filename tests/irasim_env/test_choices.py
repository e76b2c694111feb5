"""Discrete actions in environments: the simulator's own space, and nothing that is not in it."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction
from gymnasium.utils.env_checker import check_env, data_equivalence

import irasim_env  # noqa: F401  registers the ids
from policies.vec_env import WorldVecEnv
from tests.conftest import make_starts, randomized
from tests.irasim_env.test_choice_controls import config
from world_model import WorldModel
from world_model.choices import ChoicesConfig

WAYS = ChoicesConfig(space="discrete", counts=(4,), first=(1,))
WHEELS = ChoicesConfig(space="multi_discrete", counts=(3, 2), first=(0, 0))
BUTTONS = ChoicesConfig(space="multi_binary", counts=(2, 2), first=(0, 0))


def world(choices: ChoicesConfig) -> WorldModel:
    described = dataclasses.replace(config(choices), termination_threshold=1.0)  # no end
    return randomized(WorldModel.create(described, make_starts(described)))


@pytest.mark.parametrize(
    ("choices", "space", "action", "vector"),
    [
        (WAYS, gym.spaces.Discrete(4, start=1), 3, [0, 0, 1, 0]),
        (WHEELS, gym.spaces.MultiDiscrete([3, 2]), [1, 1], [0, 1, 0, 0, 1]),
        (BUTTONS, gym.spaces.MultiBinary(2), [1, 0], [0, 1, 1, 0]),
    ],
)
def test_the_space_is_the_simulators(choices, space, action, vector):
    made = world(choices)
    env = gym.make("IRASim/World-v0", world=made)
    assert env.action_space == space
    check_env(env.unwrapped, skip_render_check=True)
    steps = []
    for taken in (action, np.array(vector, np.float32)):
        env.reset(seed=0, options={"start": 1})
        steps.append(env.step(taken))
    assert data_equivalence(*steps, exact=True)
    state = made.begin([1], [int(env.reset(seed=0, options={"start": 1})[1]["noise_seed"])])
    expected = made.step_(state, np.array([vector], np.float32)).frame[0].numpy()
    np.testing.assert_array_equal(steps[0][0], expected)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (0, r"action 0\D.*expected an integer from 1 to 4|action \[0\], expected an integer"),
        (5, "expected an integer from 1 to 4"),
        (2.0, r"type float64 and shape \(\), this world expects integers of shape \(\)"),
        ([1, 2], r"shape \(2,\)"),
        ([0.5, 0.5, 0, 0], r"no one-hot vector of \(4,\)"),
        (np.array([True, False, True, False]), "no one-hot vector"),
        ("left", "has type"),
    ],
)
def test_what_is_no_choice_is_refused(action, message: str):
    env = gym.make("IRASim/World-v0", world=world(WAYS))
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        env.step(action)


def test_vector_environments_and_stable_baselines3_take_choices():
    made = world(WAYS)
    envs = gym.make_vec("IRASim/World-v0", num_envs=3, world=made, autoreset_mode="SameStep")
    assert envs.single_action_space == gym.spaces.Discrete(4, start=1)
    envs.reset(seed=5)
    actions = np.array([1, 4, 2])
    seen = envs.step(actions)[0]
    for row in range(3):
        env = gym.make("IRASim/World-v0", world=made)
        env.reset(seed=5 + row)
        alone = env.step(int(actions[row]))[0]
        assert np.abs(alone.astype(int) - seen[row]).max() <= 1
    wrapped = WorldVecEnv(envs)
    wrapped.reset()
    wrapped.step(actions)
    with pytest.raises(InvalidAction, match="expected an integer from 1 to 4"):
        wrapped.step(np.array([1, 0, 2]))


def test_what_is_about_to_be_reset_may_be_any_choice():
    made = world(WHEELS)
    envs = gym.make_vec("IRASim/World-v0", num_envs=2, world=made, max_episode_steps=1)
    envs.reset(seed=0)
    envs.step(np.array([[0, 1], [2, 0]]))
    envs.step(np.array([[9, 9], [9, 9]]))  # both are reset: nothing is looked at


@pytest.mark.parametrize(
    ("choices", "space", "actions"),
    [
        (WAYS, gym.spaces.MultiDiscrete([4, 4], start=[1, 1]), [4, 1]),
        (WHEELS, gym.spaces.MultiDiscrete([[3, 2], [3, 2]]), [[0, 1], [2, 0]]),
        (BUTTONS, gym.spaces.MultiBinary((2, 2)), [[0, 1], [1, 1]]),
    ],
)
def test_several_choices_are_taken_at_once(choices, space, actions):
    made = world(choices)
    env = gym.make("IRASim/World-v0", world=made, chunk=2)
    assert env.action_space == space
    env.reset(seed=0, options={"start": 0})
    together, *_ = env.step(np.array(actions))
    single = gym.make("IRASim/World-v0", world=made)
    single.reset(seed=0, options={"start": 0})
    for action in actions:
        seen, *_ = single.step(action)
    np.testing.assert_array_equal(together, seen)


def test_recorded_actions_are_given_as_choices_or_as_one_hot():
    made = world(WHEELS)
    env = gym.make("IRASim/World-v0", world=made)
    frames = made.starts[0].frames
    seen = []
    for actions in ([[0, 1], [2, 0]], WHEELS.one_hot(np.array([[0, 1], [2, 0]]))):
        env.reset(seed=0, options={"frames": frames, "actions": actions})
        seen.append(env.step([1, 1])[0])
    np.testing.assert_array_equal(*seen)
    with pytest.raises(ValueError, match="do not fit 3 .*2 integers: 0 to 2, 0 to 1"):
        env.reset(options={"frames": frames, "actions": [[0, 2], [2, 0]]})


@pytest.mark.parametrize("first", [0, 1])
def test_a_policy_of_stable_baselines3_learns_in_it(first: int):
    import stable_baselines3

    ways = ChoicesConfig(space="discrete", counts=(4,), first=(first,))
    envs = WorldVecEnv.make("IRASim/World-v0", 2, world=world(ways), max_episode_steps=4)
    model = stable_baselines3.PPO(
        "CnnPolicy", envs, n_steps=4, batch_size=8, n_epochs=1, device="cpu"
    )
    if first == 0:
        model.learn(8)
        return
    with pytest.raises(InvalidAction, match="expected an integer from 1 to 4"):
        model.learn(8)  # Stable-Baselines3 counts from 0, whatever the space says


def test_the_card_says_what_there_is_to_choose():
    from world_model.io.card import write_card

    text = write_card(world(WAYS).config)
    assert "Action: an integer from 1 to 4; the model sees one-hot vectors (4,)" in text


def test_gymnasiums_own_player_chooses(monkeypatch):
    import pygame

    from irasim_env.gymnasium_play import play_arguments

    env = gym.make("IRASim/World-v0", world=world(WAYS), render_mode="rgb_array")
    arguments = play_arguments(env)
    wrapped = arguments["env"]
    wrapped.reset(seed=0)
    wrapped.step(arguments["noop"])
    assert wrapped._action.tolist() == [1, 0, 0, 0]
    wrapped.step(arguments["keys_to_action"][(pygame.K_DOWN,)])
    assert wrapped._action.tolist() == [0, 0, 1, 0]
