"""What states a control leads to, and how bodies in the picture's plane move."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import TINY_CONFIG, with_states
from world_model.config import ObservationConfig
from world_model.streaming.conditioning import num_features
from world_model.streaming.states.conditioner import join_controls
from world_model.streaming.states.config import PlanarConfig, StatesConfig
from world_model.streaming.states.dynamics import LEAST_CORRECTION, OUTPUT_SCALE, Dynamics
from world_model.streaming.states.planar import Plane


def pose_at(x: float, y: float, degrees: float) -> torch.Tensor:
    angle = math.radians(degrees)
    return torch.tensor([x, y, math.cos(angle), math.sin(angle)])


def random_numbers(count: int) -> tuple[torch.Tensor, ...]:
    """Actions, last actions, states and those before (count, ...), directions of length 1."""
    generator = torch.Generator().manual_seed(0)
    action, last = 2 * torch.rand(2, count, 2, generator=generator) - 1
    states = Plane(TINY_CONFIG).upright(2 * torch.rand(2, count, 6, generator=generator) - 1)
    return action, last, *states


def with_random_outputs(dynamics: Dynamics, std: float) -> Dynamics:
    torch.manual_seed(0)
    last = dynamics.network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=std)
    return dynamics.requires_grad_(False)


def test_dynamics_learns_a_linear_law_and_begins_at_standing_still():
    """A mass drawn to its target: the next place is linear in the control."""
    dynamics = Dynamics(TINY_CONFIG)
    action, last, state, earlier = random_numbers(512)
    controls = join_controls(action, last, state, earlier)
    torch.testing.assert_close(dynamics(controls), state)
    place = state[:, :2]
    following = place + 0.3 * (action - place) + 0.2 * (place - earlier[:, :2]) + 0.1 * last
    wanted = torch.cat((following, state[:, 2:] + 0.1), dim=-1)
    dynamics.fit_law(controls, wanted)
    guess = dynamics(controls)
    torch.testing.assert_close(guess[:, :2], following, rtol=0, atol=1e-4)
    torch.testing.assert_close(guess[:, 2:], state[:, 2:])  # bodies have no such law
    of_bodies = dynamics.weight[:, 4:8], dynamics.weight[:, 10:14]
    assert not any(part.any() for part in of_bodies)


def test_a_law_is_found_where_numbers_depend_on_each_other():
    """A camera at rest, an action that is always the same: what fits is still a small law."""
    dynamics = Dynamics(TINY_CONFIG)
    action, last, state, _ = random_numbers(64)
    action, last, state = (
        action[:1].expand(64, 2),
        action[:1].expand(64, 2),
        state[:1].expand(64, 6),
    )
    controls = join_controls(action, last, state, state)
    dynamics.fit_law(controls, state + 0.25)
    torch.testing.assert_close(dynamics(controls)[:, :2], state[:, :2] + 0.25, rtol=0, atol=1e-3)
    assert dynamics.weight.abs().max() < 1


def test_a_law_is_that_of_a_robot_with_nothing_in_its_way():
    """Steps in which something stops it do not bend the law of all others."""
    dynamics = Dynamics(TINY_CONFIG)
    action, last, state, earlier = random_numbers(512)
    following = state.clone()
    following[:, :2] += 0.3 * (action - state[:, :2])
    following[::5] = state[::5]
    controls = join_controls(action, last, state, earlier)
    dynamics.fit_law(controls, following)
    wrong = (dynamics(controls) - following)[:, :2].abs()
    assert wrong[1::5].max() < 1e-4 < 1e-2 < wrong[::5].mean()


def test_a_robot_beside_bodies_is_corrected_by_what_counts_or_not_at_all():
    dynamics = two_bodies(action=False)
    dynamics.weight[:2, :2] = 0.1 * torch.eye(2)
    last, state = dynamics.network[-1], torch.cat((torch.zeros(2), *[pose_at(0.9, 0.9, 0)] * 2))
    assert isinstance(last, nn.Linear) and dynamics.interactions is not None
    last.weight.zero_()
    controls = join_controls(torch.tensor([0.5, 0.0]), torch.zeros(2), state, state)
    last.bias.requires_grad_(True)
    for bias, wanted in ((0.005, 0.05), (0.5, 0.05 + 0.1 - LEAST_CORRECTION)):
        with torch.no_grad():
            last.bias[0] = bias
        guess = dynamics(controls)[0]
        assert guess.item() == pytest.approx(wanted, abs=1e-6)
        (slope,) = torch.autograd.grad(guess, last.bias)  # even of what is too little
        assert slope[0].item() == pytest.approx(OUTPUT_SCALE)


def test_what_is_learned_of_a_push_in_one_place_holds_in_another():
    """With the absolute numbers cut off, which walls need, a scene that is turned and moved has an
    outcome that is turned and moved alike."""
    dynamics = with_random_outputs(Dynamics(TINY_CONFIG), std=0.1)
    first = dynamics.network[0]
    assert isinstance(first, nn.Linear)
    absolute = TINY_CONFIG.control_dim + num_features(4, dynamics.frequencies)
    first.weight[:, :absolute] = 0
    plane = Plane(TINY_CONFIG)
    points = {"action": (0.3, 0.0), "last": (0.2, 0.05), "disc": (0.1, 0.1), "earlier": (0.1, 0.2)}

    def outcome(pose: torch.Tensor) -> torch.Tensor:
        at = {
            name: pose[:2] + plane.turned_from(pose, torch.tensor(place))
            for name, place in points.items()
        }
        state, earlier = torch.cat((at["disc"], pose)), torch.cat((at["earlier"], pose))
        guess = dynamics(join_controls(at["action"], at["last"], state, earlier))
        seen = [plane.seen_from(pose, guess[part]) for part in (slice(0, 2), slice(2, 4))]
        return torch.cat([*seen, plane.turned_to(pose, guess[4:6])])

    here, there = outcome(pose_at(0.1, -0.2, 30)), outcome(pose_at(-0.3, 0.4, 135))
    assert (here - torch.tensor([0.1, 0.1, 0, 0, 1, 0])).abs().max() > 1e-3
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)


def test_guessed_directions_keep_their_length_over_a_thousand_steps():
    dynamics = with_random_outputs(Dynamics(TINY_CONFIG), std=0.02)
    action, last, state, earlier = random_numbers(4)
    for _ in range(1000):
        guess = dynamics(join_controls(action, last, state, earlier))
        state, earlier = guess.clamp(-1, 1), state
    torch.testing.assert_close(state[:, 4:].norm(dim=1), torch.ones(4), rtol=1e-3, atol=0)


def test_places_are_seen_from_a_body_and_back():
    plane = Plane(TINY_CONFIG)
    body = pose_at(0.5, 0.5, 90)  # its x looks down
    seen = plane.seen_from(body, torch.tensor([0.5, 0.8]))
    torch.testing.assert_close(seen, torch.tensor([0.3, 0.0]), rtol=0, atol=1e-6)
    back = body[:2] + plane.turned_from(body, seen)
    torch.testing.assert_close(back, torch.tensor([0.5, 0.8]), rtol=0, atol=1e-6)
    turned = plane.moved(body, torch.tensor([0.3, 0.0]), torch.tensor(math.pi / 2))
    torch.testing.assert_close(turned, pose_at(0.5, 0.8, 180), rtol=0, atol=1e-6)


def test_turning_is_turning_in_a_wide_picture_too():
    """Scaled numbers of a picture twice as wide as high are not the same length on both axes."""
    place = ObservationConfig(low=(0.0, 0.0), high=(200.0, 100.0))
    body = ObservationConfig(low=(0.0, 0.0, -1.0, -1.0), high=(200.0, 100.0, 1.0, 1.0))
    config = dataclasses.replace(
        TINY_CONFIG,
        action_high=(200.0, 100.0),
        observations={"agent_pos": place},
        states=dataclasses.replace(TINY_CONFIG.required_states, hidden={"block_pose": body}),
    )
    # 20 units down are 0.4 of half the height, and as far as 0.2 of half the width.
    seen = Plane(config).turned_to(pose_at(0, 0, 90), torch.tensor([0.0, 0.4]))
    torch.testing.assert_close(seen, torch.tensor([0.2, 0.0]), rtol=0, atol=1e-6)


def states(**changes: Any) -> dict[str, Any]:
    return {"states": dataclasses.replace(TINY_CONFIG.required_states, **changes)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (states(planar=PlanarConfig(points=("nothing",))), "point 'nothing' is None"),
        (states(planar=PlanarConfig(poses=("agent_pos",))), "expected a state of 4 numbers"),
        ({"action_high": (512.0, 500.0)}, "different edges"),
        ({"observations": {}}, "point 'agent_pos' is None"),
        (states(hidden=TINY_CONFIG.observations), "hidden, and observed as well"),
        (
            states(hidden={"block_pose": ObservationConfig(low=(0.0,) * 4, high=(512.0,) * 4)}),
            "cosine and sine",
        ),
        ({"states": StatesConfig(), "observations": {}}, "no observations or hidden states"),
    ],
)
def test_wrong_states_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY_CONFIG, **changes)


def two_bodies(*, action: bool = True) -> Dynamics:
    hidden = dict.fromkeys(("block", "other"), TINY_CONFIG.required_states.hidden["block_pose"])
    planar = PlanarConfig(action=action, points=("agent_pos",), poses=("block", "other"))
    config = with_states(TINY_CONFIG, hidden=hidden, planar=planar)
    dynamics = with_random_outputs(Dynamics(config), std=0.1)
    assert dynamics.interactions is not None
    last = dynamics.interactions.together[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=1.0)
    last.bias[3] = 5.0  # they move
    return dynamics


def turned_and_moved(plane: Plane, state: torch.Tensor) -> torch.Tensor:
    """A place and n poses (2 + 4 n,), turned by 70 degrees about the middle, then moved."""
    turn, step = pose_at(0, 0, -70), torch.tensor([0.3, -0.2])
    place = plane.turned_to(turn, state[:2]) + step
    parts = [place]
    for pose in state[2:].split(4):
        x, y = (plane.turned_to(turn, pose[:2]) + step).tolist()
        parts.append(pose_at(x, y, math.degrees(math.atan2(pose[3], pose[2])) + 70))
    return torch.cat(parts)


def test_bodies_see_each_other():
    """Where the other one is matters to a body, and seen from the body nothing else does: messages
    are the same wherever the pair lies and however it is turned."""
    dynamics = two_bodies()
    interactions, plane = dynamics.interactions, dynamics.plane
    assert interactions is not None
    alone = torch.rand(2, 16)

    def told(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return interactions._messages(torch.stack((first, second)), torch.zeros(2, 2), alone)

    first, second = pose_at(0.1, 0.0, 30), pose_at(-0.2, 0.1, -50)
    here = told(first, second)
    assert here.shape == (2, interactions.message)
    assert not torch.allclose(here, told(first, pose_at(-0.1, 0.1, -50)), atol=1e-3)
    carried = turned_and_moved(plane, torch.cat((torch.zeros(2), first, second)))
    torch.testing.assert_close(told(*carried[2:].split(4)), here, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("places", [True, False])
def test_a_push_of_several_bodies_holds_in_another_place(places):
    """With the absolute numbers cut off, a scene of two bodies that is turned and moved has an
    outcome that is turned and moved alike, whether or not the action is a place."""
    dynamics = two_bodies(action=places)
    interactions, plane = dynamics.interactions, dynamics.plane
    assert interactions is not None
    first = interactions.alone[0]
    assert isinstance(first, nn.Linear)
    walls = num_features(4, dynamics.frequencies)
    first.weight[:, :walls] = 0
    rest = TINY_CONFIG.control_dim - 2 * 4
    first.weight[:, -rest:] = 0
    for body in (pose_at(0.1, -0.2, 30), pose_at(-0.3, 0.4, 135)):
        state = torch.cat((torch.tensor([0.2, 0.1]), body, pose_at(0.2, 0.3, 5)))
        earlier = torch.cat((torch.tensor([0.15, 0.05]), state[2:]))
        there, before = turned_and_moved(plane, state), turned_and_moved(plane, earlier)
        # An action that is a place is that of the robot itself here.
        action = (x[:2] if places else torch.zeros(2) for x in (state, earlier, there, before))
        now, last, far, far_last = action
        moved = dynamics(join_controls(now, last, state, earlier))
        far_moved = dynamics(join_controls(far, far_last, there, before))
        assert (moved - state)[2:].abs().max() > 1e-3
        expected = turned_and_moved(plane, moved)
        torch.testing.assert_close(far_moved[2:], expected[2:], rtol=1e-3, atol=1e-4)


def test_a_body_sees_where_the_robot_will_be():
    """An action that is a move of the robot tells a body where its law takes the robot; nothing
    else that the body sees tells two actions apart here."""
    dynamics = two_bodies(action=False)
    assert dynamics.interactions is not None
    first = dynamics.interactions.alone[0]
    assert isinstance(first, nn.Linear)
    rest = TINY_CONFIG.control_dim - 2 * 4
    first.weight[:, -rest:] = 0
    state = torch.cat((torch.zeros(2), pose_at(0.1, 0, 0), pose_at(0.2, 0, 0)))

    def following(action: torch.Tensor) -> torch.Tensor:
        return dynamics(join_controls(action, torch.zeros(2), state, state))[2:]

    right, down = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    torch.testing.assert_close(following(right), following(down))  # no law yet
    dynamics.weight[:2, :2] = 0.1 * torch.eye(2)
    assert (following(right) - following(down)).abs().max() > 1e-3


def test_a_push_is_passed_on():
    """What a body does depends on the other one; a single one in whose plane the action lies has no
    such network."""
    dynamics = two_bodies()
    action, place = torch.zeros(1, 2), torch.zeros(1, 2)
    first, near, far = pose_at(0.1, 0, 0), pose_at(0.2, 0, 0), pose_at(0.9, 0.9, 0)
    following = []
    for other in (near, far):
        state = torch.cat((place[0], first, other))[None]
        following.append(dynamics(join_controls(action, action, state, state))[0, 2:6])
    assert not torch.equal(*following)
    assert Dynamics(TINY_CONFIG).interactions is None
