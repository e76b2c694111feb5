"""A `reward_fn` of the user's: what it may return, and what a failure of it leaves."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence as equivalent

import irasim_env  # noqa: F401 (registers the ids)
from tests.chunk_worlds import table_world
from world_model import WorldModel

ID = "IRASim/World-v0"
GOOD = np.array([256, 256], np.float32)


class Failing:
    """Judges by the picture, and fails at one call."""

    def __init__(self, at, failure=None):
        self.calls = 0
        self.at = at
        self.failure = failure

    def __call__(self, frames, action):
        self.calls += 1
        if self.calls == self.at:
            if self.failure is None:
                raise RuntimeError("the judge is out")
            return self.failure
        return float(frames[1].mean() - frames[0].mean()), False


@pytest.fixture(params=["streaming", "chunk"])
def world(request, tiny_world):
    """A world of each engine."""
    return WorldModel.from_pretrained(tiny_world) if request.param == "streaming" else table_world()


def steps(env, actions, error):
    """The results of steps, each tried again where it fails; how many did."""
    results, failures = [env.reset(seed=3)], 0
    for action in actions:
        try:
            results.append(env.step(action))
        except error:
            failures += 1
            results.append(env.step(action))
    return results, failures


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("vector", [False, True])
def test_a_failed_step_can_be_taken_again(world, vector, chunk):
    runs = []
    for at in (None, 6):
        kwargs = {"world": world, "reward_fn": Failing(at), "chunk": chunk}
        env = gym.make_vec(ID, num_envs=2, max_episode_steps=5, **kwargs) if vector else None
        env = env or gym.make(ID, max_episode_steps=9, **kwargs)
        env.action_space.seed(0)
        actions = [env.action_space.sample() for _ in range(7)]
        result, failures = steps(env, actions, RuntimeError)
        assert failures == (at is not None)
        runs.append(result)
    assert all(equivalent(a, b, exact=True) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("failure", [1.0, (float("nan"), False), (1.0, 0)])
def test_a_wrong_judgement_costs_no_transition(tiny_world, failure):
    runs = []
    for at in (None, 3):
        env = gym.make(ID, world=tiny_world, reward_fn=Failing(at, failure))
        result, failures = steps(env, [GOOD + i for i in range(5)], ValueError)
        assert failures == (at is not None)
        runs.append(result)
    assert all(equivalent(a, b, exact=True) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (1.0, r"returned 1.0, expected a tuple"),
        ((1.0, False, {}), "expected a tuple"),
        ((float("nan"), False), "reward nan, expected a number other than NaN"),
        ((None, False), "reward None, expected a number"),
        (("1.5", False), "reward '1.5', expected a number"),
        ((1.0, 1), "returned 1 for whether the episode ends, expected True or False"),
        ((1.0, None), "returned None for whether"),
        ((1.0, np.array([True])), "for whether the episode ends"),
    ],
)
def test_wrong_judgements_are_refused(tiny_world, judged, message):
    env = gym.make(ID, world=tiny_world, reward_fn=lambda frames, action: judged)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(GOOD)


@pytest.mark.parametrize(
    "judged",
    [
        (2, True),
        (np.float32(2), np.True_),
        (np.array(2.0), np.array(True)),
        (torch.tensor(2.0), torch.tensor(True)),
    ],
)
def test_any_number_and_any_flag_will_do(tiny_world, judged):
    env = gym.make(ID, world=tiny_world, reward_fn=lambda frames, action: judged)
    env.reset(seed=0)
    _, reward, terminated, _, _ = env.step(GOOD)
    assert (reward, terminated) == (2.0, True)
    assert (type(reward), type(terminated)) == (float, bool)


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_reward_fn_that_cannot_be_called_is_refused(make, tiny_world):
    with pytest.raises(ValueError, match=r"reward_fn is 3, expected a function \(frames, action\)"):
        make(ID, world=tiny_world, reward_fn=3)
