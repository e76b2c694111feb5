"""How keys, pointer and scripts of keys become actions."""

import dataclasses

import numpy as np
import pygame
import pytest

from irasim_env.controls import KeyControls
from irasim_env.key_script import parse_keys
from irasim_env.player import COMMANDS
from world_model import Start

POSITION = KeyControls(low=(0.0, 0.0), high=(512.0, 512.0))
VELOCITY = KeyControls(low=(-0.2, -0.4), high=(0.2, 0.4))
ARM = KeyControls(low=(-1.0,) * 6 + (0.0,), high=(1.0,) * 7)


def test_position_moves_while_held_and_stays_when_released():
    first = np.array([100, 200], np.float32)
    action = POSITION.next_action(first, {"right", "up"})
    assert action.dtype == np.float32
    assert action == pytest.approx([100 + 0.04 * 512, 200 - 0.04 * 512])
    assert POSITION.next_action(action, ()) == pytest.approx(action)
    assert POSITION.next_action(first, {"left", "right"}) == pytest.approx(first)
    assert POSITION.next_action(first, {"d", "right"}) == pytest.approx([100 + 0.04 * 512, 200])


def test_position_stays_in_bounds():
    action = np.array([500, 4], np.float32)
    assert POSITION.next_action(action, {"right", "up"}).tolist() == [512, 0]


def test_velocity_holds_while_held_and_is_zero_when_released():
    action = VELOCITY.next_action(np.zeros(2), {"right", "down"})
    assert action == pytest.approx([0.1, 0.2])
    assert VELOCITY.next_action(action, {"right", "down"}) == pytest.approx([0.1, 0.2])
    assert VELOCITY.next_action(action, ()).tolist() == [0, 0]


def test_directions_say_where_components_grow():
    """Language-Table in the reference's application: w = (-, 0), d = (0, +)."""
    controls = dataclasses.replace(VELOCITY, directions=("down", "right"))
    assert controls.held_direction({"w"}).tolist() == [-1, 0]
    assert controls.held_direction({"d"}).tolist() == [0, 1]
    assert controls.next_action(np.zeros(2), (), pointer=(1, 0)) == pytest.approx([-0.2, 0.4])


def test_further_components_have_their_keys():
    action = ARM.next_action(ARM.first_action(), {"up", "u", "l", "t"})
    assert action == pytest.approx([0, -0.5, 0.5, 0, -0.5, 0, 0.54])
    assert ARM.next_action(action, {"f"})[6] == pytest.approx(0.5)
    assert ARM.next_action(action, ()) == pytest.approx([0] * 6 + [0.54])


def test_single_component_has_the_keys_of_its_direction():
    controls = KeyControls(low=(-1.0,), high=(1.0,), directions=("up", "right"))
    assert controls.keys == ("up", "w", "down", "s")
    assert controls.next_action(np.zeros(1), {"w"}, None).tolist() == [0.5]
    assert controls.next_action(np.zeros(1), (), (0.3, 0.25)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("controls", "expected"), [(POSITION, (128, 512)), (VELOCITY, (-0.1, 0.4))]
)
def test_pointer_sets_the_action_whatever_the_keys(controls, expected):
    action = controls.next_action(controls.first_action(), {"right"}, pointer=(0.25, 1.2))
    assert action == pytest.approx(expected)


@pytest.mark.parametrize("directions", [("right", "down"), ("left", "up"), ("up", "right")])
def test_target_is_where_the_pointer_was(directions):
    controls = dataclasses.replace(POSITION, directions=directions)
    action = controls.next_action(np.zeros(2), (), pointer=(0.25, 0.7))
    assert controls.target(action) == pytest.approx((0.25, 0.7))
    assert VELOCITY.target(np.zeros(2)) is None


def test_first_action_is_the_agents_position_else_the_last_action_else_the_middle():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    actions = np.array([[7, 8]], np.float32)
    states = {"agent_pos": np.array([[1, 2], [3, 4]], np.float32)}
    knows = Start(frames=frames, actions=actions, states=states)
    assert POSITION.first_action(knows).tolist() == [3, 4]
    assert POSITION.first_action(Start(frames=frames, actions=actions)).tolist() == [7, 8]
    assert POSITION.first_action().tolist() == [256, 256]
    assert VELOCITY.first_action(knows).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"directions": ("right", "left")}, "directions are right and left"),
        ({"speed": 0.0}, "speed is 0.0"),
    ],
)
def test_controls_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(POSITION, **settings)


def test_no_key_both_drives_and_commands():
    eight = KeyControls(low=(-1.0,) * 9, high=(1.0,) * 9)
    assert len(eight.keys) == 2 * 4 + 2 * 6
    assert not set(eight.keys) & set(COMMANDS)
    pygame.display.init()  # which knows the names of keys
    assert all(pygame.key.key_code(key) for key in (*eight.keys, *COMMANDS))


def test_script_holds_and_presses():
    presses = parse_keys("right*2 Right+down g*2 wait right+n", POSITION.keys, tuple(COMMANDS))
    assert [(sorted(p.held), p.commands) for p in presses] == [
        (["right"], ()),
        (["right"], ()),
        (["down", "right"], ()),
        ([], ("g",)),
        ([], ("g",)),
        ([], ()),
        (["right"], ("n",)),
    ]


def test_unknown_key_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'rihgt\*3'.*'rihgt'.*right d left.*wait.*space"):
        parse_keys("down rihgt*3", POSITION.keys, tuple(COMMANDS))
    with pytest.raises(ValueError, match=r"'u'"):  # of worlds with more components
        parse_keys("u", POSITION.keys, tuple(COMMANDS))
    with pytest.raises(ValueError, match=r"'down\*0'.*count 0"):
        parse_keys("down*0", POSITION.keys, tuple(COMMANDS))
