"""The captured streaming step: what it promises on a GPU, and its bookkeeping on the processor.

On the processor a function that is called as it is stands in for the graph; the state still lives
in fixed buffers, moves in and out of them, and is reset within them.
"""

import gc
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.conftest import DEVICES, NEEDS_GPU, TINY_CONFIG, make_starts, randomized
from world_model.runtime.captured_steps import CapturedSteps
from world_model.runtime.cuda_graph import check_inputs
from world_model.streaming.state import StreamingState
from world_model.streaming.world import StreamingWorld
from world_model.world import WorldModel

aten = torch.ops.aten


class Uncaptured:
    """Has a captured function's face, and calls the function."""

    def __init__(
        self,
        function: Callable[..., dict[str, Tensor]],
        inputs: Mapping[str, Tensor],
        *,
        residents: Mapping[str, Tensor],
        pool: Any,
        name: str,
    ):
        self.name, self.inputs, self.residents = name, dict(inputs), residents
        self.function = function
        self.pool = pool or object()

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        check_inputs(self.name, self.inputs, inputs)
        return self.function(**inputs, **self.residents)


def tiny() -> StreamingWorld:
    made = randomized(StreamingWorld.create(TINY_CONFIG, make_starts(TINY_CONFIG)))
    assert isinstance(made, StreamingWorld)
    return made


def shipped() -> StreamingWorld:
    """One pass, a change threshold, a change mask, poses: what the tiny one has not."""
    made = WorldModel.from_pretrained("pusht")
    assert isinstance(made, StreamingWorld)
    return made


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture
def world(request, device, monkeypatch) -> StreamingWorld:
    """A world that captures, or on the processor one with the stand-in."""
    return capturing(getattr(request, "param", tiny)(), device, monkeypatch)


def capturing(world: StreamingWorld, device: str, monkeypatch) -> StreamingWorld:
    world = world.to(device)
    if device == "cpu":
        monkeypatch.setattr(StreamingWorld, "captures", property(lambda w: w.graph is not False))
        world._graphs = CapturedSteps(world.predict, capture=Uncaptured)
    return world


def begin(world: StreamingWorld, rows: list[int], seeds: list[int]) -> StreamingState:
    starts = [world.starts[row] for row in rows]
    return world.start(
        np.stack([start.frames for start in starts]),
        np.stack([start.actions for start in starts]),
        seeds,
    )


def eager(world: StreamingWorld, state: StreamingState, action: Tensor):
    """One step of the same function, uncaptured."""
    world.graph = False
    try:
        return world.step_(state, action)
    finally:
        world.graph = None


def draw(*leading: int, seed: int = 0) -> Tensor:
    return 512 * torch.rand(*leading, 2, generator=torch.Generator().manual_seed(seed))


def same(one, other) -> bool:
    """Whether two outputs of a step are equal bit for bit."""
    return (
        torch.equal(one.frame, other.frame)
        and torch.equal(one.reward, other.reward)
        and torch.equal(one.terminated, other.terminated)
        and all(torch.equal(one.states[name], other.states[name]) for name in one.states)
    )


@pytest.mark.parametrize("world", [tiny, shipped], indirect=True)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_replay_equals_eager_bit_for_bit(world, precision):
    world.precision = precision
    captured, plain = begin(world, [0, 1, 2], [5, 6, 7]), begin(world, [0, 1, 2], [5, 6, 7])
    for action in draw(12, 3):
        assert same(world.step_(captured, action), eager(world, plain, action))
    for name, tensor in plain.tensors.items():
        assert torch.equal(tensor, captured.tensors[name]), name


@pytest.mark.parametrize(("world", "steps"), [(tiny, 32), (shipped, 8)], indirect=["world"])
def test_a_batch_equals_singles(world, steps):
    batch = begin(world, [0, 1, 2], [5, 6, 7])
    singles = [begin(world, [row], [5 + row]) for row in range(3)]
    for action in draw(steps, 3):
        frames = world.step_(batch, action).frame.int()
        for row, single in enumerate(singles):
            alone = world.step_(single, action[row : row + 1]).frame.int()
            assert (frames[row] - alone[0]).abs().max() <= 1


@pytest.mark.parametrize(("world", "resets"), [(tiny, 20), (shipped, 5)], indirect=["world"])
def test_interleaved_partial_resets_equal_eager(world, resets):
    rng = np.random.default_rng(0)
    captured, plain = begin(world, [0] * 4, [0, 1, 2, 3]), begin(world, [0] * 4, [0, 1, 2, 3])
    shown = [captured.output, plain.output]
    for reset in range(resets):
        for action in draw(int(rng.integers(1, 4)), 4, seed=reset):
            shown = [world.step_(captured, action), eager(world, plain, action)]
            assert same(*shown)
        rows = sorted(rng.choice(4, int(rng.integers(1, 4)), replace=False).tolist())
        starts = rng.integers(0, 4, len(rows)).tolist()
        for state in (captured, plain):
            state.put(rows, begin(world, starts, [100 + reset + row for row in rows]))
        assert same(captured.output, plain.output)
    assert len(world._graphs._graphs) == 1  # no reset has cost a capture


def test_states_of_one_size_take_turns_in_the_buffers(world):
    states = [begin(world, [row], [row]) for row in range(3)]
    plain = [begin(world, [row], [row]) for row in range(3)]
    for turn, action in enumerate(draw(12, 1)):
        which = turn % 3 if turn < 6 else 0
        assert same(world.step_(states[which], action), eager(world, plain[which], action))
    for mine, theirs in zip(states, plain, strict=True):
        for name, tensor in theirs.tensors.items():
            assert torch.equal(mine.tensors[name], tensor), name
    pointers = {state.latents.data_ptr() for state in states}
    assert len(pointers) == 3


def test_a_step_of_a_copy_leaves_the_state_as_it_was(world):
    state = begin(world, [0, 1], [0, 1])
    world.step_(state, draw(2))
    before = {name: tensor.clone() for name, tensor in state.tensors.items()}
    ahead, _ = world.step(state, draw(2, seed=1))
    world.step_(ahead, draw(2, seed=2))
    for name, tensor in state.tensors.items():
        assert torch.equal(tensor, before[name]), name


def test_a_rollout_gives_what_steps_give(world):
    state = begin(world, [0, 1], [0, 1])
    world.step_(state, draw(2))
    actions = draw(2, 3, 4)
    made = world.rollout(state, actions, return_frames=True)
    lean = world.rollout(state, actions)
    torch.testing.assert_close(made.reward, lean.reward)
    assert lean.frames is None
    other = state.select([0, 0, 0, 1, 1, 1])
    for h in range(4):
        out = eager(world, other, actions[:, :, h].flatten(0, 1))
        assert torch.equal(made.frames[:, :, h].flatten(0, 1), out.frame)


def test_outputs_belong_to_the_caller(world):
    state = begin(world, [0], [0])
    first = world.step_(state, draw(1))
    kept = first.frame.clone()
    world.step_(state, draw(1, seed=1))
    assert torch.equal(first.frame, kept)


def test_sizes_share_memory_and_forms_are_checked(world):
    small, large = begin(world, [0], [0]), begin(world, [0, 1, 2], [0, 1, 2])
    world.step_(small, draw(1))
    world.step_(large, draw(3))
    graphs = list(world._graphs._graphs.values())
    assert len(graphs) == 2
    assert graphs[0].pool == graphs[1].pool
    with pytest.raises(ValueError, match="captured for"):
        world._graphs(small, draw(2).to(world.device), frames=True, setting=_setting(world))
    small.latents = small.latents.double()
    with pytest.raises(ValueError, match=r"latents of the state is .*float64"):
        world.step_(small, draw(1))


def _setting(world: StreamingWorld) -> Any:
    return world.precision, world.config.sampler


def test_moving_a_world_forgets_its_graphs(world):
    world.step_(begin(world, [0], [0]), draw(1))
    assert world._graphs is not None
    world.to(world.device)
    assert world._graphs is None


def test_loading_weights_forgets_graphs_and_copies(world):
    world.precision = "bf16"
    before = world.step_(begin(world, [0], [0]), draw(1)).frame
    weights = {name: tensor.clone() for name, tensor in world.state_dict().items()}
    weights["denoiser.to_change.bias"] += 0.5
    world.load_state_dict(weights)
    assert world._graphs is None and world._narrow is None
    world.graph = False
    assert not torch.equal(world.step_(begin(world, [0], [0]), draw(1)).frame, before)


def test_a_pickled_world_steps_alike(world):
    expected = world.step_(begin(world, [0], [0]), draw(1))
    other = pickle.loads(pickle.dumps(world))
    assert other._graphs is None
    assert same(eager(other, begin(other, [0], [0]), draw(1)), expected)


def test_steps_in_inference_mode_leave_nothing_that_cannot_be_changed_outside(world):
    plain = [begin(world, [0, 1], [0, 1]), begin(world, [2, 3], [2, 3])]
    with torch.inference_mode():
        states = [begin(world, [0, 1], [0, 1]), begin(world, [2, 3], [2, 3])]
        for state in states:  # the second moves in, the first moves out
            world.step_(state, draw(2))
    for state in plain:
        eager(world, state, draw(2))
    for mine, theirs in zip(states, plain, strict=True):
        for state in (mine, theirs):
            state.put([1], begin(world, [1], [9]))
        actions = draw(2, seed=1)
        assert same(world.step_(mine, actions), eager(world, theirs, actions))


def test_a_world_and_its_graphs_are_freed_without_the_collector(device, monkeypatch):
    world = capturing(tiny(), device, monkeypatch)
    world.step_(begin(world, [0], [0]), draw(1))
    graph = weakref.ref(next(iter(world._graphs._graphs.values())))
    gc.collect()
    gc.disable()
    try:
        del world
        assert graph() is None
    finally:
        gc.enable()


REFUSED = """
import torch
from tests.world_model.runtime.test_captured_steps import begin, draw, tiny
world = tiny().cuda()
decode = world.codec.decode
world.codec.decode = lambda x: decode(x * float(x.sum().item() != 0.1))
try:
    world.step_(begin(world, [0], [0]), draw(1))
except RuntimeError as error:
    assert "graph=False" in str(error), error
else:
    raise SystemExit("captured")
"""


class TestOnGpu:
    pytestmark = NEEDS_GPU

    def test_what_cannot_be_captured_is_refused_with_its_reason(self):
        # In a process of its own: a refused capture may leave torch's allocator unusable.
        done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_graph_memory_is_shared_between_batch_sizes(self):
        world = tiny().cuda()
        grown = []
        for size in (64, 32, 16):
            state = begin(world, [0] * size, list(range(size)))
            torch.cuda.synchronize()
            before = torch.cuda.memory_reserved()
            world.step_(state, draw(size))
            torch.cuda.synchronize()
            grown.append(torch.cuda.memory_reserved() - before)
        # The smaller ones need their buffers; what lies between is where the largest one's lay.
        assert max(grown[1:]) <= grown[0] / 2
        assert len({graph.pool for graph in world._graphs._graphs.values()}) == 1

    def test_an_autocast_of_the_caller_changes_nothing(self):
        world = tiny().cuda()
        plain, state = begin(world, [0], [0]), begin(world, [0], [0])
        for action in draw(3, 1):
            with torch.autocast("cuda", torch.bfloat16):
                made = world.step_(state, action)
            assert same(made, eager(world, plain, action))


def test_graph_true_without_a_gpu_is_an_error():
    world = StreamingWorld.create(TINY_CONFIG, make_starts(TINY_CONFIG))
    assert not world.captures
    world.graph = True
    with pytest.raises(ValueError, match="graph is True, but the world is on 'cpu'"):
        world.step_(begin(world, [0], [0]), draw(1))


class Asynchronous(TorchDispatchMode):
    """Refuses what makes a host wait for its device, takes from the host, or draws."""

    REFUSED = (
        aten._local_scalar_dense,
        aten.nonzero,
        aten.masked_select,
        aten.unique_dim,
        aten._unique2,
        aten.lift_fresh,  # torch.tensor of numbers: a copy from the host
        aten.randn,
        aten.rand,
        aten.normal_,
        aten.uniform_,
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet = func.overloadpacket
        assert packet not in self.REFUSED, f"{packet} inside a step"
        if packet in (aten.index, aten.index_put, aten.index_put_):
            masks = [x for x in tree_leaves(args[1]) if isinstance(x, Tensor)]
            assert all(mask.dtype != torch.bool for mask in masks), "a boolean index inside a step"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("reward_head", [True, False])
def test_a_step_asks_nothing_of_the_host(precision, reward_head):
    from dataclasses import replace

    config = replace(TINY_CONFIG, reward_head=reward_head)
    world = randomized(StreamingWorld.create(config, make_starts(config)))
    assert isinstance(world, StreamingWorld)
    world.precision = precision
    state = begin(world, [0, 1], [3, 4])
    world._network()  # the copy in bfloat16 is made once
    before, actions = state.tensors, draw(2, 2)
    with torch.no_grad(), Asynchronous():
        world.predict(state, actions[0], frames=True)
        world.predict(state, actions[1], frames=False)
    after = state.tensors
    assert all(after[name] is tensor for name, tensor in before.items())  # changed in place


def test_the_test_for_asking_the_host_sees_it():
    with Asynchronous():
        for asks in (
            lambda: torch.ones(2).sum().item(),
            lambda: torch.ones(2)[torch.tensor([True, False])],
            lambda: torch.tensor([1.0]),
            lambda: torch.randn(3),
        ):
            with pytest.raises(AssertionError, match="inside a step"):
                asks()


def test_bf16_stays_near_float32(device):
    world = randomized(StreamingWorld.create(TINY_CONFIG, make_starts(TINY_CONFIG))).to(device)
    assert isinstance(world, StreamingWorld)
    full, half = begin(world, [0, 1], [3, 4]), begin(world, [0, 1], [3, 4])
    for action in draw(8, 2):
        world.precision = "float32"
        expected = world.step_(full, action).frame.int()
        world.precision = "bf16"
        difference = (world.step_(half, action).frame.int() - expected).abs()
        assert difference.float().mean() < 1
        assert difference.max() > 0  # it does compute otherwise
    world.precision = "float16"
    with pytest.raises(ValueError, match="one of float32, bf16"):
        world.step_(full, draw(2))
    world.precision = "bf16"
    assert world.state_dict().keys() == StreamingWorld.create(TINY_CONFIG).state_dict().keys()
