"""Recordings at a lower frame rate: which frames are kept, and what led from each to the next.

Time contract: of L rows the frames 0, s, 2 s, ... are kept. From frame i s to frame (i + 1) s lead
the commands of rows i s, ..., (i + 1) s - 1. Absolute commands (a joint's target, a place) say
where to be: the last of them says where to be by the next kept frame. Relative ones (a motion)
add up.

Dimension key: L rows, s step, N = (L - 1) // s transitions, A action components.
"""

from typing import Literal

import numpy as np

Commands = Literal["absolute", "relative"]
# Cameras that are said to take 30 frames a second take 29.97.
RATE_TOLERANCE = 0.01


def step_for(recorded: float, wanted: float | None) -> int:
    """Every how many frames one is kept, to have about `wanted` frames a second.

    Raises:
        ValueError: No whole number gives that rate; names those that can be had.
    """
    if wanted is None:
        return 1
    step = round(recorded / wanted)
    if step < 1 or abs(recorded / step - wanted) > RATE_TOLERANCE * wanted:
        rates = ", ".join(f"{recorded / one:g}" for one in range(1, 7))
        raise ValueError(
            f"fps is {wanted:g}, recorded are {recorded:g} frames a second, of which every first, "
            f"second, third, ... can be kept: expected one of {rates}, ..."
        )
    return step


def count_transitions(length: int, step: int) -> int:
    """N, for an episode of `length` rows."""
    return max(0, (length - 1) // step)


def merge_actions(
    actions: np.ndarray, step: int, commands: Commands, held: tuple[int, ...] = ()
) -> np.ndarray:
    """Actions of all rows (L, A) to those between kept frames (N, A).

    Args:
        actions: A row's action is taken at its frame; the last row's leads to none.
        step: Every how many frames one is kept.
        commands: Of all components.
        held: Components that are absolute all the same, such as a gripper's.
    """
    count = count_transitions(len(actions), step)
    parts = actions[: count * step].reshape(count, step, -1)  # (N, s, A)
    last = parts[:, -1]
    if commands == "absolute":
        return last
    merged = parts.sum(1, dtype=np.float64).astype(actions.dtype)
    merged[:, list(held)] = last[:, list(held)]
    return merged


def merge_outcomes(
    rewards: np.ndarray, done: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and ends of all rows (L,) to those of the transitions between kept frames (N,).

    A transition has the sum of its rows' rewards, and ends where one of them does. What an
    episode's last rows did led to frames that are not there, most often to the very last, which is
    where recorders write success: neither may be lost, so the last transition ends where one of
    these rows does, and where one of them has a reward, it has that of the last `step` rows.
    """
    count = count_transitions(len(rewards), step)
    rows = count * step
    merged = rewards[:rows].reshape(count, step).sum(1)
    ended: np.ndarray = np.any(done[:rows].reshape(count, step), axis=1)
    ended[-1] |= done[rows:].any()
    if rewards[rows:].any():
        merged[-1] = rewards[-step:].sum()
    return merged, ended
