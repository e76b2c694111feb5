"""Learned worlds in `gymnasium.utils.play`."""

import warnings

import gymnasium as gym
import numpy as np
import pygame
import pytest

import irasim_env  # noqa: F401
from irasim_env.gymnasium_play import KeyboardActions, play_arguments


@pytest.fixture
def gymnasium_play():
    """`gymnasium.utils.play.play`, which warns on import where matplotlib is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gymnasium.utils.play import play
    return play


def test_gymnasium_plays_a_world(gymnasium_play, endless_world):
    env = gym.make("IRASim/World-v0", world=endless_world, render_mode="rgb_array")
    arguments = play_arguments(env)
    held_by_step = {
        1: (pygame.KEYDOWN, pygame.K_RIGHT),
        3: (pygame.KEYDOWN, pygame.K_s),
        5: (pygame.KEYUP, pygame.K_RIGHT),
    }
    actions, frames = [], []

    def press(before, after, action, *_):
        actions.append(np.array(action).tolist())
        frames.append(after)
        step = len(actions)
        if step in held_by_step:
            kind, key = held_by_step[step]
            pygame.event.post(pygame.event.Event(kind, key=key))
        if step == 7:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    gymnasium_play(**{**arguments, "fps": 200}, seed=2, callback=press)
    assert actions == [[0, 0], [1, 0], [1, 0], [1, 1], [1, 1], [0, 1], [0, 1]]

    # The same through the environment itself: a position moves on from the agent's.
    again = gym.make("IRASim/World-v0", world=endless_world)
    # play() resets twice with its seed: once to validate, once to begin.
    _, info = again.reset(seed=2)
    controls = arguments["env"].controls
    world = again.unwrapped.world
    action = controls.first_action(world.starts[info["start"]])
    for direction, frame in zip(actions, frames, strict=True):
        action = controls.move(action, np.array(direction))
        assert np.array_equal(again.step(action)[0], frame)


def test_play_arguments_cover_all_combinations(endless_world):
    arguments = play_arguments(
        gym.make("IRASim/World-v0", world=endless_world, render_mode="rgb_array")
    )
    keys = arguments["keys_to_action"]
    assert len(keys) == 8 + 16
    both = {frozenset(k): v.tolist() for k, v in keys.items()}
    assert both[frozenset({pygame.K_LEFT, pygame.K_w})] == [-1, -1]
    space = arguments["env"].action_space
    assert all(action in space for action in keys.values())
    assert arguments["noop"] in space
    assert (arguments["fps"], arguments["zoom"]) == (10, 5)


def test_play_arguments_refuse_what_cannot_be_played(endless_world):
    with pytest.raises(ValueError, match=r"render_mode is None.*rgb_array"):
        play_arguments(gym.make("IRASim/World-v0", world=endless_world))
    with pytest.raises(ValueError, match="expected an environment of irasim_env"):
        KeyboardActions(gym.make("CartPole-v1"))


def test_keyboard_actions_begin_where_the_agent_is(endless_world):
    env = KeyboardActions(gym.make("IRASim/World-v0", world=endless_world))
    still = np.zeros(2, np.float32)
    other = gym.make("IRASim/World-v0", world=endless_world)
    for _ in range(2):
        _, info = env.reset(seed=1, options={"start": 2})
        other.reset(seed=1, options={"start": 2})
        agent = other.unwrapped.world.starts[info["start"]].states["agent_pos"][-1]
        assert np.array_equal(env.step(still)[0], other.step(agent)[0])
        env.step(np.ones(2))
    clip = other.unwrapped.world.starts[0].frames[:1]
    env.reset(seed=1, options={"frames": clip})  # of no start: the middle
    other.reset(seed=1, options={"frames": clip})
    assert np.array_equal(env.step(still)[0], other.step(np.array([256, 256]))[0])
