"""`info["uncertainty"]`: how far samples of a prediction disagree."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

import irasim_env  # noqa: F401 (registers the ids)
from irasim_env.uncertainty import disagreement, draw_others
from tests.chunk_worlds import table_world
from tests.conftest import TINY_CONFIG, make_starts, randomized, without_states
from world_model import WorldModel
from world_model.streaming.states.conditioner import UNSURE_SCALE
from world_model.streaming.world import StreamingWorld

ACTIONS = np.random.default_rng(0).uniform(0, 512, (6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def world():
    return randomized(WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG)))


def roll(world, **kwargs):
    """Frames and infos of an episode."""
    env = gym.make(
        "IRASim/World-v0", world=world, reward_fn=lambda frames, action: (0, False), **kwargs
    )
    _, info = env.reset(seed=3)
    assert "uncertainty" not in info
    steps = [env.step(action) for action in ACTIONS]
    return np.stack([step[0] for step in steps]), [step[4] for step in steps]


def test_the_episode_stays_what_it_is_without(world):
    frames, infos = roll(world)
    with_it, told = roll(world, uncertainty_samples=3)
    np.testing.assert_array_equal(frames, with_it)
    assert all("uncertainty" not in info for info in infos)
    values = [info["uncertainty"] for info in told]
    assert all(type(value) is float and value > 0 for value in values)
    assert len(set(values)) == len(values)
    assert [info["uncertainty"] for info in roll(world, uncertainty_samples=3)[1]] == values


def test_a_world_that_always_predicts_the_same_is_sure():
    fresh = WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG))  # nothing moves
    _, infos = roll(fresh, uncertainty_samples=2)
    assert [info["uncertainty"] for info in infos] == [0.0] * len(ACTIONS)


def test_it_is_the_deviation_of_steps_with_other_noise(world, monkeypatch):
    monkeypatch.setattr(StreamingWorld, "doubt_", lambda *_: None)
    clip = world.starts[0]
    state = world.start(clip.frames[None], clip.actions[None], [11])
    others = draw_others(world, state, ACTIONS[:1], 3)
    assert others.shape == (2, 1, 1, 96, 96, 3)
    assert int(state.steps[0]) == 0  # left as it was
    taken = world.step(state, ACTIONS[:1])[1].frame
    samples = np.stack([taken[0], *others[:, 0, 0]]).astype(np.float64)
    expected = np.sqrt(samples.var(0, ddof=1).mean())
    assert disagreement(others, taken[:, None]).item() == pytest.approx(expected, rel=1e-5)
    # Each sample's noise is its own.
    assert not torch.equal(others[0], others[1])
    assert not torch.equal(others[0, :, 0], taken)


def test_one_pass_disagrees_by_the_states_it_goes_by():
    """No noise gets into a single pass; a world that knows states doubts these."""
    config = dataclasses.replace(
        TINY_CONFIG, sampler=dataclasses.replace(TINY_CONFIG.sampler, num_steps=1)
    )
    world = randomized(WorldModel.create(config, make_starts(config)))
    clip = world.starts[0]
    state = world.start(clip.frames[None], clip.actions[None], [11])
    before = state.memory["states"].clone()
    one, other = draw_others(world, state, ACTIONS[:1], 3)
    assert torch.equal(state.memory["states"], before)
    taken = world.step(state, ACTIONS[:1])[1].frame[:, None]
    assert not torch.equal(one, other)
    assert disagreement(torch.stack((one, other)), taken).item() > 0
    doubted = state.clone()
    world.doubt_(doubted)
    off = (doubted.memory["states"] - before)[..., :2].abs()
    assert 0 < off.max() < 5 * UNSURE_SCALE
    directions = doubted.memory["states"][..., -2:].norm(dim=-1)
    torch.testing.assert_close(directions, torch.ones_like(directions))
    blind = without_states(config)
    world = randomized(WorldModel.create(blind, make_starts(blind)))
    _, infos = roll(world, uncertainty_samples=2)
    assert [info["uncertainty"] for info in infos] == [0.0] * len(ACTIONS)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_environment_tells_what_single_ones_do(world, mode):
    kwargs = {"world": world, "uncertainty_samples": 3, "max_episode_steps": 4}
    envs = gym.make_vec("IRASim/World-v0", num_envs=3, autoreset_mode=mode, **kwargs)
    singles = [gym.make("IRASim/World-v0", **kwargs) for _ in range(3)]
    envs.reset(seed=5)
    for i, env in enumerate(singles):
        env.reset(seed=5 + i)
    over = np.zeros(3, bool)
    num_told = 0
    for step in range(9):
        actions = np.stack([ACTIONS[(step + i) % len(ACTIONS)] for i in range(3)])
        _, _, terminated, truncated, infos = envs.step(actions)
        now_over = terminated | truncated
        for i, env in enumerate(singles):
            if over[i] and mode == "NextStep":
                env.reset()
                assert not infos.get("_uncertainty", np.zeros(3, bool))[i]
                continue
            info = env.step(actions[i])[4]
            ended = mode == "SameStep" and now_over[i]
            told = infos["final_info"] if ended else infos
            assert told["_uncertainty"][i]
            assert told["uncertainty"][i] == pytest.approx(info["uncertainty"], rel=1e-2)
            num_told += 1
            if ended:
                env.reset()
        over = now_over
    assert num_told >= 20


def test_steps_of_several_actions(world, tmp_path):
    for env in (
        gym.make("IRASim/World-v0", world=world, chunk=2, uncertainty_samples=2),
        gym.make("IRASim/World-v0", world=table_world(), chunk=2, uncertainty_samples=2),
    ):
        env.reset(seed=0)
        info = env.step(env.action_space.sample())[4]
        assert info["uncertainty"] > 0
        assert info["frames"].shape[0] == 2


@pytest.mark.parametrize("samples", [0, 1, -2, 2.5, "two"])
def test_fewer_than_two_samples_are_refused(world, samples):
    with pytest.raises(ValueError, match="at least 2"):
        gym.make("IRASim/World-v0", world=world, uncertainty_samples=samples)
