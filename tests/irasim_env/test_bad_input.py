"""Bad input: each a clear error that says what it got, what it expected, and the cure."""

import gymnasium as gym
import numpy as np
import pygame
import pytest
import torch
from gymnasium.error import InvalidAction, ResetNeeded, UnsupportedMode

import irasim_env  # noqa: F401 (registers the ids)
from tests.conftest import TINY_CONFIG, randomized
from world_model import WorldModel

GOOD = np.array([256, 256], np.float32)
CLIP = {"frames": np.zeros((3, 96, 96, 3), np.uint8), "actions": np.zeros((2, 2), np.float32)}


@pytest.fixture
def env(tiny_world):
    with gym.make("IRASim/PushT-v0", world=tiny_world) as env:
        yield env


@pytest.fixture
def envs(tiny_world):
    envs = gym.make_vec("IRASim/PushT-v0", num_envs=3, world=tiny_world, max_episode_steps=2)
    yield envs
    envs.close()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3, np.float32), r"shape \(3,\), this world expects \(2,\): x y"),
        (np.zeros((1, 2), np.float32), r"shape \(1, 2\), this world expects \(2,\)"),
        (1.0, r"shape \(\), this world expects \(2,\)"),
        ([[1.0], [1.0, 2.0]], "no array"),
        (np.array([np.nan, 0]), "NaN or infinite"),
        (np.array([0, np.inf]), "NaN or infinite"),
        (np.array(["a", "b"]), "has type <U1"),
        (np.array([None, 1.0]), "has type object"),
        (np.array([True, False]), "has type bool"),
        (np.array([1j, 0]), "has type complex128"),
    ],
)
def test_wrong_action_is_refused_and_changes_nothing(env, action, message):
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        env.step(action)
    after_refusal = env.step(GOOD)[0]
    env.reset(seed=0)
    assert np.array_equal(env.step(GOOD)[0], after_refusal)


def test_wrong_actions_of_a_batch_are_refused(envs):
    envs.reset(seed=0)
    with pytest.raises(InvalidAction, match=r"shape \(2,\), this world expects \(3, 2\)"):
        envs.step(GOOD)
    with pytest.raises(InvalidAction, match="NaN"):
        envs.step(np.array([GOOD, GOOD, [np.nan, 0]]))


def test_before_reset_is_refused(env, envs):
    for call in (
        lambda: env.step(GOOD),
        lambda: env.unwrapped.step(GOOD),
        lambda: envs.step(np.stack([GOOD] * 3)),
    ):
        with pytest.raises(ResetNeeded, match="reset"):
            call()
    with pytest.raises(ResetNeeded, match="snapshot"):
        env.unwrapped.snapshot()


def test_render_before_reset_is_refused(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="render"):
        env.unwrapped.render()


def test_render_without_a_mode_warns(env, envs):
    env.reset()
    envs.reset()
    for each in (env.unwrapped, envs):
        with pytest.warns(UserWarning, match="render_mode is None"):
            assert each.render() is None


def test_step_after_the_end_is_refused(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, reward_fn=lambda f, a: (1.0, True))
    env.reset(seed=0)
    assert env.step(GOOD)[2]
    with pytest.raises(ResetNeeded, match=r"terminated; call reset\(\)"):
        env.step(GOOD)
    env.reset()
    env.step(GOOD)


def test_step_after_the_end_is_refused_when_autoreset_is_disabled(tiny_world):
    envs = gym.make_vec(
        "IRASim/World-v0",
        num_envs=2,
        world=tiny_world,
        max_episode_steps=[1, 9],
        reward_fn=lambda f, a: (0.0, False),
        autoreset_mode="Disabled",
    )
    envs.reset(seed=0)
    envs.step(np.stack([GOOD] * 2))
    with pytest.raises(ResetNeeded, match=r"environments \[0\] are over.*reset_mask"):
        envs.step(np.stack([GOOD] * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strat": 3}, "'strat'.*mean 'start'"),
        ({"Frames": 3}, "'Frames'.*mean 'frames'"),
        ({"start": 4}, "start 4, this world has 4: expected an integer from 0 to 3"),
        ({"start": -1}, "start -1"),
        ({"start": 1.5}, "start 1.5"),
        ({"start": "one"}, "start 'one'"),
        ({"start": True}, "start True"),
        (5, "options 5, expected a dictionary"),
        ([], r"options \[\], expected a dictionary"),
        ({"start": 1, **CLIP}, "'start' and a clip"),
        ({"actions": CLIP["actions"]}, "'actions' without 'frames'"),
        ({"frames": CLIP["frames"]}, r"3 frames without the 'actions'.*\(2, 2\)"),
        ({**CLIP, "frames": CLIP["frames"][0]}, r"uint8 and shape \(96, 96, 3\).*\(T, 96, 96, 3\)"),
        ({**CLIP, "frames": CLIP["frames"][:, :48]}, r"shape \(3, 48, 96, 3\)"),
        ({**CLIP, "frames": CLIP["frames"].astype(np.float32)}, "type float32"),
        ({"frames": CLIP["frames"][:0]}, "T is 0"),
    ],
)
def test_wrong_reset_options_are_refused(env, envs, options, message):
    for each in (env, envs):
        with pytest.raises(ValueError, match=message):
            each.reset(seed=0, options=options)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((3, 2)), r"shape \(3, 2\), this world expects \(2, 2\)"),
        (np.zeros((2, 7)), r"shape \(2, 7\)"),
        (np.full((2, 2), np.nan), "NaN or infinite.*correct the recording"),
        ([["a", "b"], ["c", "d"]], "has type <U1"),
    ],
)
def test_wrong_actions_of_a_clip_are_refused(env, envs, actions, message):
    for each in (env, envs):
        with pytest.raises(ValueError, match=f"'actions' that do not fit 3 frames: .*{message}"):
            each.reset(options={**CLIP, "actions": actions})


def test_actions_of_a_clip_out_of_bounds_are_clipped(env):
    frames = []
    for value in (512, 9000):
        env.reset(seed=0, options={**CLIP, "actions": np.full((2, 2), value)})
        frames.append(env.step(GOOD)[0])
    assert np.array_equal(*frames)


def test_a_failed_reset_changes_nothing(tiny_world):
    runs = []
    for mistake in (None, {"start": 99}, {"frames": 3}, 5):
        env = gym.make("IRASim/World-v0", world=tiny_world)
        env.reset(seed=3)
        if mistake is not None:
            for seed in (None, 8):
                with pytest.raises(ValueError, match="reset got"):
                    env.reset(seed=seed, options=mistake)
        with pytest.raises(gym.error.Error, match="Seed must be"):
            env.reset(seed=-1)
        assert env.unwrapped.np_random_seed == 3
        runs.append([env.step(GOOD)[0], env.reset()[1]])
    for frame, info in runs[1:]:
        assert np.array_equal(frame, runs[0][0])
        assert info == runs[0][1]


@pytest.mark.parametrize(
    "mistake",
    [
        {"options": {"start": [0, 1, 99]}},
        {"seed": [7, 8, 9], "options": {"start": [0, 1, 99]}},
        {"seed": [5, 6, -1]},
        {"seed": [5, 6, "seven"]},
        {"seed": 4, "options": {"strat": 1}},
    ],
)
def test_a_failed_reset_of_a_batch_changes_nothing(tiny_world, mistake):
    runs = []
    for tried in (False, True):
        envs = gym.make_vec("IRASim/World-v0", num_envs=3, world=tiny_world)
        envs.reset(seed=3)
        if tried:
            with pytest.raises(ValueError, match="reset got"):
                envs.reset(**mistake)
        assert envs.np_random_seed == (3, 4, 5)
        runs.append((envs.step(np.stack([GOOD] * 3))[0], envs.reset()[1]["noise_seed"]))
    for calm, troubled in zip(*runs, strict=True):
        assert np.array_equal(calm, troubled)


def test_world_without_starts_says_how_to_start():
    env = gym.make("IRASim/World-v0", world=randomized(WorldModel.create(TINY_CONFIG)))
    with pytest.raises(ValueError, match="has no starts.*frames"):
        env.reset(seed=0)
    env.reset(seed=0, options=CLIP)
    env.step(GOOD)


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_wrong_arguments_are_refused(make, tiny_world):
    with pytest.raises(ValueError, match="obs_type is 'state', world 'tiny' offers pixels and"):
        make("IRASim/PushT-v0", world=tiny_world, obs_type="state")
    with pytest.raises(ValueError, match=r"obs_type is \['pixels'\], world 'tiny' offers pixels"):
        make("IRASim/PushT-v0", world=tiny_world, obs_type=["pixels"])
    with pytest.raises(ValueError, match="no_such_world"):
        make("IRASim/World-v0", world="no_such_world")
    world = WorldModel.from_pretrained(tiny_world)
    with pytest.raises(ValueError, match="device is 'cuda', but the given WorldModel is on 'cpu'"):
        make("IRASim/World-v0", world=world, device="cuda")
    for device in ("banana", "cuda:77", "", torch.device("meta")):
        with pytest.raises(ValueError, match="device is .*, expected one that is here: cpu"):
            make("IRASim/World-v0", world=tiny_world, device=device)


def test_a_device_may_be_torchs_own(tiny_world):
    world, device = WorldModel.from_pretrained(tiny_world), torch.device("cpu")
    gym.make("IRASim/World-v0", world=world, device=device).close()
    gym.make("IRASim/World-v0", world=tiny_world, device=device).close()


def test_unknown_render_mode_is_refused(tiny_world):
    with (
        pytest.warns(UserWarning, match="render_mode"),
        pytest.raises(UnsupportedMode, match="render_mode is 'ansi', expected None or one of"),
    ):
        gym.make("IRASim/World-v0", world=tiny_world, render_mode="ansi")
    with pytest.raises(UnsupportedMode, match="render_mode is 'human'"):
        gym.make_vec("IRASim/World-v0", world=tiny_world, render_mode="human")


def test_wrong_reward_fn_is_refused(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, reward_fn=lambda f, a: 1.0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"reward_fn returned 1.0, expected a tuple"):
        env.step(GOOD)


def test_a_window_that_pygame_cannot_draw_is_refused(tiny_world, monkeypatch):
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "windows")
    with pytest.raises(ValueError, match=r"there is no display .* SDL_VIDEODRIVER .*unset it"):
        gym.make("IRASim/World-v0", world=tiny_world, render_mode="human")
    assert not pygame.display.get_init()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"max_episode_steps": [1, 2]}, r"max_episode_steps is \[1, 2\].*3 environments"),
        (
            {"autoreset_mode": "same_step"},
            "autoreset_mode is 'same_step', expected one of NextStep, SameStep, Disabled",
        ),
        ({"autoreset_mode": None}, "autoreset_mode is None, expected one of"),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"num_envs": "3"}, "num_envs is '3', expected a whole number of at least 1"),
        ({"num_envs": 2.0}, "num_envs is 2.0"),
        ({"num_envs": True}, "num_envs is True"),
    ],
)
def test_wrong_vector_arguments_are_refused(tiny_world, kwargs, message):
    with pytest.raises(ValueError, match=message):
        gym.make_vec("IRASim/World-v0", **{"num_envs": 3, "world": tiny_world, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"seed": [1, 2]}, "2 seeds for 3 environments"),
        ({"seed": 1.5}, "seed 1.5, expected an integer of at least 0"),
        ({"seed": -1}, "seed -1, expected"),
        ({"seed": [1, 2, 2.5]}, "seed 2.5, expected"),
        ({"options": {"start": [0, True, 1]}}, "start True"),
        ({"options": {"start": [0, 1]}}, "2 starts for 3 environments"),
        ({"options": {"reset_mask": [True, False, False]}}, "reset_mask'] is list"),
        ({"options": {"reset_mask": np.ones(2, bool)}}, r"bool \(2,\), expected.*bool \(3,\)"),
        ({"options": {"reset_mask": np.ones(3)}}, r"float64 \(3,\)"),
        ({"options": {"reset_mask": np.zeros(3, bool)}}, "at least one"),
    ],
)
def test_wrong_vector_resets_are_refused(envs, kwargs, message):
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.reset(**kwargs)


def test_first_reset_cannot_leave_environments_out(envs):
    with pytest.raises(ResetNeeded, match="never reset"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
