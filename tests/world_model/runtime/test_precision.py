"""Worlds compute in their own precision, whatever a caller has set; the caller's is back after."""

import numpy as np
import pytest
import torch

from tests.chunk_worlds import pixel_world
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import StreamingWorld, WorldModel
from world_model.runtime.precision import arithmetic

CONVOLUTIONS = torch.backends.cudnn.conv


def tiny() -> WorldModel:
    return randomized(StreamingWorld.create(TINY_CONFIG, make_starts(TINY_CONFIG)))


def episode(world: WorldModel) -> list[torch.Tensor]:
    """A start, a step and a rollout."""
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    actions = torch.full((1, 2, 2, world.config.action_dim), 0.1)
    first = world.step_(state, actions[0, :1, 0]).frame
    rollout = world.rollout(state, actions, return_frames=True)
    assert rollout.frames is not None
    return [first, state.latents, rollout.frames]


def listen(world: WorldModel) -> list[tuple[str, bool]]:
    """What rules whenever a convolution or a linear layer runs, from now on."""
    heard: list[tuple[str, bool]] = []

    def note(*_: object) -> None:
        heard.append((CONVOLUTIONS.fp32_precision, torch.is_autocast_enabled("cpu")))

    for module in world.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_pre_hook(note)
    return heard


@pytest.mark.parametrize("make", [tiny, pixel_world])
def test_float32_is_strict_in_convolutions_too(make):
    world = make()
    heard = listen(world)
    before = CONVOLUTIONS.fp32_precision
    episode(world)
    assert set(heard) == {("ieee", False)}
    assert CONVOLUTIONS.fp32_precision == before != "ieee"
    assert torch.backends.cudnn.allow_tf32  # the older switch can still be read
    heard.clear()
    world.precision = "bf16"
    listen(world)
    episode(world)
    assert {precision for precision, _ in heard} <= {before}


def test_threads_that_end_in_any_order_leave_all_as_it_was():
    """Of two that overlap the first to begin is the first to end, as threads of a server may be."""
    before = CONVOLUTIONS.fp32_precision
    first, second = (arithmetic(torch.device("cpu"), "float32") for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert CONVOLUTIONS.fp32_precision == "ieee"
    second.__exit__(None, None, None)
    assert CONVOLUTIONS.fp32_precision == before != "ieee"


def test_after_an_error_all_is_as_before():
    world = tiny()
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    before = CONVOLUTIONS.fp32_precision
    world.codec.decode = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        world.step_(state, np.zeros((1, 2)))
    assert CONVOLUTIONS.fp32_precision == before


@pytest.mark.parametrize("make", [tiny, pixel_world])
def test_an_autocast_of_the_caller_changes_nothing(make):
    world = make()
    expected = episode(world)
    heard = listen(world)
    with torch.autocast("cpu", torch.bfloat16):
        made = episode(world)
        assert torch.is_autocast_enabled("cpu") and torch.is_autocast_cache_enabled()
    assert all(map(torch.equal, made, expected))
    assert not any(autocast for _, autocast in heard)
