"""Resets at a world's own starts: copies of states that were computed once."""

import copy
import pickle
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
import torch

import irasim_env  # noqa: F401  registers the ids
from tests.conftest import TINY_CONFIG, make_starts
from world_model import WorldModel, WorldState, kept_starts
from world_model.streaming_graph import state_tensors
from world_model.streaming_state import StreamingState


@pytest.fixture
def world(tiny_world) -> WorldModel:
    return WorldModel.from_pretrained(tiny_world)


@pytest.fixture
def runs(world, monkeypatch) -> list[int]:
    """How many clips each run of `world.start` took."""
    counts, start = [], world.start

    def counted(frames, actions, seeds):
        counts.append(len(frames))
        return start(frames, actions, seeds)

    monkeypatch.setattr(world, "start", counted)
    return counts


def alone(world: WorldModel, start: int, seed: int) -> WorldState:
    clip = world.starts[start]
    return world.start(clip.frames[None], clip.actions[None], [seed])


def assert_same(one: WorldState, other: WorldState) -> None:
    assert isinstance(one, StreamingState)
    assert isinstance(other, StreamingState)
    theirs = state_tensors(other)
    for name, tensor in state_tensors(one).items():
        assert torch.equal(tensor, theirs[name]), name
    assert torch.equal(one.output.frame, other.output.frame)


def test_a_reset_at_a_start_seen_before_does_not_run_the_network(world, runs):
    env = gym.make("IRASim/World-v0", world=world)
    first, _ = env.reset(seed=5, options={"start": 2})
    env.step(env.action_space.sample())
    again, _ = env.reset(seed=5, options={"start": 2})
    assert runs == [1]
    np.testing.assert_array_equal(first, again)
    env.reset(options={"start": 3})
    assert runs == [1, 1]


def test_each_of_a_batch_begins_as_it_does_alone(world):
    envs = gym.make_vec("IRASim/World-v0", num_envs=5, world=world)
    for _ in range(2):  # computed, then copied
        _, info = envs.reset(seed=3, options={"start": [0, 2, 0, 1, 2]})
        state = envs.unwrapped._episodes[0]
        for row, start in enumerate((0, 2, 0, 1, 2)):
            expected = alone(world, start, int(info["noise_seed"][row]))
            assert_same(state.select([row]), expected)


def test_steps_leave_what_is_kept_as_it_was(world):
    state = world.begin(1, [7, 8])
    assert state.seeds.tolist() == [7, 8]
    world.step_(state, np.full((2, 2), 300, np.float32))
    assert_same(world.begin(1, [9]), alone(world, 1, 9))


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.denoiser.position.detach().add_(0.1),
        lambda world: world.load_state_dict({k: v + 0.01 for k, v in world.state_dict().items()}),
        lambda world: setattr(world, "precision", "bf16"),
        lambda world: setattr(world, "starts", make_starts(TINY_CONFIG)),
        lambda world: world.double().float(),
    ],
    ids=["weights in place", "weights loaded", "precision", "starts", "converted"],
)
def test_a_changed_world_begins_anew(world, runs, change: Callable[[WorldModel], object]):
    env = gym.make("IRASim/World-v0", world=world)
    env.reset(seed=0, options={"start": 0})
    change(world)
    env.reset(seed=0, options={"start": 0})
    assert runs == [1, 1]
    env.reset(seed=0, options={"start": 0})
    assert runs == [1, 1]


@pytest.mark.parametrize("room", [0, 1, 2])
def test_no_more_is_kept_than_there_is_room_for(world, runs, monkeypatch, room):
    size = alone(world, 0, 0).num_bytes
    runs.clear()
    monkeypatch.setattr(kept_starts, "MOST_BYTES", room * size)
    for start in (0, 1, 0, 2, 0, 1):  # with room for two, 1 makes way for 2, and 2 for 1
        assert_same(world.begin(start, [0]), alone(world, start, 0))
    runs_of_its_own = len(runs) - 6
    assert runs_of_its_own == {0: 6, 1: 6, 2: 4}[room]


def test_copies_of_a_world_begin_with_nothing_kept(world):
    world.begin(0, [0])
    for copied in (copy.deepcopy(world), pickle.loads(pickle.dumps(world))):
        assert not copied._kept._states
        assert_same(copied.begin(0, [4]), alone(world, 0, 4))


@pytest.mark.parametrize("start", [-1, 40])
def test_there_is_no_start_but_the_worlds_own(world, start):
    with pytest.raises(ValueError, match="does not exist"):
        world.begin(start, [0])


def test_a_reset_in_inference_mode_can_be_stepped_outside_of_it(world):
    env = gym.make("IRASim/World-v0", world=world)
    for _ in range(2):  # computed, then copied
        with torch.inference_mode():
            env.reset(options={"start": 0})
        env.step(env.action_space.sample())
        env.unwrapped._episode[0].latents.add_(0)
