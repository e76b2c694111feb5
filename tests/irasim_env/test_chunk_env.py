"""Environments over chunk worlds, and steps of several actions in any world."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as equivalent

import irasim_env  # noqa: F401 (registers the ids)
from tests.chunk_worlds import table_world
from tests.irasim_env.test_vector_env import MODES, assert_close
from world_model import WorldModel

ID = "IRASim/World-v0"
# The action space is the dataset's own, and the frames are tiny.
ACCEPTED_ADVICE = ("symmetric and normalized", "image size", "minimal resolution")


@pytest.fixture(scope="module")
def chunk_world(tmp_path_factory):
    path = tmp_path_factory.mktemp("worlds") / "table"
    table_world().save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=["chunk", "streaming"])
def any_world(request, chunk_world, tiny_world):
    """A loaded world of each engine."""
    return WorldModel.from_pretrained(chunk_world if request.param == "chunk" else tiny_world)


def draw(space, num_steps, seed=0):
    space.seed(seed)
    return [space.sample() for _ in range(num_steps)]


def bright(frames, action):
    """Reward and end by the action alone."""
    assert frames.shape[0] == 2
    return float(action[0]), bool(action[0] > 0.05)


@pytest.mark.parametrize("chunk", [None, 1, 3, 5])
@pytest.mark.parametrize("checker", ["gymnasium", "stable_baselines3"])
def test_check_env(chunk_world, chunk, checker):
    if checker == "stable_baselines3":
        from stable_baselines3.common.env_checker import check_env as check
    else:
        check = check_env
    env = gym.make(ID, world=chunk_world, chunk=chunk, render_mode="rgb_array")
    assert env.action_space.shape == ((2,) if chunk is None else (chunk, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(env.unwrapped, skip_render_check=False)
    messages = [str(w.message) for w in caught]
    assert [m for m in messages if not any(known in m for known in ACCEPTED_ADVICE)] == []


def test_a_chunk_world_knows_no_reward_and_no_end(chunk_world):
    env = gym.make(ID, world=chunk_world)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info == {"reward_available": False}


def test_a_chunk_gives_the_last_frame_and_all_of_them(any_world):
    env = gym.make(ID, world=any_world, chunk=4)
    obs, info = env.reset(seed=2)
    assert "frames" not in info
    actions = draw(env.action_space, 1)[0]
    obs, _, _, _, info = env.step(actions)
    assert info["frames"].shape == (4, *obs.shape)
    assert info["frames"].dtype == np.uint8
    assert np.array_equal(info["frames"][-1], obs)
    assert not np.array_equal(info["frames"][0], obs)


def test_chunks_of_a_streaming_world_are_its_steps(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    chunked = gym.make(ID, world=world, chunk=3, obs_type="pixels_agent_pos")
    single = gym.make(ID, world=world, obs_type="pixels_agent_pos")
    chunked.reset(seed=1)
    single.reset(seed=1)
    for actions in draw(chunked.action_space, 2):
        obs, reward, terminated, _, info = chunked.step(actions)
        steps = []
        for action in actions:
            steps.append(single.step(action))
            if steps[-1][2]:
                break
        assert terminated == steps[-1][2]
        assert reward == pytest.approx(sum(step[1] for step in steps))
        assert equivalent(obs, steps[-1][0], exact=True)
        for frame, step in zip(info["frames"], steps, strict=False):
            assert np.array_equal(frame, step[0]["pixels"])
        if terminated:
            break


def test_an_episode_that_ends_within_a_chunk_shows_its_end(any_world):
    env = gym.make(ID, world=any_world, chunk=4, reward_fn=bright)
    env.reset(seed=0)
    actions = np.full((4, 2), 0.01, np.float32)
    actions[2, 0] = 0.08
    actions[3, 0] = 0.09
    obs, reward, terminated, _, info = env.step(actions)
    assert terminated
    assert reward == pytest.approx(0.01 + 0.01 + 0.08)
    assert info["frames"].shape[0] == 4
    assert np.array_equal(obs, info["frames"][2])
    with pytest.raises(gym.error.ResetNeeded):
        env.step(actions)


def test_snapshot_then_the_same_chunks(any_world):
    env = gym.make(ID, world=any_world, chunk=2, reward_fn=lambda frames, action: (1.0, False))
    env.reset(seed=0)
    actions = draw(env.action_space, 3)
    env.step(actions[0])
    snapshot = env.unwrapped.snapshot()
    first = [env.step(a) for a in actions]
    env.unwrapped.restore(snapshot)
    again = [env.step(a) for a in actions]
    assert all(equivalent(a, b, exact=True) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunk", [None, 2])
def test_vector_env_is_sync_vector_env_over_single_ones(chunk_world, mode, chunk):
    world = WorldModel.from_pretrained(chunk_world)
    kwargs = {"world": world, "chunk": chunk, "reward_fn": bright}
    ours = gym.make_vec(ID, num_envs=3, max_episode_steps=3, autoreset_mode=mode, **kwargs)
    theirs = gym.vector.SyncVectorEnv(
        [lambda: gym.make(ID, max_episode_steps=3, **kwargs)] * 3,
        autoreset_mode=ours.metadata["autoreset_mode"],
    )
    assert ours.single_action_space == theirs.single_action_space
    assert_close(ours.reset(seed=4), theirs.reset(seed=4))
    rng, num_ended = np.random.default_rng(0), 0
    for _ in range(7):
        # Some end by their action, some by the limit.
        actions = rng.uniform(-0.1, 0.07, ours.action_space.shape).astype(np.float32)
        mine, other = ours.step(actions), theirs.step(actions)
        assert_close(mine, other)
        over = mine[2] | mine[3]
        num_ended += int(over.sum())
        if mode == "Disabled" and over.any():
            options = {"reset_mask": over}
            assert_close(ours.reset(options=options), theirs.reset(options=options))
    assert num_ended > 3


def test_actions_are_checked_action_by_action(chunk_world):
    env = gym.make(ID, world=chunk_world, chunk=3)
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match=r"shape \(2,\), this world expects \(3, 2\)"):
        env.step(np.zeros(2, np.float32))
    actions = np.zeros((3, 2), np.float32)
    actions[1, 0] = np.nan
    with pytest.raises(gym.error.InvalidAction, match="NaN"):
        env.step(actions)


def test_actions_out_of_bounds_are_clipped(chunk_world):
    frames = []
    for factor in (1, 100):
        env = gym.make(ID, world=chunk_world, chunk=2)
        env.reset(seed=0)
        frames.append(env.step(np.full((2, 2), 0.1 * factor, np.float32))[4]["frames"])
    assert np.array_equal(*frames)


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True, "2"])
def test_a_chunk_that_is_no_number_of_actions(chunk_world, chunk):
    with pytest.raises(ValueError, match=r"chunk is .*expected None or a number of actions"):
        gym.make(ID, world=chunk_world, chunk=chunk)
