"""Actions of a robot arm from its recorded states, as IRASim makes them for RT-1 and Bridge.

Rotations are roll, pitch, yaw in radians: R = Rz(yaw) Ry(pitch) Rx(roll). The motion from one
state to a later one is expressed in the earlier one's frame.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
# The published models see translations and rotations times 20, the gripper as it is.
ARM_ACTION_SCALE = (20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 1.0)
# Below this cosine of the pitch, roll and yaw turn about the same axis.
GIMBAL_LOCK = 1e-6


def arm_actions(states: ArrayLike, gripper: ArrayLike, accumulate: bool = False) -> Array:
    """Computes the actions between recorded states.

    Args:
        states: (T, 6 or more) x y z in metres and roll pitch yaw in radians, in the robot's base
            frame; further columns are not used.
        gripper: (T,) gripper states; the one an action leads to is part of it.
        accumulate: Measure every motion from the first state (of a window, as the reference does),
            not from the one before.

    Returns:
        (T - 1, 7) float64: x y z, roll pitch yaw in (-pi, pi], gripper. actions[t] leads from
        states[t] to states[t + 1].

    Raises:
        ValueError: The shapes do not fit, or something is no finite number.
    """
    states, gripper = _numbers("states", states), _numbers("gripper", gripper)
    if states.ndim != 2 or states.shape[1] < 6 or len(states) < 2:
        raise ValueError(f"states have shape {states.shape}, expected (T, 6 or more), T at least 2")
    if gripper.shape != (len(states),):
        raise ValueError(
            f"gripper has shape {gripper.shape}, expected one number a state, ({len(states)},)"
        )
    rotations = _rotations(states[:, 3:6])
    earlier = slice(0, 1) if accumulate else slice(0, -1)
    to_earlier = rotations[earlier].transpose(0, 2, 1)
    moved = states[1:, :3] - states[earlier, :3]
    translation = (to_earlier @ moved[:, :, None])[:, :, 0]
    angles = _angles(to_earlier @ rotations[1:])
    return np.concatenate([translation, angles, gripper[1:, None]], axis=1)


def scale_arm_actions(actions: ArrayLike) -> Array:
    """Scales arm actions (..., 7) as the published models see them."""
    return np.asarray(actions, np.float64) * ARM_ACTION_SCALE


def _numbers(what: str, values: ArrayLike) -> Array:
    """Values as float64.

    Raises:
        ValueError: One is no finite real number.
    """
    expected = "expected finite numbers; leave out the steps that were not recorded"
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"type {array.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are no array of numbers ({error}), {expected}") from error
    wrong = ~np.isfinite(array)
    if wrong.any():
        row = int(wrong.reshape(len(array), -1).any(1).argmax()) if array.ndim else 0
        raise ValueError(f"{what} have NaN or infinite numbers, first at step {row}: {expected}")
    return array.astype(np.float64)


def _rotations(angles: Array) -> Array:
    """Roll, pitch, yaw (T, 3) to matrices (T, 3, 3)."""
    (sin_r, sin_p, sin_y), (cos_r, cos_p, cos_y) = np.sin(angles).T, np.cos(angles).T
    rows = [
        [
            cos_y * cos_p,
            cos_y * sin_p * sin_r - sin_y * cos_r,
            cos_y * sin_p * cos_r + sin_y * sin_r,
        ],
        [
            sin_y * cos_p,
            sin_y * sin_p * sin_r + cos_y * cos_r,
            sin_y * sin_p * cos_r - cos_y * sin_r,
        ],
        [-sin_p, cos_p * sin_r, cos_p * cos_r],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _angles(rotations: Array) -> Array:
    """Matrices (T, 3, 3) to roll, pitch, yaw (T, 3) in (-pi, pi]; yaw 0 at gimbal lock."""
    m = rotations
    cos_pitch = np.hypot(m[:, 0, 0], m[:, 1, 0])
    locked = cos_pitch < GIMBAL_LOCK
    roll = np.where(locked, np.arctan2(-m[:, 1, 2], m[:, 1, 1]), np.arctan2(m[:, 2, 1], m[:, 2, 2]))
    pitch = np.arctan2(-m[:, 2, 0], cos_pitch)
    yaw = np.where(locked, 0.0, np.arctan2(m[:, 1, 0], m[:, 0, 0]))
    angles = np.stack([roll, pitch, yaw], axis=1)
    return np.where(angles <= -np.pi, np.pi, angles)
