"""States read off one picture, and read again more closely."""

import dataclasses
import math

import pytest
import torch

from tests.conftest import TINY_CONFIG, randomized
from world_model import WorldModel
from world_model.streaming.conditioning import coordinates
from world_model.streaming.config import DenoiserConfig
from world_model.streaming.states.conditioner import StateConditioner
from world_model.streaming.states.estimator import Look, StateEstimator
from world_model.streaming.world import StreamingWorld


def make_reader(looks: int) -> StateEstimator:
    shape = dataclasses.replace(TINY_CONFIG.denoiser, reader_looks=looks)
    world = randomized(WorldModel.create(dataclasses.replace(TINY_CONFIG, denoiser=shape)))
    assert isinstance(world, StreamingWorld)
    assert isinstance(world.conditioner, StateConditioner)
    return world.conditioner.estimator


def pictures(pose: torch.Tensor, size: int = 96) -> torch.Tensor:
    """Pictures (B, 3, h, w) of a soft hook at poses (B, 4)."""
    places = coordinates(size, size) - pose[:, None, :2]
    cos, sin = pose[:, 2:3], pose[:, 3:4]
    along = cos * places[..., 0] + sin * places[..., 1]
    aside = cos * places[..., 1] - sin * places[..., 0]
    hook = torch.exp(-40 * (along - 0.2).square() - 10 * aside.square())
    hook = hook + torch.exp(-30 * along.square() - 60 * (aside - 0.2).square())
    return hook.reshape(-1, 1, size, size).expand(-1, 3, -1, -1)


def poses(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(count, 2, generator=generator) - 0.5
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    return torch.cat((place, angle.cos()[:, None], angle.sin()[:, None]), dim=-1)


def test_fresh_looks_leave_what_was_read():
    reader = make_reader(2)
    with torch.no_grad():
        for look in reader.looks:
            look.get_parameter("out.weight").zero_()
            look.get_parameter("out.bias").zero_()
        first, second, third = reader.readings(torch.rand(2, 3, 96, 96))
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(third, first)


def test_a_world_without_looks_has_none_and_reads_once():
    reader = make_reader(0)
    assert not [name for name in reader.state_dict() if name.startswith("looks")]
    assert len(reader.readings(torch.rand(2, 3, 96, 96))) == 1


def test_a_look_sees_a_body_alike_wherever_it_is():
    look = make_reader(1).looks[1]
    assert isinstance(look, Look)
    pose = poses(6)
    seen = look._seen(pictures(pose), pose[:, None])
    assert seen.shape == (6, 3, look.cells, look.cells)
    standing = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    expected = look._seen(pictures(standing), standing[:, None]).expand_as(seen)
    torch.testing.assert_close(seen, expected, atol=0.04, rtol=0)
    elsewhere = look._seen(pictures(pose), poses(6, seed=1)[:, None])
    assert (elsewhere - expected).abs().amax() > 0.3


def test_a_correction_is_a_step_and_a_turn_of_that_body_alone():
    reader = make_reader(1)
    point, body = reader.looks
    assert isinstance(point, Look)
    assert isinstance(body, Look)
    states = torch.cat((torch.tensor([[0.1, -0.2]]).expand(4, 2), poses(4)), dim=-1)
    latents = torch.rand(4, 3, 96, 96)
    with torch.no_grad():
        for look in (point, body):
            look.out.weight.zero_()
            look.out.bias.copy_(torch.tensor([0.3, 0.0, 1.0]))
        moved = point(latents, states)
        torch.testing.assert_close(moved[:, 0] - states[:, 0], torch.full((4,), 0.03))
        assert torch.equal(moved[:, 1:], states[:, 1:])
        moved = body(latents, states)
    assert torch.equal(moved[:, :2], states[:, :2])
    step = (moved - states)[:, 2:4]
    torch.testing.assert_close(step, 0.03 * states[:, 4:])  # along its own direction
    turn = torch.atan2(moved[:, 5], moved[:, 4]) - torch.atan2(states[:, 5], states[:, 4])
    torch.testing.assert_close(torch.sin(turn), torch.full((4,), math.sin(0.1)))


def test_a_look_learns_where_a_body_is():
    """From a guess that is off by a few pixels and degrees, to a fraction of those."""
    torch.manual_seed(0)
    look = make_reader(1).looks[1]
    assert isinstance(look, Look)
    for layer in (look.first, look.second, look.hidden):
        layer.reset_parameters()
    torch.nn.init.zeros_(look.out.weight)
    optimizer = torch.optim.Adam(look.parameters(), lr=2e-3)
    errors = []
    for step in range(120):
        true = poses(16, seed=step)
        off = true.clone()
        off[:, :2] += 0.03 * torch.randn(16, 2)
        angle = torch.atan2(true[:, 3], true[:, 2]) + 0.05 * torch.randn(16)
        off[:, 2:] = torch.stack((angle.cos(), angle.sin()), dim=-1)
        wanted, guess = (torch.cat((torch.zeros(16, 2), pose), dim=-1) for pose in (true, off))
        loss = (look(pictures(true), guess) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append((loss / (guess - wanted).square().mean()).item())
    assert sum(errors[-20:]) / 20 < 0.2


def test_a_negative_number_of_looks_is_refused():
    with pytest.raises(ValueError, match="reader_looks is -1"):
        DenoiserConfig(reader_looks=-1)
