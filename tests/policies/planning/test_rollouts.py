"""What planners plan in: the learned world, and the simulator branched where it is."""

import dataclasses
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from policies.planning import (
    BranchingSimulator,
    Experience,
    LearnedRollout,
    SimulatorRollout,
)
from policies.planning.scene import LearnedScene, RealScene, simulator_settings
from policies.pusht.geometry import Pose
from policies.pusht.nearness import nearness, simulator_nearness
from policies.pusht.recorders import Expert
from tests.conftest import TINY_CONFIG, make_starts, randomized, without_states
from world_model import WorldModel

PUSH_T = simulator_settings(TINY_CONFIG)


@pytest.fixture(scope="module")
def simulator():
    with BranchingSimulator(*PUSH_T, workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def world() -> WorldModel:
    """A tiny random world whose rewards are not cut, so that they differ."""
    config = dataclasses.replace(TINY_CONFIG, reward_low=-100.0, reward_high=100.0)
    return randomized(WorldModel.create(config, make_starts(config)))


def replay(seed: int, actions: np.ndarray) -> tuple[list[float], list[bool]]:
    """Rewards and ends of stepping from the reset."""
    env = gym.make(PUSH_T[0], max_episode_steps=-1, disable_env_checker=True, **PUSH_T[1])
    env.reset(seed=seed)
    steps = [env.step(action) for action in actions]
    env.close()
    return [float(step[1]) for step in steps], [bool(step[2]) for step in steps]


def pushes(seed: int, count: int, *shape: int) -> np.ndarray:
    """Targets near the middle, where the block is: contacts, where a restored pose would drift."""
    rng = np.random.default_rng(seed)
    return rng.uniform(150, 350, (*shape, count, 2)).astype(np.float32)


def expert_actions(seed: int, count: int) -> np.ndarray:
    """What the expert does, at most `count` actions or until it has succeeded."""
    env = gym.make(PUSH_T[0], max_episode_steps=-1, disable_env_checker=True, **PUSH_T[1])
    env.reset(seed=seed)
    policy, taken, terminated = Expert(env, seed), [], False
    while not terminated and len(taken) < count:
        taken.append(policy(None))
        terminated = env.step(taken[-1])[2]
    env.close()
    return np.stack(taken)


def test_simulator_rollout_is_a_replay(simulator):
    past = [expert_actions(10 + b, count)[:-3] for b, count in enumerate((70, 90))]
    candidates = pushes(9, 6, 2, 3)
    rollout = SimulatorRollout(simulator=simulator)
    state = [Experience(seed=10 + b, actions=past[b]) for b in range(2)]
    found = rollout(state, torch.from_numpy(candidates))
    assert found.reward.shape == found.terminated.shape == (2, 3, 6)
    for b in range(2):
        for k in range(3):
            rewards, ends = replay(10 + b, np.concatenate([past[b], candidates[b, k]]))
            assert found.reward[b, k].tolist() == np.float32(rewards[len(past[b]) :]).tolist()
            assert found.terminated[b, k].tolist() == ends[len(past[b]) :]
    assert found.reward.std() > 0


def test_simulator_rollout_follows_an_episode_and_goes_back(simulator):
    actions, candidates = pushes(1, 20), pushes(2, 5, 1, 2)

    def rewards(seed: int, steps: int) -> np.ndarray:
        experience = Experience(seed=seed, actions=actions[:steps])
        return simulator.try_actions([experience], candidates)[0]

    on_the_way = [rewards(3, steps) for steps in (4, 11, 20)]
    rewards(4, 7)
    back = [rewards(3, steps) for steps in (20, 11, 4)]
    for first, again in zip(on_the_way, reversed(back), strict=True):
        np.testing.assert_array_equal(first, again)


def test_nothing_is_stepped_after_an_end(simulator):
    seed = 11
    taken = expert_actions(seed, 300)
    past, rest = taken[:-2], np.stack([*taken[-2:], taken[-1], taken[-1]])
    state = [Experience(seed=seed, actions=past)]
    rewards, ends = simulator.try_actions(state, rest[None, None])
    assert ends[0, 0].tolist() == [False, True, False, False]
    assert rewards[0, 0, 1] == 1
    assert rewards[0, 0, 2:].tolist() == [0, 0]
    over = [Experience(seed=seed, actions=taken)]
    with pytest.raises(RuntimeError, match="the episode has ended"):
        simulator.try_actions(over, rest[None, None])
    assert simulator.try_actions(state, rest[None, None])[1].any()  # it goes on after an error


def test_a_measure_takes_the_place_of_the_reward():
    actions = expert_actions(11, 60)
    path = "policies.pusht.nearness:simulator_nearness"
    with BranchingSimulator(*PUSH_T, measure=path) as simulator:
        tried = actions[None, None, 20:]
        rewards, _ = simulator.try_actions([Experience(seed=11, actions=actions[:20])], tried)
    env = gym.make(PUSH_T[0], max_episode_steps=-1, disable_env_checker=True, **PUSH_T[1])
    env.reset(seed=11)
    expected = []
    for action in actions:
        env.step(action)
        expected.append(simulator_nearness(env))
    env.close()
    np.testing.assert_array_equal(rewards[0, 0], expected[20:])
    assert expected[-1] > expected[0]


def test_nearness_is_one_in_the_goal_and_falls_with_distance_and_turn():
    goal = Pose(x=256, y=256, angle=0.5)
    assert nearness(goal, goal) == 1
    assert nearness(Pose(x=256 + 51.2, y=256, angle=0.5), goal) == pytest.approx(0.9)
    turned = [nearness(Pose(x=256, y=256, angle=0.5 + turn), goal) for turn in (0.1, 1, 3)]
    assert turned == sorted(turned, reverse=True)


def test_a_simulator_that_cannot_be_made_says_why():
    with pytest.raises(RuntimeError, match="NoSuchTask"):
        BranchingSimulator("NoSuchTask-v0")


def test_learned_rollout_in_parts_is_the_whole(world: WorldModel):
    starts = [world.starts[b] for b in range(2)]
    state = world.start(
        np.stack([s.frames for s in starts]), np.stack([s.actions for s in starts]), [1, 2]
    )
    actions = torch.from_numpy(pushes(0, 3, 2, 5))
    actions[:, 4] = actions[:, 0]
    whole = world.rollout(state, actions)
    parts = LearnedRollout(world=world, max_rows=4)(state, actions)
    torch.testing.assert_close(parts.reward, whole.reward, atol=1e-5, rtol=0)
    assert torch.equal(parts.terminated, whole.terminated)
    # Candidates share noise: the same actions lead to the same rewards, others to others.
    torch.testing.assert_close(parts.reward[:, 4], parts.reward[:, 0], atol=1e-6, rtol=0)
    assert (parts.reward[:, 1] - parts.reward[:, 0]).abs().max() > 1e-4
    predicted = world.rollout_states(state, actions)
    parts = LearnedRollout(world=world, max_rows=4, imagine="states")(state, actions)
    torch.testing.assert_close(parts.reward, predicted.reward, atol=1e-5, rtol=0)
    assert not torch.allclose(predicted.reward, whole.reward)


def test_a_world_without_rewards_is_no_place_to_plan(tiny_world_without_reward: Path):
    with pytest.raises(ValueError, match="no reward head"):
        LearnedRollout(world=WorldModel.from_pretrained(tiny_world_without_reward))


def test_states_are_imagined_only_where_they_are_predicted():
    config = without_states(TINY_CONFIG)
    blind = WorldModel.create(config, make_starts(config))
    with pytest.raises(ValueError, match="imagine frames"):
        LearnedRollout(world=blind, imagine="states")
    with pytest.raises(ValueError, match="expected frames or states"):
        LearnedRollout(world=blind, imagine="state")  # pyright: ignore[reportArgumentType]


def test_real_scene_starts_the_world_from_the_last_real_frames(world: WorldModel):
    scene = RealScene(world.config, world)
    truth = gym.make("gym_pusht/PushT-v0", obs_type="pixels_agent_pos")
    first = scene.reset(5)
    obs, _ = truth.reset(seed=5)
    np.testing.assert_array_equal(first, obs["agent_pos"].astype(np.float32))
    observed, actions = [obs], pushes(0, 7)
    seen = []
    for action in actions:
        seen.append(scene.state())
        scene.step(action)
        observed.append(truth.step(action)[0])
    context = world.config.context
    for steps in (0, 2, 6):
        begin = max(steps - context, 0)
        clip, places = (
            np.stack([obs[name] for obs in observed[begin : steps + 1]])[None]
            for name in ("pixels", "agent_pos")
        )
        known = {"agent_pos": places.astype(np.float32)}  # what the robot knows is handed in
        seeds = seen[steps].seeds  # the noise is the scene's
        expected = world.start(clip, actions[None, begin:steps], seeds, known)
        assert torch.equal(seen[steps].output.frame, expected.output.frame)
        assert torch.equal(seen[steps].ring.keys, expected.ring.keys)
    assert len({int(state.seeds) for state in seen}) == len(seen)
    scene.close()
    truth.close()


def test_learned_scene_hides_its_noise(world: WorldModel):
    scene = LearnedScene(world)
    first = scene.reset(6)
    np.testing.assert_array_equal(first, world.starts[2].actions[-1])
    action = np.array([100.0, 200.0], np.float32)
    state = scene.state()
    own = scene.env.unwrapped.snapshot().state
    predicted = world.step(state, action[None])[1]
    got = scene.step(action)
    assert torch.equal(state.latents, own.latents)
    assert got.reward == world.step(own, action[None])[1].reward.item()
    assert got.reward != predicted.reward.item()
    scene.close()
