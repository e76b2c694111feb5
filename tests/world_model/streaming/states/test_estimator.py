"""States estimated from one frame, then refined."""

import math
from typing import Any

import pytest
import torch

from tests.conftest import TINY_CONFIG, randomized, with_planar, with_states
from tests.world_model.streaming.states.test_planar import ASLANT
from world_model import WorldModel
from world_model.streaming.conditioning import coordinates
from world_model.streaming.states.conditioner import StateConditioner
from world_model.streaming.states.config import StatesConfig
from world_model.streaming.states.estimator import Refiner, StateEstimator
from world_model.streaming.world import StreamingWorld


def make_estimator(iterations: int, **planar: Any) -> StateEstimator:
    config = with_planar(with_states(TINY_CONFIG, refinement_iterations=iterations), **planar)
    world = randomized(WorldModel.create(config))
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


def test_untrained_refiners_keep_the_first_estimate():
    estimator = make_estimator(2)
    with torch.no_grad():
        for refiner in estimator.refiners:
            refiner.get_parameter("out.weight").zero_()
            refiner.get_parameter("out.bias").zero_()
        first, second, third = estimator.estimates(torch.rand(2, 3, 96, 96)).states
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(third, first)


def test_without_refinement_there_is_one_estimate():
    estimator = make_estimator(0)
    assert not [name for name in estimator.state_dict() if name.startswith("refiners")]
    assert len(estimator.estimates(torch.rand(2, 3, 96, 96)).states) == 1


def test_the_patch_of_a_body_is_the_same_wherever_it_is():
    refiner = make_estimator(1).refiners[1]
    assert isinstance(refiner, Refiner)
    pose = poses(6)
    patch = refiner._patch(pictures(pose), pose[:, None])
    assert patch.shape == (6, 3, refiner.cells, refiner.cells)
    standing = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    expected = refiner._patch(pictures(standing), standing[:, None]).expand_as(patch)
    torch.testing.assert_close(patch, expected, atol=0.04, rtol=0)
    elsewhere = refiner._patch(pictures(pose), poses(6, seed=1)[:, None])
    assert (elsewhere - expected).abs().amax() > 0.3


def test_a_correction_is_a_step_and_a_turn_of_that_body_alone():
    estimator = make_estimator(1)
    point, body = estimator.refiners
    assert isinstance(point, Refiner)
    assert isinstance(body, Refiner)
    states = torch.cat((torch.tensor([[0.1, -0.2]]).expand(4, 2), poses(4)), dim=-1)
    latents = torch.rand(4, 3, 96, 96)
    with torch.no_grad():
        for refiner in (point, body):
            refiner.out.weight.zero_()
            refiner.out.bias.copy_(torch.tensor([0.3, 0.0, 1.0]))
        moved = point(latents, states)
        torch.testing.assert_close(moved[:, 0] - states[:, 0], torch.full((4,), 0.03))
        assert torch.equal(moved[:, 1:], states[:, 1:])
        moved = body(latents, states)
    assert torch.equal(moved[:, :2], states[:, :2])
    step = (moved - states)[:, 2:4]
    torch.testing.assert_close(step, 0.03 * states[:, 4:])  # along its own direction
    turn = torch.atan2(moved[:, 5], moved[:, 4]) - torch.atan2(states[:, 5], states[:, 4])
    torch.testing.assert_close(torch.sin(turn), torch.full((4,), math.sin(0.1)))


def test_a_symmetric_body_turns_by_a_vector():
    """So nothing jumps where it may be turned one way or the other: half a sector to each side."""
    refiner = make_estimator(1, symmetries=(4,)).refiners[1]
    assert isinstance(refiner, Refiner)
    states = torch.cat((torch.zeros(4, 2), poses(4)), dim=-1)
    latents = torch.rand(4, 3, 96, 96)

    def turned(ahead: float, aside: float) -> torch.Tensor:
        with torch.no_grad():
            refiner.out.weight.zero_()
            refiner.out.bias.copy_(torch.tensor([0.0, 0.0, ahead - 1, aside]))
            return refiner(latents, states)

    torch.testing.assert_close(turned(1.0, 0.0), states)
    quarter = torch.stack((-states[:, 5], states[:, 4]), dim=-1)  # of four times the angle
    torch.testing.assert_close(turned(0.0, 2.0)[:, 4:], quarter)
    torch.testing.assert_close(turned(-1.0, 1e-3), turned(-1.0, -1e-3), atol=4e-3, rtol=0)


@pytest.mark.parametrize("homography", [None, ASLANT])
def test_places_are_those_of_the_picture(homography):
    estimator = make_estimator(0, homography=homography)
    states = torch.cat((0.4 * poses(5)[:, :2], 0.4 * poses(5, seed=1)[:, :2], poses(5)[:, 2:]), 1)
    places = estimator.places_in_picture(states)
    assert places.shape == (5, 2, 2)
    for found, place in zip(places.unbind(1), (states[:, :2], states[:, 2:4]), strict=True):
        torch.testing.assert_close(estimator.plane.from_picture(found), place)
    assert estimator.estimates(torch.rand(5, 3, 96, 96)).places.shape == places.shape


def test_a_refiner_learns_where_a_body_is():
    """From a guess that is off by a few pixels and degrees, to a fraction of those."""
    torch.manual_seed(0)
    refiner = make_estimator(1).refiners[1]
    assert isinstance(refiner, Refiner)
    for layer in (refiner.first, refiner.second, refiner.hidden):
        layer.reset_parameters()
    torch.nn.init.zeros_(refiner.out.weight)
    optimizer = torch.optim.Adam(refiner.parameters(), lr=2e-3)
    errors = []
    for step in range(120):
        true = poses(16, seed=step)
        off = true.clone()
        off[:, :2] += 0.03 * torch.randn(16, 2)
        angle = torch.atan2(true[:, 3], true[:, 2]) + 0.05 * torch.randn(16)
        off[:, 2:] = torch.stack((angle.cos(), angle.sin()), dim=-1)
        wanted, guess = (torch.cat((torch.zeros(16, 2), pose), dim=-1) for pose in (true, off))
        loss = (refiner(pictures(true), guess) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append((loss / (guess - wanted).square().mean()).item())
    assert sum(errors[-20:]) / 20 < 0.2


def test_a_negative_number_of_refinements_is_refused():
    with pytest.raises(ValueError, match="refinement_iterations is -1"):
        StatesConfig(refinement_iterations=-1)
