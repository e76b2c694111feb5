"""Episodes that begin at a world's own starts: copies of states that were computed once."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np
import pytest
import torch

import irasim_env  # noqa: F401  registers the ids
from tests.chunk_worlds import table_world
from tests.conftest import NEEDS_GPU, TINY_CONFIG, make_starts
from world_model import WorldModel, WorldState
from world_model.streaming import world as streaming_world
from world_model.streaming.state import StreamingState


@pytest.fixture
def world(tiny_world) -> WorldModel:
    return WorldModel.from_pretrained(tiny_world)


@pytest.fixture
def runs(world, monkeypatch) -> list[int]:
    """How many clips each run of `world.start` took."""
    counts, start = [], world.start

    def counted(frames, actions, seeds, observations):
        counts.append(len(frames))
        return start(frames, actions, seeds, observations)

    monkeypatch.setattr(world, "start", counted)
    return counts


def alone(world: WorldModel, start: int, seed: int) -> WorldState:
    clip = world.starts[start]
    known = {name: values[None] for name, values in clip.states.items()}
    return world.start(clip.frames[None], clip.actions[None], [seed], known)


def assert_same(one: WorldState, other: WorldState) -> None:
    assert isinstance(one, StreamingState)
    assert isinstance(other, StreamingState)
    theirs = other.tensors
    for name, tensor in one.tensors.items():
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
    state = world.begin([1, 1], [7, 8])
    assert state.seeds.tolist() == [7, 8]
    world.step_(state, np.full((2, 2), 300, np.float32))
    assert_same(world.begin([1], [9]), alone(world, 1, 9))


def data_in_place(world: WorldModel) -> None:
    world.denoiser.position.data.add_(0.1)  # which torch counts no version of
    world.weights_changed()


def fused_step(world: WorldModel) -> None:
    optimizer = torch.optim.AdamW(world.parameters(), lr=0.01, fused=True)
    for parameter in world.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    world.weights_changed()


def load_in_inference_mode(world: WorldModel) -> None:
    with torch.inference_mode():
        world.load_state_dict({k: v + 0.01 for k, v in world.state_dict().items()})


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.denoiser.position.detach().add_(0.1),
        data_in_place,
        lambda world: world.state_low.sub_(1),
        fused_step,
        load_in_inference_mode,
        lambda world: world.train().eval(),
        lambda world: setattr(world, "precision", "bf16"),
        lambda world: setattr(world, "starts", make_starts(TINY_CONFIG)),
        lambda world: setattr(
            world, "config", dataclasses.replace(world.config, termination_threshold=0.9)
        ),
        lambda world: world.double().float(),
    ],
    ids=[
        "in place",
        "data",
        "a buffer",
        "fused optimizer",
        "loaded",
        "trained",
        "precision",
        "starts",
        "config",
        "converted",
    ],
)
def test_a_changed_world_begins_anew(world, runs, change: Callable[[WorldModel], object]):
    env = gym.make("IRASim/World-v0", world=world)
    env.reset(seed=0, options={"start": 0})
    change(world)
    env.reset(seed=0, options={"start": 0})
    assert runs == [1, 1]
    env.reset(seed=0, options={"start": 0})
    assert runs == [1, 1]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("float32_matmul_precision", "medium"), ("num_threads", 3)],
)
def test_other_arithmetic_begins_anew(world, runs, setting, value):
    usual = getattr(torch, f"get_{setting}")()
    world.begin([0], [0])
    try:
        getattr(torch, f"set_{setting}")(value)
        world.begin([0], [0])
    finally:
        getattr(torch, f"set_{setting}")(usual)
    assert runs == [1, 1]


def test_precision_may_be_set_by_its_newer_name(world, runs):
    products = torch.backends.mkldnn.matmul
    world.begin([0], [0])
    usual = products.fp32_precision
    try:
        products.fp32_precision = "tf32"  # `torch.get_float32_matmul_precision` raises now
        world.begin([0], [0])
    finally:
        products.fp32_precision = usual
    assert runs == [1, 1]


@pytest.mark.parametrize("room", [0, 1, 2])
def test_no_more_is_kept_than_there_is_room_for(world, runs, monkeypatch, room):
    size = alone(world, 0, 0).num_bytes
    runs.clear()
    monkeypatch.setattr(streaming_world, "START_CACHE_BYTES", {"cpu": room * size})
    for start in (0, 1, 0, 2, 0, 1):
        assert_same(world.begin([start], [0]), alone(world, start, 0))
    assert len(runs) - 6 == {0: 6, 1: 4, 2: 3}[room]


def test_copies_of_a_world_begin_with_nothing_kept(world):
    world.begin([0], [0])
    for copied in (copy.deepcopy(world), pickle.loads(pickle.dumps(world))):
        assert not copied._start_cache._states
        assert_same(copied.begin([0], [4]), alone(world, 0, 4))


@pytest.mark.parametrize(
    ("starts", "seeds", "message"),
    [
        ([-1], [0], "starts are"),
        ([4000], [0], "starts are"),
        ([1.0], [0], "starts are"),
        ([True], [0], "starts are"),
        ([], [], "at least one"),
        (1, [0], "starts are"),
        ([1], [0.5], "seeds are"),
        ([1], [0, 1], "2 seeds for 1"),
    ],
)
def test_wrong_starts_and_seeds_are_refused(world, starts, seeds, message):
    with pytest.raises(ValueError, match=message):
        world.begin(starts, seeds)


def test_threads_may_begin_at_once(world, runs):
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda i: world.begin([i % 3], [i]), range(60)))
    assert runs == [1, 1, 1]
    for i, state in enumerate(made):
        assert_same(state, alone(world, i % 3, i))


def test_a_chunk_world_begins_with_clips_of_one_length_in_one_call():
    world = table_world()
    state = world.begin([0, 1, 0], [5, 6, 7])
    assert state.seeds.tolist() == [5, 6, 7]
    for row, start in enumerate((0, 1, 0)):
        torch.testing.assert_close(state.latents[[row]], alone(world, start, 0).latents)


def test_a_reset_in_inference_mode_can_be_stepped_outside_of_it(world):
    env = gym.make("IRASim/World-v0", world=world)
    for _ in range(2):  # computed, then copied
        with torch.inference_mode():
            env.reset(options={"start": 0})
        env.step(env.action_space.sample())
        env.unwrapped._episode[0].latents.add_(0)


class TestOnGpu:
    pytestmark = NEEDS_GPU

    def test_a_start_is_copied_on_the_device_and_stepped_as_if_it_had_been_computed(
        self, tiny_world, monkeypatch
    ):
        world = WorldModel.from_pretrained(tiny_world, device="cuda")
        first = world.begin([2, 1, 2], [5, 6, 7])
        monkeypatch.setattr(world, "start", None)  # what is computed now would fail
        again = world.begin([2, 1, 2], [5, 6, 7])
        monkeypatch.undo()
        assert_same(again, first)
        assert isinstance(again, StreamingState)
        assert all(tensor.is_cuda for tensor in again.tensors.values())
        action = torch.full((3, 2), 100.0)
        made = world.step_(again, action)
        for row, start in enumerate((2, 1, 2)):
            single = alone(world, start, 5 + row)
            expected = world.step_(single, action[:1]).frame.int()
            assert (made.frame[row].int() - expected[0]).abs().max() <= 1
        # Episodes that go on leave what is kept as it was.
        assert_same(world.begin([2, 1, 2], [5, 6, 7]), first)
