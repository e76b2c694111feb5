"""Bodies that look the same in several directions, and a plane that the camera sees aslant."""

import math

import numpy as np
import pytest
import torch

from tests.conftest import TINY_CONFIG, with_planar
from world_model import StreamingConfig
from world_model.streaming.conditioning import coordinates
from world_model.streaming.states.conditioner import MapAroundBodies
from world_model.streaming.states.config import PlanarConfig
from world_model.streaming.states.planar import Plane

# Of the picture's coordinates to the units 0 to 512 of the tiny world's places.
ASLANT = (256.0, 20.0, 250.0, 0.0, 220.0, 260.0, 0.0, -0.2, 1.0)


def config_with(**changes) -> StreamingConfig:
    return with_planar(TINY_CONFIG, **changes)


def state_of(order: int, degrees: float) -> torch.Tensor:
    """A tiny world's states with the body at (0.2, -0.1)."""
    angle = order * math.radians(degrees)
    return torch.tensor([0.0, 0.0, 0.2, -0.1, math.cos(angle), math.sin(angle)])


def test_turns_that_do_not_show_are_one_state_and_one_sight():
    plane = Plane(config_with(symmetries=(4,)))
    (part,) = plane.poses
    place = torch.tensor([0.5, 0.3])
    first, other = state_of(4, 20), state_of(4, 110)
    torch.testing.assert_close(first, other)
    seen = plane.seen_from(plane.pose(first, part), place)
    as_without = Plane(TINY_CONFIG).seen_from(state_of(1, 20)[2:], place)
    torch.testing.assert_close(seen, as_without, rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_a_turn_is_a_turn_of_the_body(order):
    plane = Plane(config_with(symmetries=(order,)))
    (part,) = plane.poses
    step, turn = torch.tensor([0.01, 0.02]), torch.tensor(math.radians(5))
    moved = plane.moved_state(state_of(order, 10), part, step, turn)
    torch.testing.assert_close(moved[2:], state_of(order, 15)[4:], rtol=0, atol=1e-6)
    alone = Plane(TINY_CONFIG).moved(state_of(1, 10)[2:], step, turn)
    torch.testing.assert_close(moved[:2], alone[:2], rtol=0, atol=1e-6)


def test_a_round_body_has_one_direction():
    plane = Plane(config_with(symmetries=(0,)))
    (part,) = plane.poses
    assert plane.pose(state_of(1, 70), part)[2:].tolist() == [1.0, 0.0]
    moved = plane.moved_state(state_of(0, 70), part, torch.zeros(2), torch.tensor(1.0))
    assert moved[2:].tolist() == [1.0, 0.0]


def test_places_go_through_the_homography_and_back():
    plane = Plane(config_with(homography=ASLANT))
    picture = torch.tensor([[0.0, 0.0], [0.5, -0.8]])
    found = plane.from_picture(picture)
    wanted = []
    for x, y in picture.tolist():
        across, down, depth = np.array(ASLANT).reshape(3, 3) @ (x, y, 1)
        wanted.append([across / depth / 256 - 1, down / depth / 256 - 1])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    torch.testing.assert_close(plane.to_picture(found), picture, rtol=0, atol=1e-5)


def test_no_homography_is_the_picture_itself():
    places = torch.rand(5, 2)
    plane = Plane(TINY_CONFIG)
    assert plane.from_picture(places) is places and plane.to_picture(places) is places


def test_beyond_the_horizon_places_are_far_and_finite():
    plane = Plane(config_with(homography=(256.0, 0, 256, 0, 256, 256, 0, -2.0, 1)))
    found = plane.from_picture(torch.tensor([[0.1, 0.5], [0.1, 0.9]]))
    assert found.isfinite().all() and found.abs().max() <= 8


def test_a_map_has_its_places_in_the_plane():
    config = config_with(homography=ASLANT)
    around = MapAroundBodies(config, (4, 4), 8, 8)
    torch.testing.assert_close(around.in_plane, Plane(config).from_picture(coordinates(4, 4)))
    same = MapAroundBodies(TINY_CONFIG, (4, 4), 8, 8)
    assert torch.equal(same.in_plane, same.centres)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symmetries": (1, 2)}, "symmetries"),
        ({"symmetries": (-1,)}, "an order of 0 or more"),
        ({"homography": (1.0, 2.0)}, "9 numbers"),
        ({"homography": (1.0,) * 9}, "can be inverted"),
    ],
)
def test_what_is_no_plane_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config_with(**changes)


def test_a_plane_without_the_new_fields_is_as_it_was():
    old = PlanarConfig(action=True, points=("agent_pos",), poses=("block_pose",))
    assert (old.symmetries, old.homography) == ((), None)
    assert old == TINY_CONFIG.required_states.planar
