"""What every simulator that a task brings promises: the contract of an environment, seeds, exact
snapshots, batches that equal singles. And what the simulators of all tasks do for recording."""

import copy
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as equivalent

import irasim_env  # noqa: F401 (registers the ids)
from tests.simulators import NEEDED, OURS, TASKS, needs, simulator
from training.data.record import load_policy, record_episode
from world_model.tasks import load_task


def draw_actions(env: gym.Env, count: int, seed: int = 0) -> list[np.ndarray]:
    """Actions, each held for some steps, so that things are pushed."""
    env.action_space.seed(seed)
    return [action for _ in range(count // 5) for action in [env.action_space.sample()] * 5]


def roll_out(env, actions):
    """Step through `actions`, resetting at ends: every result, for exact comparison."""
    results = []
    for action in actions:
        results.append(env.step(action))
        if results[-1][2] or results[-1][3]:
            results.append(env.reset())
    return results


@pytest.fixture(params=OURS)
def task(request):
    needs(request.param)
    return load_task(request.param)


@pytest.fixture
def env(task):
    with simulator(task) as env:
        yield env


@pytest.mark.parametrize("obs_type", ["pixels", "as recorded", "undrawn"])
@pytest.mark.parametrize("checker", ["gymnasium", "stable_baselines3"])
def test_check_env_has_nothing_to_say(task, obs_type, checker):
    if checker == "stable_baselines3":
        from stable_baselines3.common.env_checker import check_env as check
    else:
        check = check_env
    settings = {
        "pixels": {"obs_type": "pixels"},
        "as recorded": {},
        "undrawn": dict(task.undrawn_kwargs),
    }[obs_type]
    env = simulator(task, render_mode="rgb_array", **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(env.unwrapped, skip_render_check=False)
    assert [str(w.message) for w in caught] == []


def test_it_is_made_by_its_id_with_its_time_limit(task, env):
    assert env.spec.id == task.bare_id
    assert env.spec.max_episode_steps == task.max_episode_steps
    assert isinstance(gym.spec(task.bare_id).entry_point, str)


def test_importing_us_does_not_load_it(task):
    needed = NEEDED[task.name]
    code = (
        f"import sys, irasim_env, gymnasium; gymnasium.spec({task.bare_id!r}); "
        f"print({needed!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_same_seed_same_rollout_in_another_environment(task):
    rollouts = []
    for _ in range(2):
        env = simulator(task)
        rollouts.append([env.reset(seed=3), *roll_out(env, draw_actions(env, 40))])
    assert all(equivalent(a, b, exact=True) for a, b in zip(*rollouts, strict=True))


def test_other_seed_other_start(env):
    first, second = (env.reset(seed=seed)[0]["pixels"] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_an_episode_does_not_depend_on_those_before(task, env):
    env.reset(seed=1)
    roll_out(env, draw_actions(env, 20))
    after = [env.reset(seed=7), *roll_out(env, draw_actions(env, 20))]
    fresh = simulator(task)
    alone = [fresh.reset(seed=7), *roll_out(fresh, draw_actions(fresh, 20))]
    assert all(equivalent(a, b, exact=True) for a, b in zip(after, alone, strict=True))


def test_what_is_drawn_is_what_is_stepped(task, env):
    """Drawing changes nothing: an environment that does not draw goes the same way."""
    undrawn = simulator(task, **task.undrawn_kwargs)
    env.reset(seed=5)
    undrawn.reset(seed=5)
    for action in draw_actions(env, 30):
        _, reward, terminated, _, info = env.step(action)
        _, its_reward, its_end, _, its_info = undrawn.step(action)
        assert (reward, terminated) == (its_reward, its_end)
        assert equivalent(info, its_info, exact=True)
        if terminated:
            break


@pytest.mark.parametrize(
    "carry", [lambda s: s, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_snapshot_restores_in_contact_exactly_here_and_elsewhere(task, env, carry):
    env.reset(seed=0)
    roll_out(env, draw_actions(env, 15, seed=1))
    snapshot = carry(env.unwrapped.snapshot())
    inside = env.unwrapped
    # Long enough for a new start, whose draws must be restored too.
    first = [*roll_out(inside, draw_actions(env, 40)), inside.reset()]
    for other in (inside, simulator(task).unwrapped):
        other.restore(snapshot)
        again = [*roll_out(other, draw_actions(env, 40)), other.reset()]
        assert all(equivalent(a, b, exact=True) for a, b in zip(first, again, strict=True))


def test_snapshot_before_a_reset_is_refused(task):
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\)"):
        simulator(task).unwrapped.snapshot()


@pytest.mark.parametrize("junk", ["junk", None, 3])
def test_what_is_no_snapshot_is_refused(env, junk):
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"restore got {type(junk).__name__} .*snapshot()"):
        env.unwrapped.restore(junk)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_batch_equals_singles(task, mode):
    envs = gym.make_vec(
        task.env_id,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={
            "autoreset_mode": gym.vector.AutoresetMode[
                "SAME_STEP" if mode == "SameStep" else "NEXT_STEP"
            ]
        },
        **task.env_kwargs,
    )
    singles = [simulator(task) for _ in range(3)]
    observed, _ = envs.reset(seed=[4, 5, 6])
    alone = [env.reset(seed=seed)[0] for env, seed in zip(singles, (4, 5, 6), strict=True)]
    for _ in range(12):
        for name in observed:
            assert np.array_equal(observed[name], np.stack([one[name] for one in alone]))
        actions = np.stack([env.action_space.sample() for env in singles])
        observed, rewards, ended, *_ = envs.step(actions)
        results = [env.step(action) for env, action in zip(singles, actions, strict=True)]
        assert rewards.tolist() == [result[1] for result in results]
        assert not ended.any()
        alone = [result[0] for result in results]
    envs.close()


@pytest.mark.parametrize(
    "action", [[0.0], [0.0, np.nan], [np.inf, 0.0], ["left", "up"], [[0.0, 0.0]]]
)
def test_what_is_no_action_is_refused_and_nothing_lost(env, action):
    env.reset(seed=0)
    before = env.unwrapped.snapshot()
    with pytest.raises(gym.error.InvalidAction, match="expected"):
        env.unwrapped.step(action)
    after = env.unwrapped.snapshot()
    assert np.array_equal(before.physics, after.physics)


def test_step_before_a_reset_asks_for_it(task):
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\)"):
        simulator(task).unwrapped.step(np.zeros(2))


@pytest.mark.parametrize("name", TASKS)
def test_its_recorder_records_what_it_names(name):
    task = load_task(name)
    env = simulator(task)
    assert task.recorder is not None
    policy = load_policy(task.recorder)(env, 11)
    found = record_episode(env, policy, seed=11, max_steps=8, hidden=task.hidden)
    assert len(found["frames"]) == len(found["actions"]) + 1 <= 9
    assert set(found["hidden"]) == set(task.hidden)
    assert task.place is None or task.place in found["states"]
    for values in (*found["states"].values(), *found["hidden"].values()):
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", TASKS)
def test_what_is_read_from_its_pictures_is_there(name):
    task = load_task(name)
    env = simulator(task)
    frames = np.stack([env.reset(seed=seed)[0]["pixels"] for seed in range(4)])
    found = task.load("measure")(frames)
    assert task.place_reading in found
    for values in found.values():
        assert len(values) == 4
        assert np.isfinite(values).all()
    nothing = task.load("measure")(np.full_like(frames, 128))
    assert all(np.isnan(values).all() for values in nothing.values())
