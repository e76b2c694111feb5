"""The single environment: contract, determinism, snapshots, rendering."""

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as equivalent

import irasim_env  # noqa: F401 (registers the ids)
from irasim_env.env import WorldEnv, step_together
from tests.chunk_worlds import table_world
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import Start, Starts, WorldModel

IDS = ("IRASim/PushT-v0", "IRASim/Tabletop-v0", "IRASim/World-v0")
OBS_TYPES = ("pixels", "pixels_agent_pos")
# The action space is the simulator's own, so this advice cannot be taken.
ACCEPTED_ADVICE = "symmetric and normalized"


def roll_out(env, actions):
    """Step through `actions`, resetting at ends: every result, for exact comparison."""
    results = []
    for action in actions:
        results.append(env.step(action))
        if results[-1][2] or results[-1][3]:
            results.append(env.reset())
    return results


def draw_actions(num_steps, seed=0):
    return np.random.default_rng(seed).uniform(0, 512, (num_steps, 2)).astype(np.float32)


@pytest.fixture
def env(tiny_world):
    with gym.make("IRASim/PushT-v0", world=tiny_world, obs_type="pixels_agent_pos") as env:
        yield env


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("obs_type", OBS_TYPES)
@pytest.mark.parametrize("checker", ["gymnasium", "stable_baselines3"])
def test_check_env_gives_only_the_advice_on_action_spaces(tiny_world, env_id, obs_type, checker):
    if checker == "stable_baselines3":
        from stable_baselines3.common.env_checker import check_env as check
    else:
        check = check_env
    env = gym.make(env_id, world=tiny_world, obs_type=obs_type, render_mode="rgb_array")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(env.unwrapped, skip_render_check=False)
    messages = [str(w.message) for w in caught]
    assert [m for m in messages if ACCEPTED_ADVICE not in m] == []


@pytest.mark.parametrize("obs_type", OBS_TYPES)
def test_spaces_and_observations_are_the_simulators(tiny_world, obs_type):
    pytest.importorskip("gym_pusht")
    kwargs = {"obs_type": obs_type, "render_mode": "rgb_array"}
    real = gym.make("gym_pusht:gym_pusht/PushT-v0", **kwargs)
    learned = gym.make("IRASim/PushT-v0", world=tiny_world, reward_fn=never_ends, **kwargs)
    assert learned.observation_space == real.observation_space
    assert learned.action_space == real.action_space
    assert learned.spec.max_episode_steps == real.spec.max_episode_steps
    (real_obs, real_info), (learned_obs, learned_info) = real.reset(seed=0), learned.reset(seed=0)
    for action in draw_actions(3):
        assert learned_obs in real.observation_space
        assert real_obs in learned.observation_space
        assert type(learned_info["is_success"]) is bool
        assert "is_success" in real_info
        real_obs, *_, real_info = real.step(action)
        learned_obs, *_, learned_info = learned.step(action)


def test_same_seed_same_rollout(tiny_world):
    rollouts = []
    for _ in range(2):
        env = gym.make("IRASim/PushT-v0", world=tiny_world, obs_type="pixels_agent_pos")
        rollouts.append([env.reset(seed=3), *roll_out(env, draw_actions(40))])
    assert all(equivalent(a, b, exact=True) for a, b in zip(*rollouts, strict=True))


def test_other_seed_other_rollout_from_the_same_start(env):
    frames = []
    for seed in (0, 1):
        _, info = env.reset(seed=seed, options={"start": 2})
        assert info["start"] == 2
        frames.append(env.step(draw_actions(1)[0])[0]["pixels"])
    assert not np.array_equal(*frames)


def test_start_that_a_seed_picks_asked_for_gives_the_same_episode(env):
    drawn, info = env.reset(seed=11)
    after_drawn = env.step(draw_actions(1)[0])
    asked, _ = env.reset(seed=11, options={"start": info["start"]})
    assert equivalent(drawn, asked, exact=True)
    assert equivalent(after_drawn, env.step(draw_actions(1)[0]), exact=True)


def test_seeds_pick_every_start(env):
    assert {env.reset(seed=seed)[1]["start"] for seed in range(40)} == {0, 1, 2, 3}


def test_clip_given_equals_the_start_it_was_taken_from(env):
    start = env.unwrapped.world.starts[1]
    expected = env.reset(seed=5, options={"start": 1})[0]
    expected_next = env.step(draw_actions(1)[0])
    clip = {"frames": start.frames, "actions": start.actions, "observations": start.states}
    obs, info = env.reset(seed=5, options=clip)
    assert info["start"] is None
    assert equivalent(obs, expected, exact=True)
    assert equivalent(env.step(draw_actions(1)[0]), expected_next, exact=True)


def test_first_observation_is_the_last_frame(env):
    start = env.unwrapped.world.starts[1]
    obs, _ = env.reset(options={"frames": start.frames, "actions": start.actions})
    assert np.array_equal(obs["pixels"], start.frames[-1])
    obs, _ = env.reset(options={"frames": start.frames[:1]})  # one frame needs no actions
    assert np.array_equal(obs["pixels"], start.frames[0])


def test_action_matters_and_out_of_range_is_clipped(env):
    def frame_after(action):
        env.reset(seed=0, options={"start": 0})
        return env.step(action)[0]["pixels"]

    inside = frame_after(np.array([512, 0], np.float32))
    assert np.array_equal(inside, frame_after(np.array([700, -80], np.float32)))
    assert not np.array_equal(inside, frame_after(np.array([300, 100], np.float32)))


@pytest.mark.parametrize("kind", [list, np.int64, np.float64])
def test_any_numbers_are_actions(env, kind):
    env.reset(seed=0)
    expected = env.step(np.array([100, 200], np.float32))
    env.reset(seed=0)
    action = [100, 200] if kind is list else np.array([100, 200], kind)
    assert equivalent(env.step(action), expected, exact=True)


def test_agent_pos_stays_in_its_space(env):
    env.reset(seed=0)
    task = env.unwrapped._task
    output = task.world.start(
        task.world.starts[0].frames[None], task.world.starts[0].actions[None], [0]
    ).output
    output.states["agent_pos"][:] = output.states["agent_pos"].new_tensor([-3.0, 513.0])
    outcome = task._read(output)
    assert task.observation(outcome, 0)["agent_pos"].tolist() == [0.0, 512.0]
    assert task.observation(outcome, 0) in env.observation_space


def test_time_limit_truncates(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, max_episode_steps=2, reward_fn=never_ends)
    env.reset(seed=0)
    assert [env.step(action)[2:4] for action in draw_actions(2)] == [(False, False), (False, True)]


def never_ends(frames, action):
    return 0.0, False


def test_world_without_reward_says_so(tiny_world_without_reward):
    env = gym.make("IRASim/World-v0", world=tiny_world_without_reward)
    _, info = env.reset(seed=0)
    assert info["reward_available"] is False
    for action in draw_actions(5):
        _, reward, terminated, _, info = env.step(action)
        assert (reward, terminated, info["reward_available"]) == (0.0, False, False)
        assert "is_success" not in info


@pytest.mark.parametrize("fixture", ["tiny_world", "tiny_world_without_reward"])
def test_reward_fn_judges_the_transition(fixture, request):
    seen = []

    def reward_fn(frames, action):
        seen.append((frames, action))
        return 0.25, len(seen) == 2

    env = gym.make("IRASim/World-v0", world=request.getfixturevalue(fixture), reward_fn=reward_fn)
    before, info = env.reset(seed=0)
    assert info["reward_available"] is True
    for i, action in enumerate(draw_actions(2)):
        after, reward, terminated, _, _ = env.step(action)
        assert (reward, terminated) == (0.25, i == 1)
        assert np.array_equal(seen[i][0], np.stack((before, after)))
        assert np.array_equal(seen[i][1], action)
        before = after


def test_snapshot_restores_fifty_steps_exactly(env):
    env.reset(seed=0)
    roll_out(env, draw_actions(10, seed=1))
    snapshot = env.unwrapped.snapshot()
    # Long enough for ends and new starts, whose draws must be restored too.
    first = [*roll_out(env.unwrapped, draw_actions(50)), env.reset()]
    for _ in range(2):
        env.unwrapped.restore(snapshot)
        again = [*roll_out(env.unwrapped, draw_actions(50)), env.reset()]
        assert all(equivalent(a, b, exact=True) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_snapshot_restores_in_another_environment(env, tiny_world, carry):
    env.reset(seed=0)
    roll_out(env, draw_actions(10, seed=1))
    snapshot = carry(env.unwrapped.snapshot())
    expected = roll_out(env.unwrapped, draw_actions(10))
    other = gym.make("IRASim/World-v0", world=tiny_world, obs_type="pixels_agent_pos").unwrapped
    other.restore(snapshot)
    again = roll_out(other, draw_actions(10))
    assert all(equivalent(a, b, exact=True) for a, b in zip(expected, again, strict=True))


def test_snapshot_keeps_the_end_and_seed(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, reward_fn=lambda f, a: (1.0, True))
    env.reset(seed=4)
    env.step(draw_actions(1)[0])
    snapshot = env.unwrapped.snapshot()
    env.reset(seed=5)
    env.unwrapped.restore(snapshot)
    assert env.unwrapped.np_random_seed == 4
    with pytest.raises(gym.error.ResetNeeded, match="terminated"):
        env.step(draw_actions(1)[0])


@pytest.mark.parametrize("other", ["config", "weights"])
def test_snapshot_of_another_world_is_refused(env, tiny_world_without_reward, other):
    starts = make_starts(TINY_CONFIG)
    worlds = {
        "config": tiny_world_without_reward,
        "weights": randomized(WorldModel.create(TINY_CONFIG, starts), seed=1),
    }
    stranger = gym.make("IRASim/World-v0", world=worlds[other]).unwrapped
    stranger.reset(seed=0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="the snapshot is of world tiny"):
        env.unwrapped.restore(stranger.snapshot())


def test_snapshot_is_restored_in_its_precision(tiny_world):
    worlds = [WorldModel.from_pretrained(tiny_world) for _ in range(2)]
    first, second = (gym.make("IRASim/World-v0", world=world).unwrapped for world in worlds)
    first.reset(seed=0)
    second.reset(seed=1)
    worlds[1].precision = "bf16"
    with pytest.raises(ValueError, match=r"in float32, .* in bf16, .*world.precision = 'float32'"):
        second.restore(first.snapshot())
    assert second.np_random_seed == 1
    worlds[1].precision = "float32"
    second.restore(first.snapshot())
    worlds[1].precision = "bf16"
    second.step(draw_actions(1)[0])


@pytest.mark.parametrize("junk", ["junk", None, 3])
def test_what_is_no_snapshot_is_refused(env, junk):
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"restore got {type(junk).__name__} .*snapshot()"):
        env.unwrapped.restore(junk)


def test_loaded_world_can_be_shared(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    envs = [gym.make("IRASim/World-v0", world=world, device=device) for device in (None, "cpu")]
    assert all(env.unwrapped.world is world for env in envs)
    alone = envs[0].reset(seed=0), roll_out(envs[0], draw_actions(6))
    envs[0].reset(seed=0)
    envs[1].reset(seed=1)
    results = []
    for action in draw_actions(6):  # stepping one does not disturb the other
        results += roll_out(envs[0], [action])
        roll_out(envs[1], [action])
    assert equivalent(alone[1], results, exact=True)


def test_starts_of_different_lengths_make_one_batch():
    clips = make_starts(TINY_CONFIG, count=4, num_frames=3)
    mixed = [
        Start(frames=clip.frames[: i % 2 + 2], actions=clip.actions[: i % 2 + 1])
        for i, clip in enumerate(clips)
    ]
    world = randomized(WorldModel.create(TINY_CONFIG, Starts(mixed)))
    envs = gym.make_vec("IRASim/World-v0", num_envs=4, world=world)
    single = gym.make("IRASim/World-v0", world=world)
    obs, info = envs.reset(seed=0, options={"start": [3, 2, 1, 0]})
    assert info["start"].tolist() == [3, 2, 1, 0]
    after = envs.step(np.tile(draw_actions(1), (4, 1)))[0]
    for i, start in enumerate([3, 2, 1, 0]):
        expected, _ = single.reset(seed=i, options={"start": start})
        assert np.array_equal(obs[i], expected)
        expected_next = single.step(draw_actions(1)[0])[0]
        assert np.abs(after[i].astype(int) - expected_next).max() <= 1


def test_rgb_array_is_the_current_frame(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    assert np.array_equal(env.render(), obs)
    obs = env.step(draw_actions(1)[0])[0]
    frame = env.render()
    assert np.array_equal(frame, obs)
    frame[:] = 0  # a copy: the environment's own frame is untouched
    assert np.array_equal(env.render(), obs)
    fps = env.unwrapped.metadata["render_fps"]
    assert isinstance(fps, int)  # PyAV takes no whole float
    assert fps == TINY_CONFIG.fps


def test_human_window_shows_the_current_frame(tiny_world):
    env = gym.make("IRASim/World-v0", world=tiny_world, render_mode="human")
    obs, _ = env.reset(seed=0)
    obs = env.step(draw_actions(1)[0])[0]
    assert env.render() is None
    screen = pygame.display.get_surface()
    assert screen.get_size() == (480, 480)
    shown = pygame.surfarray.array3d(screen).swapaxes(0, 1)
    assert np.array_equal(shown[2::5, 2::5], obs)
    env.close()
    env.close()
    assert not pygame.display.get_init()


@pytest.mark.parametrize("engine", ["streaming", "chunk"])
@pytest.mark.parametrize("render_mode", ["rgb_array", "human"])
@pytest.mark.parametrize("carry", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_of_an_environment_goes_on_alike(tiny_world, engine, render_mode, carry):
    world = tiny_world if engine == "streaming" else table_world()
    env = gym.make("IRASim/World-v0", world=world, render_mode=render_mode, reward_fn=never_ends)
    env.reset(seed=2)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    other = carry(env)
    for action in [env.action_space.sample() for _ in range(3)]:
        assert equivalent(env.step(action), other.step(action), exact=True)
    assert equivalent(env.reset(), other.reset(), exact=True)
    env.close()
    other.close()


def test_a_copy_of_a_vector_environment_goes_on_alike(tiny_world):
    envs = gym.make_vec("IRASim/World-v0", num_envs=2, world=tiny_world, max_episode_steps=2)
    envs.reset(seed=2)
    actions = np.stack([draw_actions(5), draw_actions(5, seed=1)], axis=1)
    envs.step(actions[0])
    other = pickle.loads(pickle.dumps(envs))
    for action in actions[1:]:
        assert equivalent(envs.step(action), other.step(action), exact=True)


def test_metadata_is_the_instances_own(env):
    assert env.unwrapped.metadata is not type(env.unwrapped).metadata


def test_environments_that_step_together_go_where_each_goes_alone(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    apart = [WorldEnv(world, uncertainty_samples=2) for _ in range(3)]
    together = [WorldEnv(world, uncertainty_samples=2) for _ in range(3)]
    for seed, env in enumerate([*apart, *together]):
        env.reset(seed=seed % 3)
    for i in range(4):
        actions = [np.full(2, 100.0 * j + 40 * i, np.float32) for j in range(3)]
        results = step_together(together, actions)
        for env, action, result in zip(apart, actions, results, strict=True):
            frame, reward, terminated, _, info = env.step(action)
            assert np.abs(frame.astype(int) - result[0]).max() <= 1
            assert reward == pytest.approx(result[1], abs=1e-4)
            assert terminated == result[2]
            assert info["uncertainty"] == pytest.approx(result[4]["uncertainty"], abs=0.05)
            if terminated:
                env.reset(seed=i)
        for env in (one for one, result in zip(together, results, strict=True) if result[2]):
            env.reset(seed=i)


def test_environments_of_other_settings_do_not_step_together(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    envs = [WorldEnv(world), WorldEnv(world, uncertainty_samples=2)]
    for env in envs:
        env.reset(seed=0)
    with pytest.raises(ValueError, match="step\\(\\) of each"):
        step_together(envs, [np.zeros(2)] * 2)
    with pytest.raises(gym.error.InvalidAction):
        step_together(envs[:1] * 1, [np.full(2, np.nan)])
