"""The U-Net denoiser of plain video worlds."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import TINY_CONFIG, make_starts, randomized, without_states
from world_model import WorldModel
from world_model.convolutions import centres, warped
from world_model.streaming.conditioning import Control
from world_model.streaming.config import DenoiserConfig, StreamingConfig
from world_model.streaming.unet import UNetDenoiser
from world_model.streaming.world import StreamingWorld

SHAPE = DenoiserConfig(network="unet", patch=4, width=16, depth=1, context=2)


def unet_config(num_steps: int = 1, *, states: bool = False, **changes) -> StreamingConfig:
    """A tiny world whose frames are not square."""
    config = TINY_CONFIG if states else without_states(TINY_CONFIG)
    sampler = dataclasses.replace(config.sampler, num_steps=num_steps)
    return dataclasses.replace(config, denoiser=SHAPE, sampler=sampler, **changes)


def unet_world(config: StreamingConfig, *, random: bool = True) -> StreamingWorld:
    world = WorldModel.create(config, make_starts(config))
    world = randomized(world) if random else world
    assert isinstance(world, StreamingWorld)
    return world


def begun(world: StreamingWorld, rows: list[int], seeds: list[int]):
    starts = [world.starts[i] for i in rows]
    frames = np.stack([start.frames for start in starts])
    return world.start(frames, np.stack([start.actions for start in starts]), seeds)


def actions_for(*leading: int) -> torch.Tensor:
    return 512 * torch.rand(*leading, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_steps", [1, 3])
def test_a_frame_at_a_time_is_drawn_as_in_a_whole_clip(num_steps):
    """Each once as the one to draw, again in a later pass, then with the next as the newest."""
    world = unet_world(unet_config(num_steps))
    network, config = world.denoiser, world.config
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 6, *config.latent_shape, generator=generator)
    previous = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
    change = frames - previous
    noisy = torch.randn(frames.shape, generator=generator)
    levels = torch.rand(2, 6, generator=generator)
    acted = torch.ones(2, 6, dtype=torch.bool)
    values = 2 * torch.rand(2, 6, config.control_dim, generator=generator) - 1

    def conditioning(frames: slice):
        control = Control(values=values[:, frames], acted=acted[:, frames])
        return world.conditioner(control, last=True)

    with torch.no_grad():
        whole, tokens = network(noisy, previous, levels, conditioning(slice(None)))
        ring = network.empty_ring(2)
        network.remember(change[:, :1], previous[:, :1], conditioning(slice(0, 1)), ring)
        for t in range(1, 6):
            two, now = slice(t - 1, t + 1), slice(t, t + 1)
            newest = torch.stack((change[:, t - 1], noisy[:, t]), dim=1)
            at = torch.stack((torch.zeros(2), levels[:, t]), dim=1)
            first = network.stream(newest, previous[:, two], at, conditioning(two), ring)
            ring.advance()
            single = (noisy[:, now], previous[:, now], levels[:, now], conditioning(now))
            for made, read in (first, network.stream(*single, ring)):
                torch.testing.assert_close(made, whole[:, t], rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(read, tokens[:, t], rtol=1e-4, atol=1e-4)


def test_fresh_weights_predict_that_hardly_anything_moves():
    world = unet_world(unet_config(), random=False)
    state = begun(world, [0], [0])
    out = world.step_(state, actions_for(1))
    shown = world.starts[0].frames[-1].astype(int)
    assert np.abs(out.frame[0].numpy() - shown).mean() < 10


def test_parts_move_and_turn_what_the_last_frame_shows():
    """A mask that covers everything and a motion to the right and down by known shares."""
    config = dataclasses.replace(unet_config(), height=32, width=64)
    network = UNetDenoiser(config)
    with torch.no_grad():
        for layer in (network.masks, network.last):
            layer.weight.zero_()
            layer.bias.zero_()
        network.masks.bias[0] = 50.0
        network.last.bias[4 * 3 + 4 : 4 * 3 + 8] = 50.0  # all of it moved, nothing its own
        # A pixel is two of 32 half heights, and a flow says where pixels come from.
        network.motion[-1].bias.copy_(torch.tensor([-4 / 16, 2 / 16, 0.0]) / 0.1)
    frame = torch.rand(1, 1, 3, 32, 64)
    conditioned = unet_world(dataclasses.replace(config), random=False).conditioner(
        Control(values=torch.zeros(1, 1, 2), acted=torch.ones(1, 1, dtype=torch.bool))
    )
    nothing = torch.zeros_like(frame)
    with torch.no_grad():
        change, _ = network.draw(nothing, frame, nothing, torch.ones(1, 1), conditioned)
        drawn = (frame + change)[0, 0]
        torch.testing.assert_close(
            drawn[:, 4:-4, 8:-8], frame[0, 0, :, 6:-2, 4:-12], rtol=1e-3, atol=1e-3
        )
        # Half a turn around the mask's middle, which is that of the frame.
        network.motion[-1].bias.copy_(torch.tensor([0.0, 0.0, torch.pi]) / 0.1)
        change, _ = network.draw(nothing, frame, nothing, torch.ones(1, 1), conditioned)
    turned = (frame + change)[0, 0]
    torch.testing.assert_close(turned, frame[0, 0].flip(1, 2), rtol=1e-3, atol=1e-3)


def test_contrast_changes_what_a_world_draws_and_not_what_training_sees():
    config = unet_config()
    contrast = dataclasses.replace(SHAPE, blend_contrast=8.0)
    worlds = [unet_world(config), unet_world(dataclasses.replace(config, denoiser=contrast))]
    worlds[1].load_state_dict(worlds[0].state_dict())
    drawn = [w.step_(begun(w, [0], [0]), actions_for(1)).frame.int() for w in worlds]
    assert (drawn[0] - drawn[1]).abs().max() > 1
    generator = torch.Generator().manual_seed(0)
    noisy, previous = torch.randn(2, 1, 3, *config.latent_shape, generator=generator).unbind(0)
    values = torch.rand(1, 3, config.control_dim, generator=generator)
    control = Control(values=values, acted=torch.ones(1, 3, dtype=torch.bool))
    with torch.no_grad():
        clips = [
            w.denoiser(noisy, previous, torch.ones(1, 3), w.conditioner(control, last=True))[0]
            for w in worlds
        ]
    assert torch.equal(*clips)


def test_what_is_moved_often_keeps_its_edges():
    """A square that goes half a pixel to and fro, sixteen times."""
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 10:22, 10:22] = 1.0
    grid, half = centres(32, 32), torch.full((1, 2, 32, 32), 1 / 32)

    def edges(mode: str) -> float:
        moved = picture
        for t in range(16):
            moved = warped(moved, half * (-1) ** t, grid, mode)
        return float(moved.diff(dim=3).square().sum() / picture.diff(dim=3).square().sum())

    assert edges("bilinear") < 0.3
    assert 0.7 < edges("bicubic") < 1.2


@pytest.mark.parametrize(("num_steps", "states"), [(1, False), (3, False), (1, True)])
def test_it_keeps_the_promises_of_every_world(tmp_path, num_steps, states):
    """Saved and loaded, batch and singles, seeds, clones and partial resets, rollouts."""
    unet_world(unet_config(num_steps, states=states)).save_pretrained(tmp_path)
    world = WorldModel.from_pretrained(tmp_path)
    assert isinstance(world, StreamingWorld)
    assert isinstance(world.denoiser, UNetDenoiser)
    steps = actions_for(5, 3)
    batch = begun(world, [0, 1, 2], [5, 6, 7])
    kept = batch.clone()
    frames = torch.stack([world.step_(batch, action).frame for action in steps])
    again = torch.stack([world.step_(kept, action).frame for action in steps])
    assert torch.equal(frames, again)
    single = begun(world, [1], [6])
    alone = torch.stack([world.step_(single, action[1:2]).frame for action in steps])
    assert (alone[:, 0].int() - frames[:, 1].int()).abs().max() <= 1
    batch.put([2], begun(world, [0], [9]))
    fresh = begun(world, [0], [9])
    out, expected = world.step_(batch, steps[0]), world.step_(fresh, steps[0][2:])
    assert (out.frame[2].int() - expected.frame[0].int()).abs().max() <= 1
    state = begun(world, [0], [1])
    rolled = world.rollout(state, steps[None, None, :, 0], return_frames=True)
    assert rolled.frames is not None
    for t, action in enumerate(steps[:, :1]):
        stepped = world.step_(state, action)
        assert (rolled.frames[0, 0, t].int() - stepped.frame[0].int()).abs().max() <= 1
    other = begun(world, [0], [2])
    first = world.step_(other, steps[0][:1]).frame
    assert torch.equal(first, world.step_(begun(world, [0], [1]), steps[0][:1]).frame) == (
        num_steps == 1  # in one pass none of the noise gets in
    )


def test_bf16_differs_by_rounding():
    world = unet_world(unet_config())
    exact = world.step_(begun(world, [0, 1], [0, 1]), actions_for(2)).frame
    world.precision = "bf16"
    rough = world.step_(begun(world, [0, 1], [0, 1]), actions_for(2)).frame
    assert (exact.int() - rough.int()).abs().float().mean() < 10
    assert world.denoiser.position.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 40}, "do not divide by 16.*--patch"),
        ({"denoiser": dataclasses.replace(SHAPE, patch=8)}, "do not divide by 32"),
    ],
)
def test_frames_that_do_not_fit_are_refused(changes, message):
    config = dataclasses.replace(unet_config(), height=96, width=112)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"width": 20}, "multiple of 8"), ({"patch": 3}, "even"), ({"parts": 65}, "parts is 65")],
)
def test_shapes_that_it_cannot_have_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SHAPE, **fields)
