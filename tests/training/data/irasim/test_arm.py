"""Arm actions: the reference's figures, and the geometry they stand for."""

import numpy as np
import pytest

from tests.golden import arm_figures
from training.data.irasim.arm import arm_actions, scale_arm_actions


@pytest.fixture
def golden():
    return arm_figures()


@pytest.mark.parametrize(
    ("accumulate", "name"), [(False, "relative_actions"), (True, "accumulated_actions")]
)
def test_actions_are_the_references(golden, accumulate, name):
    actions = arm_actions(golden["state"], golden["continuous_gripper_state"], accumulate)
    np.testing.assert_allclose(actions, golden[name], rtol=0, atol=1e-9)


def test_scaling_is_the_references(golden):
    actions = arm_actions(golden["state"], golden["continuous_gripper_state"])
    np.testing.assert_allclose(
        scale_arm_actions(actions), golden["scaled_relative_actions"], rtol=0, atol=1e-9
    )


def test_motion_is_in_the_frame_of_the_earlier_state():
    # Turned left by 90 degrees, the base's y axis is the hand's x axis.
    states = [[0, 0, 0, 0, 0, np.pi / 2], [0, 0.3, 0, 0, 0, np.pi / 2 + 0.1]]
    action = arm_actions(states, [0, 1])
    np.testing.assert_allclose(action, [[0.3, 0, 0, 0, 0, 0.1, 1]], atol=1e-12)


def test_accumulated_actions_start_at_the_first_state():
    states = np.zeros((4, 6))
    states[:, 0] = [0, 1, 3, 6]
    gripper = np.zeros(4)
    assert arm_actions(states, gripper)[:, 0].tolist() == [1, 2, 3]
    assert arm_actions(states, gripper, accumulate=True)[:, 0].tolist() == [1, 3, 6]


def test_composed_actions_lead_from_state_to_state():
    rng = np.random.default_rng(0)
    states = np.concatenate([rng.normal(size=(6, 3)), rng.uniform(-1.2, 1.2, (6, 3))], axis=1)
    actions = arm_actions(states, np.zeros(6))

    def transform(pose):
        roll, pitch, yaw = pose[3:6]
        axes = {0: roll, 1: pitch, 2: yaw}
        rotation = np.eye(3)
        for axis in (2, 1, 0):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn = np.eye(3)
            turn[i, i] = turn[j, j] = np.cos(axes[axis])
            turn[j, i] = np.sin(axes[axis])
            turn[i, j] = -turn[j, i]
            rotation = rotation @ turn
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation, pose[:3]
        return matrix

    for before, action, after in zip(states[:-1], actions, states[1:], strict=True):
        np.testing.assert_allclose(transform(before) @ transform(action), transform(after))


def test_gimbal_lock_gives_the_same_rotation_with_no_yaw():
    states = np.zeros((2, 6))
    states[1, 3:] = [0.2, np.pi / 2, 0.5]
    action = arm_actions(states, [0, 0])[0]
    np.testing.assert_allclose(action[3:6], [0.2 - 0.5, np.pi / 2, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("states", "gripper", "message"),
    [
        (np.zeros((3, 5)), np.zeros(3), "6 or more"),
        (np.zeros((1, 6)), np.zeros(1), "at least 2"),
        (np.zeros((3, 6)), np.zeros(2), "one number a state"),
    ],
)
def test_wrong_shapes_are_refused(states, gripper, message):
    with pytest.raises(ValueError, match=message):
        arm_actions(states, gripper)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(wrong):
    states, gripper = np.zeros((3, 6)), np.zeros(3)
    states[1, 4] = wrong
    with pytest.raises(ValueError, match="states have NaN or infinite.*step 1"):
        arm_actions(states, gripper)
    gripper[2] = wrong
    with pytest.raises(ValueError, match="gripper.*NaN or infinite.*step 2"):
        arm_actions(np.zeros((3, 6)), gripper)


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="states are no array of numbers"):
        arm_actions([["a"] * 6] * 2, [0, 0])
    with pytest.raises(ValueError, match="states are no array of numbers"):
        arm_actions([[0] * 6, [0] * 5], [0, 0])
