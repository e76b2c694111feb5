"""Episodes in the learned world and in its ground truth, from the same starts."""

import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

import gymnasium as gym

from benchmarks.control.fresh_starts import record_starts
from irasim_env.env import WorldEnv
from irasim_env.ground_truth import GroundTruth
from policies.actors.actors import load_actor
from policies.actors.episodes import episode_seed, observation_type, play_in_truth, play_in_world
from policies.pusht.family import Wander
from world_model import WorldModel


class Watching:
    """Wanders, and keeps what it was shown first, by seed."""

    def __init__(self):
        self.first: dict[int, dict[str, np.ndarray]] = {}
        self.actions: dict[int, list[np.ndarray]] = {}

    def __call__(self, env: gym.Env, seed: int):
        wander = Wander(env, seed)
        self.actions[seed] = []

        def policy(observation):
            self.first.setdefault(seed, observation)
            self.actions[seed].append(wander(observation))
            return self.actions[seed][-1]

        return policy


@pytest.fixture
def world(tiny_world) -> WorldModel:
    """A tiny world that never ends an episode, with three true starts."""
    world = WorldModel.from_pretrained(str(tiny_world))
    world.starts = record_starts(world.config, range(2_700_000, 2_700_003), steps=4)
    return world


def endless(frames: np.ndarray, action: np.ndarray) -> tuple[float, bool]:
    return float(frames[-1].mean()) / 255, False


def in_world(
    world: WorldModel, starts, batch: int, watching=None, reward_fn=endless, steps=5, rows=None
):
    env = WorldEnv(world, obs_type=observation_type(world))
    actor = load_actor(watching or Wander, env)
    played = play_in_world(
        world,
        actor,
        starts,
        max_steps=steps,
        batch=batch,
        rows=rows,
        seed=0,
        reward_fn=reward_fn,
    )
    return {episode.start: episode for episode in played}


def in_truth(world: WorldModel, starts, watching, steps=5):
    truth = GroundTruth(world.config)
    actor = load_actor(watching, truth.env)
    played = play_in_truth(world, truth, actor, starts, max_steps=steps, seed=0)
    episodes = {episode.start: episode for episode in played}
    truth.close()
    return episodes


def test_both_begin_at_the_same_frames_with_the_same_policies(world):
    here, there = Watching(), Watching()
    in_world(world, [0, 1, 2], 3, here)
    in_truth(world, [0, 1, 2], there)
    for start in range(3):
        seed = episode_seed(0, start)
        shown = world.starts[start].frames[-1]
        np.testing.assert_array_equal(here.first[seed]["pixels"], shown)
        np.testing.assert_array_equal(there.first[seed]["pixels"], shown)
        assert set(here.first[seed]) == set(there.first[seed]) == {"pixels", "agent_pos"}
        np.testing.assert_array_equal(here.actions[seed], there.actions[seed])


def test_an_episode_is_the_same_in_any_batch_and_order(world):
    together = in_world(world, [0, 1, 2], 3)
    refilled = in_world(world, [2, 0, 1], 2)
    alone = in_world(world, [1], 1)[1]
    assert sorted(together) == sorted(refilled) == [0, 1, 2]
    for start, episode in together.items():
        others = [refilled[start], *([alone] if start == 1 else [])]
        for other in others:
            difference = episode.frames.astype(int) - other.frames
            assert np.abs(difference).max() <= 1
            assert episode.rewards == pytest.approx(other.rewards, abs=0.005)
    assert not np.array_equal(together[0].frames, together[1].frames)


def test_a_batch_of_the_same_size_gives_the_same_bits(world):
    """So that parts of the starts, each with a batch that is not full, are as all of them."""
    together = in_world(world, [0, 1, 2], 2)
    parts = in_world(world, [0, 1], 2) | in_world(world, [2], 2, rows=2)
    assert sorted(parts) == sorted(together)
    for start, episode in parts.items():
        np.testing.assert_array_equal(episode.frames, together[start].frames)
        assert episode.rewards == together[start].rewards


def test_slots_are_filled_again_when_episodes_end_at_different_times(world):
    """Every start is played once, however long each is."""
    calls = []

    def sometimes(frames, action):
        calls.append(1)
        return 1.0, len(calls) % 3 == 0

    played = in_world(world, [0, 1, 2], 2, reward_fn=sometimes, steps=4)
    assert sorted(played) == [0, 1, 2]
    for episode in played.values():
        assert len(episode.frames) == len(episode.rewards) <= 4
        assert episode.ended or len(episode.rewards) == 4
        assert set(episode.rewards) == {1.0}
    assert any(episode.ended for episode in played.values())


def test_the_simulators_episode_is_its_own(world):
    watching = Watching()
    episode = in_truth(world, [1], watching, steps=6)[1]
    truth = GroundTruth(world.config)
    truth.reset_to(world.starts[1])
    rewards = []
    for action, frame in zip(watching.actions[episode_seed(0, 1)], episode.frames, strict=True):
        _, reward, *_ = truth.step(action)
        rewards.append(reward)
        np.testing.assert_array_equal(truth.frame, frame)
    truth.close()
    assert episode.rewards == tuple(rewards)
    assert not episode.ended


def test_a_policy_that_needs_the_simulators_state_says_so_in_a_world(world):
    env = WorldEnv(world, obs_type=observation_type(world))
    actor = load_actor("policies.pusht:expert", env)
    with pytest.raises(ValueError, match="does not have"):
        list(play_in_world(world, actor, [0], max_steps=3, batch=1, seed=0))


def test_fresh_starts_are_where_the_simulator_gets_with_their_replay(world):
    truth = GroundTruth(world.config)
    for start in world.starts:
        assert start.frames.shape == (5, 96, 96, 3)
        truth.reset_to(start)
        np.testing.assert_array_equal(truth.frame, start.frames[-1])
    truth.close()
