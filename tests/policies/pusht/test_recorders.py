"""The Push-T policies: the expert solves, the others do what their names say, seeds decide all."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

from policies.pusht import recorders
from policies.pusht.geometry import OUTLINE, Pose, RoadMap, block_distance

KINDS = ("expert", "noisy_expert", "play", "uniform")
ALL = (*KINDS, "walls")


def run(factory, seed: int, max_steps: int = 300) -> tuple[np.ndarray, float, bool]:
    """Actions, highest reward and success of one episode."""
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="state")
    obs, _ = env.reset(seed=seed)
    policy = factory(env, seed)
    actions, best, terminated = [], 0.0, False
    while len(actions) < min(max_steps, policy.max_steps or max_steps) and not terminated:
        actions.append(policy(obs))
        obs, reward, terminated, _, _ = env.step(actions[-1])
        best = max(best, float(reward))
    env.close()
    return np.stack(actions), best, terminated


def test_expert_solves_what_uniform_motion_does_not():
    for seed in (11, 2, 3):
        assert run(recorders.expert, seed)[2]
        assert run(recorders.uniform, seed)[1] < 0.9


@pytest.mark.parametrize("kind", ALL)
def test_same_seed_same_actions(kind: str):
    factory = getattr(recorders, kind)
    first, again, other = (run(factory, seed, max_steps=25)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ALL)
def test_actions_are_targets_on_the_table(kind: str):
    actions, _, _ = run(getattr(recorders, kind), 4, max_steps=60)
    assert actions.dtype == np.float32
    assert actions.shape[1:] == (2,)
    assert (actions >= 0).all()
    assert (actions <= 512).all()


def test_expert_moves_its_target_smoothly():
    actions, _, _ = run(recorders.expert, 11)
    assert np.linalg.norm(np.diff(actions, axis=0), axis=1).max() < 40


def test_mixtures_choose_by_seed():
    env = gym.make("gym_pusht:gym_pusht/PushT-v0")
    kinds = [recorders.mixture(env, seed).kind for seed in range(400)]
    shares = {kind: kinds.count(kind) / 400 for kind in KINDS}
    assert shares == pytest.approx(
        {"expert": 0.4, "noisy_expert": 0.2, "play": 0.25, "uniform": 0.15}, abs=0.06
    )
    heldout = [recorders.heldout(env, seed).kind for seed in range(2_000_000, 2_000_012)]
    assert [heldout.count(kind) for kind in KINDS] == [6, 2, 2, 2]


def test_expert_in_another_environment_says_where_it_belongs():
    env = gym.make("CartPole-v1")
    with pytest.raises(ValueError, match="gym_pusht/PushT-v0"):
        recorders.expert(env, 0)(None)


def test_distance_to_the_block():
    np.testing.assert_allclose(block_distance(OUTLINE), 0, atol=1e-9)
    np.testing.assert_allclose(
        block_distance(np.array([(0.0, -7.0), (63.0, 34.0), (0.0, 60.0)])), [7, 5, -15]
    )


def test_ways_lead_around_the_block():
    pose = Pose(x=256, y=200, angle=0.3)
    begin, end = pose.to_world(np.array([(0.0, -50.0), (0.0, 160.0)]))
    route = RoadMap(clearance=24).route(pose, begin, end)
    assert route is not None
    np.testing.assert_allclose(route[-1], end)
    corners = np.array([begin, *route])
    way = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(corners)])
    assert block_distance(pose.to_block(way)).min() >= 24 - 0.5


def test_a_quarter_of_the_full_mixture_is_at_the_walls():
    env = gym.make("gym_pusht:gym_pusht/PushT-v0")
    env.reset(seed=0)
    pairs = [
        (recorders.full_mixture(env, s).kind, recorders.mixture(env, s).kind) for s in range(400)
    ]
    assert 0.2 < sum(full == "walls" for full, _ in pairs) / 400 < 0.3
    assert all(full in (kind, "walls") for full, kind in pairs)


def test_walls_presses_the_block_into_walls():
    """The simulator gives way to a disc that is pressed on: other kinds seldom make it do so."""

    def share_pressed(factory, seed: int) -> float:
        env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="state", max_episode_steps=-1)
        obs, _ = env.reset(seed=seed)
        policy = factory(env, seed)
        pressed = 0
        for _ in range(200):
            obs, *_ = env.step(policy(obs))
            x, y, angle = map(float, obs[2:])
            corners = Pose(x=x, y=y, angle=angle).to_world(OUTLINE)
            pressed += min(corners.min() - 5, 507 - corners.max()) < -3
        env.close()
        return pressed / 200

    shares = [[share_pressed(f, s) for s in range(8)] for f in (recorders.walls, recorders.play)]
    assert np.mean(shares[0]) > 2 * np.mean(shares[1])


def test_walls_goes_along_the_border():
    """Where a key that stays down takes the disc; other kinds are seldom there."""

    def share_there(factory) -> float:
        env = gym.make("gym_pusht:gym_pusht/PushT-v0")
        there = []
        for seed in range(4):
            observation, _ = env.reset(seed=seed)
            policy = factory(env, seed)
            targets = np.array([policy(observation) for _ in range(300)])  # the block lies still
            there.append(((targets < 1) | (targets > 511)).any(1).mean())
        env.close()
        return float(np.mean(there))

    assert share_there(recorders.walls) > 0.1 > 3 * share_there(recorders.uniform)
