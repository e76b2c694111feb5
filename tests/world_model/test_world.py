"""The streaming engine's promises."""

import dataclasses

import pytest
import torch

from tests.conftest import TINY_CONFIG, make_starts, randomized, with_planar, without_states
from world_model import WorldModel
from world_model.runtime.counter_rng import counted_noise
from world_model.streaming.conditioning import Control
from world_model.streaming.sampler import outside
from world_model.streaming.world import StreamingWorld

SHAPE = (2, 9)  # clips, frames: over two wraps of a ring of 4 slots


@pytest.fixture(scope="module")
def world(tiny_world):
    return WorldModel.from_pretrained(tiny_world)


def started(world: WorldModel, rows: list[int], seeds: list[int]):
    starts = [world.starts[i] for i in rows]
    frames = torch.stack([torch.from_numpy(s.frames) for s in starts])
    actions = torch.stack([torch.from_numpy(s.actions) for s in starts])
    return world.start(frames, actions, seeds)


def random_actions(*leading: int, seed: int = 0) -> torch.Tensor:
    return 512 * torch.rand(*leading, 2, generator=torch.Generator().manual_seed(seed))


def world_and_clips(knows_states: bool) -> tuple[StreamingWorld, tuple[torch.Tensor, ...], Control]:
    """A world of random weights, and what its denoiser and conditioner take for random clips."""
    generator = torch.Generator().manual_seed(0)
    config = TINY_CONFIG if knows_states else without_states(TINY_CONFIG)
    world = randomized(WorldModel.create(config))
    assert isinstance(world, StreamingWorld)
    noisy, previous = torch.randn(2, *SHAPE, *config.latent_shape, generator=generator)
    levels = torch.rand(SHAPE, generator=generator)
    controls = 2 * torch.rand(*SHAPE, config.control_dim, generator=generator) - 1
    acted = torch.ones(SHAPE, dtype=torch.bool)
    acted[:, 0] = False
    return world, (noisy, previous, levels), Control(values=controls, acted=acted)


def part(control: Control, frames: slice) -> Control:
    return Control(values=control.values[:, frames], acted=control.acted[:, frames])


@pytest.mark.parametrize("knows_states", [True, False])
def test_stream_equals_masked_sequence_across_two_wraps(knows_states):
    world, inputs, control = world_and_clips(knows_states)
    denoiser, (noisy, previous, levels) = world.denoiser, inputs
    with torch.no_grad():
        whole, whole_tokens = denoiser(*inputs, world.conditioner(control))
        ring = denoiser.empty_ring(SHAPE[0])
        for t in range(SHAPE[1]):
            # A first pass at another noise level leaves no trace, as denoising does.
            now = slice(t, t + 1)
            conditioning = world.conditioner(part(control, now), last=True)
            before, level = previous[:, now], levels[:, now]
            denoiser.stream(noisy[:, now] + 1, before, level / 2, conditioning, ring)
            change, tokens = denoiser.stream(noisy[:, now], before, level, conditioning, ring)
            ring.advance()
            torch.testing.assert_close(change, whole[:, t], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(tokens, whole_tokens[:, t], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("knows_states", [True, False])
def test_two_frames_a_pass_equal_the_masked_sequence(knows_states):
    """As a step goes: each frame once as the one to draw, then, with the next, as the newest."""
    world, inputs, control = world_and_clips(knows_states)
    denoiser, (noisy, previous, levels) = world.denoiser, inputs
    with torch.no_grad():
        whole, whole_tokens = denoiser(*inputs, world.conditioner(control))
        ring = denoiser.empty_ring(SHAPE[0])
        for t in range(1, SHAPE[1]):
            two = slice(t - 1, t + 1)
            conditioning = world.conditioner(part(control, two), last=True)
            change, tokens = denoiser.stream(
                noisy[:, two], previous[:, two], levels[:, two], conditioning, ring
            )
            ring.advance()
            torch.testing.assert_close(change, whole[:, t], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(tokens, whole_tokens[:, t], rtol=1e-4, atol=1e-5)


def test_a_step_draws_the_states_that_it_is_given():
    """What is predicted is drawn where no states are given; else those that are given."""
    world = randomized(WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG)))
    assert isinstance(world, StreamingWorld)
    begin = world.starts[0]

    def drawn(states: torch.Tensor | None) -> torch.Tensor:
        state = world.start(begin.frames[None], begin.actions[None], [0])
        control = world.conditioner.control(state.memory, world.scale_actions(action))
        predicted.append(world.conditioner(control).prediction)
        world.advance(state, action, states)
        return state.latents

    action, predicted = random_actions(1), []
    with torch.no_grad():
        own = drawn(None)
        torch.testing.assert_close(drawn(predicted[0]), own)
        assert not torch.allclose(drawn(predicted[0] + 0.1), own, atol=1e-3)


def test_the_past_beyond_the_ring_is_reachable_only_through_deeper_blocks():
    """One block sees `context` frames back; a change further back cannot matter to it."""
    shape = dataclasses.replace(TINY_CONFIG.denoiser, depth=1)
    config = dataclasses.replace(TINY_CONFIG, denoiser=shape)
    world = randomized(WorldModel.create(config))
    assert isinstance(world, StreamingWorld)
    denoiser = world.denoiser
    noisy = torch.randn(1, 6, *config.latent_shape)
    controls, acted = torch.zeros(1, 6, config.control_dim), torch.ones(1, 6, dtype=torch.bool)
    conditioning = world.conditioner(Control(values=controls, acted=acted))
    inputs = (torch.rand(1, 6), conditioning)
    other = noisy.clone()
    other[:, 1] += 1
    with torch.no_grad():
        a, _ = denoiser(noisy, noisy, *inputs)
        b, _ = denoiser(other, noisy, *inputs)
    changed = (a != b).flatten(2).any(-1)[0].tolist()
    assert changed == [False, True, True, True, True, False]


def test_fresh_weights_predict_that_nothing_moves(tiny_world):
    world = WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG))
    state = started(world, [0], [0])
    _, out = world.step(state, random_actions(1))
    torch.testing.assert_close(out.frame[0].numpy(), world.starts[0].frames[-1])


def test_same_seed_same_rollout_and_other_seed_another(world):
    def roll(seed: int) -> torch.Tensor:
        state = started(world, [0], [seed])
        return torch.stack([world.step_(state, a[None]).frame for a in random_actions(8)])

    assert torch.equal(roll(3), roll(3))
    assert not torch.equal(roll(3), roll(4))


def test_step_leaves_the_given_state_as_it_was(world):
    state = started(world, [0, 1], [1, 2])
    action = random_actions(2)
    _, first = world.step(state, action)
    _, second = world.step(state, action)
    assert torch.equal(first.frame, second.frame)
    assert state.steps.tolist() == [0, 0]


def test_batch_of_n_equals_n_singles(world):
    actions = random_actions(32, 3)
    batch = started(world, [0, 1, 2], [5, 6, 7])
    frames = torch.stack([world.step_(batch, a).frame for a in actions])
    for i in range(3):
        single = started(world, [i], [5 + i])
        alone = torch.stack([world.step_(single, a[i : i + 1]).frame for a in actions])
        assert (alone[:, 0].int() - frames[:, i].int()).abs().max() <= 1


def test_partial_reset_equals_a_fresh_start(world):
    state = started(world, [0, 1, 2], [5, 6, 7])
    for action in random_actions(5, 3):
        world.step_(state, action)
    state.put([1], started(world, [3], [9]))
    fresh = started(world, [3], [9])
    for action in random_actions(6, 3, seed=1):
        out = world.step_(state, action)
        alone = world.step_(fresh, action[1:2])
        assert (out.frame[1].int() - alone.frame[0].int()).abs().max() <= 1
        torch.testing.assert_close(out.reward[1], alone.reward[0], rtol=1e-4, atol=1e-4)


def test_outputs_are_not_changed_by_later_steps(world):
    state = started(world, [0], [0])
    out = world.step_(state, random_actions(1))
    before = out.frame.clone(), out.reward.clone()
    world.step_(state, random_actions(1, seed=1))
    assert torch.equal(out.frame, before[0])
    assert torch.equal(out.reward, before[1])


def test_rollout_gives_what_steps_give_and_leaves_the_state(world):
    state = started(world, [0, 1], [1, 2])
    actions = random_actions(2, 3, 4)
    out = world.rollout(state, actions, return_frames=True)
    assert out.reward.shape == (2, 3, 4)
    assert out.terminated.shape == (2, 3, 4)
    assert out.frames is not None
    for k in range(3):
        branch = state.clone()
        for h in range(4):
            step = world.step_(branch, actions[:, k, h])
            torch.testing.assert_close(out.reward[:, k, h], step.reward, rtol=1e-4, atol=1e-4)
            assert (out.frames[:, k, h].int() - step.frame.int()).abs().max() <= 1
    assert state.steps.tolist() == [0, 0]


def test_rollout_of_states_is_what_a_picture_would_not_correct(world):
    """With a head that corrects nothing, states and rewards are those of a rollout."""
    world = randomized(WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG)))
    state = started(world, [0, 1], [1, 2])
    actions = random_actions(2, 3, 4)
    corrected = world.rollout_states(state, actions), world.rollout(state, actions)
    assert not torch.allclose(corrected[0].reward, corrected[1].reward)
    torch.nn.init.zeros_(world.head.out.weight)
    torch.nn.init.zeros_(world.head.out.bias)
    before = state.clone()
    predicted, drawn = world.rollout_states(state, actions), world.rollout(state, actions)
    assert predicted.frames is None
    for name, tensor in state.tensors.items():
        assert torch.equal(tensor, before.tensors[name]), name
    assert list(predicted.states) == list(TINY_CONFIG.tracked)
    torch.testing.assert_close(predicted.reward, drawn.reward)
    assert torch.equal(predicted.terminated, drawn.terminated)
    for name, values in predicted.states.items():
        assert values.shape[:3] == (2, 3, 4)
        torch.testing.assert_close(values, drawn.states[name], rtol=1e-4, atol=1e-2)
    assert state.steps.tolist() == [0, 0]


def test_a_world_without_states_says_so_where_they_are_to_be_rolled_out():
    config = without_states(TINY_CONFIG)
    world = WorldModel.create(config, make_starts(config))
    state = started(world, [0], [1])
    with pytest.raises(ValueError, match="does not predict states"):
        world.rollout_states(state, random_actions(1, 2, 3))


def test_start_takes_in_the_whole_clip(world):
    """The same last frame after another past is another state."""
    start = world.starts[0]
    short = world.start(start.frames[None, -1:], start.actions[None, :0], [0])
    state = started(world, [0], [0])
    action = random_actions(1)
    assert not torch.equal(world.step_(short, action).frame, world.step_(state, action).frame)


def test_changes_below_the_threshold_become_zero_and_large_ones_stay():
    changes = torch.tensor([0.0, 0.02, 0.04, 0.06, 0.08, 0.3, -0.03, -0.06, -0.5])
    expected = torch.tensor([0.0, 0.0, 0.0, 0.04, 0.08, 0.3, 0.0, -0.04, -0.5])
    torch.testing.assert_close(outside(changes, 0.04), expected)
    assert torch.equal(outside(changes, 0.0), changes)
    fine = torch.linspace(-0.2, 0.2, 4001)
    assert outside(fine, 0.04).diff().max() <= 2.01 * fine.diff().max()  # no steps


def test_counted_noise_is_normal_and_keyed_by_all_three():
    seeds, steps = torch.arange(4), torch.tensor([0, 0, 1, 1])
    noise = counted_noise(seeds, steps, (3, 64, 64))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise**4).mean() - 3) < 0.1
    flat = noise.flatten(1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.04
    assert torch.equal(counted_noise(seeds[2:3], steps[2:3], (3, 64, 64))[0], noise[2])
    other = counted_noise(seeds, steps, (3, 64, 64), stream=1)
    assert abs(torch.corrcoef(torch.stack((flat[0], other[0].flatten())))[0, 1]) < 0.04
    later = counted_noise(seeds, steps + 1, (3, 64, 64))
    assert not torch.equal(later, noise)


@pytest.mark.parametrize(
    ("frames", "actions", "seeds", "message"),
    [
        (torch.zeros(1, 2, 96, 96, 3), torch.zeros(1, 1, 2), [0], "expected uint8"),
        (torch.zeros(1, 2, 48, 96, 3, dtype=torch.uint8), torch.zeros(1, 1, 2), [0], "96, 96, 3"),
        (torch.zeros(1, 2, 96, 96, 3, dtype=torch.uint8), torch.zeros(1, 2, 2), [0], "x y"),
        (torch.zeros(1, 2, 96, 96, 3, dtype=torch.uint8), torch.zeros(1, 1, 2), [0, 1], "seeds"),
    ],
)
def test_bad_clips_are_refused(world, frames, actions, seeds, message):
    with pytest.raises(ValueError, match=message):
        world.start(frames, actions, seeds)


def test_wrong_action_shape_names_the_components(world):
    state = started(world, [0], [0])
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(1, 2\): x y"):
        world.step(state, torch.zeros(1, 3))


def test_pictures_change_only_within_reach_of_what_moves():
    """A still body keeps its pixels for ever; near the disc, and near a body that moves, they
    change."""
    radii = (100.0, 100.0)  # of 512, around agent_pos and a moving block
    config = with_planar(TINY_CONFIG, mask_radii=radii)
    world = randomized(WorldModel.create(config, make_starts(config)))
    assert isinstance(world, StreamingWorld)
    places = 256 * (world.conditioner.cells + 1)
    for moves in (False, True):
        network, corrections = world.conditioner.dynamics.network[-1], world.head.out
        assert isinstance(network, torch.nn.Linear)
        with torch.no_grad():
            corrections.weight.zero_()  # what is read is what was guessed
            corrections.bias.zero_()
            network.bias[-1] = 100.0 if moves else -100.0  # does the block move?
            state = started(world, [0], [0])
        elsewhere = False
        first, *rest = random_actions(6)
        world.step_(state, first[None])  # of the frames before it poses are read, not exactly alike
        for action in rest:
            before = state.latents.clone()
            points = [state.memory["states"][:, 1].clone()]
            world.step_(state, action[None])
            points.append(state.memory["states"][:, 1])
            changed = (state.latents != before).any(1).flatten()
            disc, block = (
                torch.stack([256 * (p[0, at] + 1) for p in points])
                for at in (slice(0, 2), slice(2, 4))
            )
            near_disc = torch.cdist(places, disc).amin(1) < radii[0] + 1e-3
            near_block = torch.cdist(places, block).amin(1) < radii[1] + 1e-3
            assert changed.any()
            assert not changed[~(near_disc | (near_block & moves))].any()
            elsewhere = elsewhere or bool(changed[~near_disc].any())
        assert elsewhere == moves
