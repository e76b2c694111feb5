"""What worlds refuse, and that the message names the cure."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.chunk_worlds import table_world
from world_model import StreamingWorld, WorldModel
from world_model.runtime.check_inputs import find_device


@pytest.fixture(scope="module", params=["streaming", "chunk"])
def world(request, tiny_world):
    return WorldModel.from_pretrained(tiny_world) if request.param == "streaming" else table_world()


def started(world: WorldModel, seeds=(0,)):
    clip = world.starts[0]
    count = len(seeds)
    return world.start(
        np.repeat(clip.frames[None], count, 0), np.repeat(clip.actions[None], count, 0), seeds
    )


def two_frames(world: WorldModel) -> np.ndarray:
    return np.repeat(world.starts[0].frames[None, -1:], 2, 1)


def forms(row: list) -> list[Any]:
    """An action in each form that a caller may hand it over in."""
    try:
        array = np.array(row)
    except ValueError:  # ragged
        return [row]
    return [row, array] + ([torch.from_numpy(array)] if array.dtype.kind in "bfc" else [])


def nested(action: Any, axes: int) -> Any:
    """The action with that many axes of length 1 before its own."""
    for _ in range(axes):
        action = [action] if isinstance(action, list) else action[None]
    return action


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.0, np.nan], "actions are nan at .*not finite.*division by zero"),
        ([np.inf, 0.0], "actions are inf"),
        ([0.0, -np.inf], "actions are -inf"),
        ([0.0, 1e300], "not finite"),  # float32 has none as large
        ([0.0, 1j], "complex.* of real numbers"),
        ([True, False], "bool.* of real numbers"),
        (["a", "b"], "no array of numbers"),
        ([None, None], "no array of numbers"),
        ([[0.0], [0.0, 1.0]], "no array of numbers"),
    ],
)
def test_actions_that_are_no_finite_numbers_are_refused(world, row, message):
    state = started(world)
    latents = state.latents.clone()
    calls = [
        lambda action: world.step(state, nested(action, 1)),
        lambda action: world.step_chunk_(state, nested(action, 2)),
        lambda action: world.rollout(state, nested(action, 3)),
        lambda action: world.start(two_frames(world), nested(action, 2), [0]),
    ]
    if isinstance(world, StreamingWorld):
        calls.append(lambda action: world.rollout_states(state, nested(action, 3)))
    for action in forms(row):
        for call in calls:
            with pytest.raises(ValueError, match=message):
                call(action)
    assert torch.equal(state.latents, latents)
    assert state.steps.tolist() == [0]


def test_actions_may_be_any_real_numbers(world):
    expected = world.step(started(world), np.zeros((1, 2), np.float32))[1].frame
    for action in ([[0, 0]], np.zeros((1, 2), np.int16), torch.zeros(1, 2, dtype=torch.float64)):
        assert torch.equal(world.step(started(world), action)[1].frame, expected)
    backwards = np.zeros((1, 4))[:, ::-2]
    assert torch.equal(world.step(started(world), backwards)[1].frame, expected)


@pytest.mark.parametrize(
    "seeds",
    [
        [0.9],
        [1.0],
        [None],
        [np.nan],
        [2**63],
        [2**64],
        [-(2**63) - 1],
        ["a"],
        [True],
        [1j],
        None,
        [],
        [0, 1],
        [[0, 1]],
        torch.tensor([0.9]),
        torch.tensor([True]),
        np.array([2**63], np.uint64),
        torch.zeros(1, dtype=torch.bfloat16),
    ],
)
def test_seeds_that_are_no_integers_one_a_clip_are_refused(world, seeds):
    clip = world.starts[0]
    with pytest.raises(ValueError, match=r"seeds .*expected 1 integers from -2\^63"):
        world.start(clip.frames[None], clip.actions[None], seeds)


@pytest.mark.parametrize(
    "seeds",
    [
        [2**63 - 1, -(2**63)],
        (np.int64(2**63 - 1), -(2**63)),
        np.array([2**63 - 1, -(2**63)]),
        torch.tensor([2**63 - 1, -(2**63)]),
    ],
)
def test_seeds_may_be_any_integers_of_64_bits(world, seeds):
    assert started(world, seeds).seeds.tolist() == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_a_state_keeps_its_seeds_to_itself(world, make):
    seeds = make([1, 2])
    state = started(world, seeds)
    seeds[0] = 9
    assert state.seeds.tolist() == [1, 2]
    state.seeds[1] = 8
    assert seeds.tolist() == [9, 2]


@pytest.mark.parametrize("shape", [(1, 2, 0, 2), (1, 0, 2, 2), (2, 2), (1, 1, 1, 3), (2, 1, 1, 2)])
def test_wrong_shapes_of_candidates_are_refused(world, shape):
    state = started(world)
    with pytest.raises(ValueError, match="actions have shape .*expected"):
        world.rollout(state, np.zeros(shape))
    if isinstance(world, StreamingWorld):
        with pytest.raises(ValueError, match="actions have shape .*expected"):
            world.rollout_states(state, np.zeros(shape))


def test_clips_that_are_none_are_refused(world):
    clip = world.starts[0]
    frames, actions = clip.frames[None], clip.actions[None]
    with pytest.raises(ValueError, match=r"frames are .*\(0, .*B and T at least 1"):
        world.start(frames[:0], actions[:0], [])
    with pytest.raises(ValueError, match=r"frames are .*B and T at least 1"):
        world.start(frames[:, :0], actions[:, :0], [0])
    for nothing in (None, "a"):
        with pytest.raises(ValueError, match=r"actions are no array.*expected float32 \(1, 1, 2\)"):
            world.start(two_frames(world), nothing, [0])
        with pytest.raises(ValueError, match="actions are no array"):
            world.start(frames[:, -1:], nothing, [0])
        with pytest.raises(ValueError, match="frames are no array"):
            world.start(nothing, actions, [0])


@pytest.mark.parametrize("name", [None, 3, "", True])
def test_what_is_no_name_of_a_world_is_refused(name):
    with pytest.raises(ValueError, match="no world .*shipped"):
        WorldModel.from_pretrained(name)


@pytest.mark.parametrize("device", ["banana", "cuda:77", "", None, 3, torch.device("meta")])
def test_devices_that_are_not_here_are_refused(device, tiny_world):
    with pytest.raises(ValueError, match="device is .*, expected one that is here: cpu"):
        WorldModel.from_pretrained(tiny_world, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_gpu_the_message_says_so(tiny_world):
    with pytest.raises(ValueError, match="device is 'cuda'.*here: cpu; torch finds no GPU"):
        WorldModel.from_pretrained(tiny_world, device="cuda")


def test_devices_that_are_here_are_taken(tiny_world):
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    world = WorldModel.from_pretrained(tiny_world, device=torch.device("cpu"))
    assert world.device == torch.device("cpu")


def test_candidates_share_noise_unless_asked_otherwise(tiny_world):
    """The tiny worlds predict in two passes, and three."""
    for world in (WorldModel.from_pretrained(tiny_world), table_world()):
        state = started(world, [3, 4])
        middle = np.mean([world.config.action_low, world.config.action_high], 0)
        actions = np.broadcast_to(middle, (2, 3, 4, 2)).copy()  # all candidates alike
        shared = world.rollout(state, actions, return_frames=True)
        own, again = (
            world.rollout(state, actions, return_frames=True, share_noise=False) for _ in range(2)
        )
        assert shared.frames is not None
        assert own.frames is not None
        assert again.frames is not None
        assert torch.equal(shared.frames[:, 0], shared.frames[:, 1])
        assert torch.equal(own.frames, again.frames)
        assert torch.equal(own.frames[:, 0], shared.frames[:, 0])
        assert torch.equal(own.reward[:, 0], shared.reward[:, 0])
        for row in range(2):
            for k in (1, 2):
                assert not torch.equal(own.frames[row, k], own.frames[row, 0])
            assert not torch.equal(own.frames[row, 1], own.frames[row, 2])
        assert not torch.equal(own.frames[0, 1], own.frames[1, 1])
        # Neither the batch nor the number of candidates matters.
        alone = world.rollout(
            started(world, [4]), actions[1:, :2], return_frames=True, share_noise=False
        )
        assert alone.frames is not None
        assert (alone.frames[0].int() - own.frames[1, :2].int()).abs().max() <= 1
        assert state.seeds.tolist() == [3, 4]
