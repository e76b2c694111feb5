"""Fits the linear law by which a robot's states follow its actions.

Dimensions: T frames, S components of all states, A action, L lags, F features, N samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIDGES = (1e-4, 1e-2, 1.0)
"""Penalties that are tried, in units of a feature's own variance."""
HELD_OUT = 5
"""One in so many episodes is left out to choose by."""
SIMPLER = 0.8
"""The form with more numbers is taken where it leaves less than this share of the other's error:
held-out episodes of the same day flatter it."""
SURE, LOOSE = 3.0, 0.25
"""How many deviations a measured state may be from the law's to be taken for it, and the distance
in half ranges at which a law says too little of a state for that."""
DIVERGED = 10.0
"""Error in half ranges at which a free run counts no further."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A law, and how far its free runs are off on episodes that it was not fitted to."""

    weight: np.ndarray
    """(S, 2 S + L A + 1), as `LinearDynamics` reads it."""
    rest: np.ndarray
    """(S, A + 1), as well."""
    tolerance: np.ndarray
    """(S,), as well: 0 where the law has no rest, or the states are not near it."""
    explained: np.ndarray
    """(S,), as well."""
    error: float
    """Mean absolute error, in half ranges of the states."""
    paired: bool
    """Each state follows its own action alone."""


def fit_dynamics(states: Sequence[np.ndarray], actions: Sequence[np.ndarray], lags: int) -> Fitted:
    """The law whose free runs are nearest to held-out episodes: all of them count if there is one.

    Two forms are tried. In the one, each state follows the action of its own number, as joints
    follow their targets: it has few numbers, and so needs little data. In the other, each follows
    all states and actions.

    Args:
        states: Of each episode, scaled to [-1, 1], (T, S).
        actions: Of each, scaled, (T, A): `actions[t]` led to frame t, that of frame 0 means
            nothing.
        lags: L.

    Raises:
        ValueError: No episode has two frames.
    """
    usable = [i for i, values in enumerate(states) if len(values) > 1]
    if not usable:
        raise ValueError("no training episode has two frames: record longer ones")
    held = usable[::HELD_OUT] if len(usable) > 1 else usable
    kept = [i for i in usable if i not in held] or usable
    num_states, num_actions = states[0].shape[1], actions[0].shape[1]

    def tried(paired: bool) -> tuple[float, float]:
        """The least error of a form's free runs, and the penalty that it has it with."""
        return min((error_of(paired, ridge), ridge) for ridge in RIDGES)

    def error_of(paired: bool, ridge: float) -> float:
        chosen = [states[i] for i in kept], [actions[i] for i in kept]
        weight = _solve(*chosen, lags, paired, ridge)
        errors = [np.abs(run_freely(weight, states[i], actions[i], lags) - states[i]) for i in held]
        return float(np.concatenate(errors).clip(max=DIVERGED).mean())

    paired, (error, ridge) = False, tried(False)
    if num_states == num_actions:
        simple = tried(True)
        if error > SIMPLER * simple[0]:
            paired, (error, ridge) = True, simple
    chosen = [states[i] for i in usable], [actions[i] for i in usable]
    weight = _solve(*chosen, lags, paired, ridge)
    rest = _rest(weight, lags)
    runs = [run_from_rest(weight, rest, led, lags) for led in chosen[1]]
    off = np.concatenate([run - its for run, its in zip(runs, chosen[0], strict=True)])
    tolerance = SURE * np.sqrt(np.square(off).mean(axis=0))
    tolerance[tolerance > LOOSE] = 0.0
    runs = [run_freely(weight, its, led, lags) for its, led in zip(*chosen, strict=True)]
    off = np.concatenate([run - its for run, its in zip(runs, chosen[0], strict=True)])
    moved = np.concatenate([its - its.mean(axis=0) for its in chosen[0]])
    unexplained = np.square(off).mean(axis=0) / (np.square(moved).mean(axis=0) + 1e-12)
    return Fitted(weight, rest, tolerance, (1 - unexplained).clip(0, 1), error, paired)


def run_from_rest(
    weight: np.ndarray, rest: np.ndarray, actions: np.ndarray, lags: int
) -> np.ndarray:
    """States (T, S) of a robot that rested before the first action, by the actions alone."""
    first = np.clip(rest @ np.append(actions[min(1, len(actions) - 1)], 1.0), -1, 1)
    return run_freely(weight, np.broadcast_to(first, (len(actions), len(first))), actions, lags)


def _rest(weight: np.ndarray, lags: int) -> np.ndarray:
    """The states (S, A + 1) that stay under an action which stays; the nearest to it where nothing
    holds them, as positions under velocities."""
    num_states = len(weight)
    num_actions = (weight.shape[1] - 2 * num_states - 1) // lags
    led = weight[:, 2 * num_states : -1].reshape(num_states, lags, num_actions).sum(axis=1)
    known = np.concatenate([led, weight[:, -1:]], axis=1)
    return -np.linalg.pinv(weight[:, :num_states], rcond=1e-3) @ known


def run_freely(
    weight: np.ndarray, states: np.ndarray, actions: np.ndarray, lags: int
) -> np.ndarray:
    """States (T, S) predicted from the first alone, as a world does it."""
    run = np.empty_like(states)
    run[0] = states[0]
    for t in range(1, len(states)):
        known = _features(run[t - 1], run[max(t - 2, 0)], actions, t, lags)
        run[t] = (run[t - 1] + weight @ known).clip(-1, 1)
    return run


def _features(
    now: np.ndarray, before: np.ndarray, actions: np.ndarray, t: int, lags: int
) -> np.ndarray:
    """What the step to frame t is predicted from, (F,)."""
    lagged = [actions[max(t - lag, 1)] for lag in range(lags)]
    return np.concatenate([now, now - before, *lagged, [1.0]])


def _solve(
    states: Sequence[np.ndarray],
    actions: Sequence[np.ndarray],
    lags: int,
    paired: bool,
    ridge: float,
) -> np.ndarray:
    """Weights (S, F) by least squares with a penalty."""
    inputs, changes = [], []
    for its, led in zip(states, actions, strict=True):
        for t in range(1, len(its)):  # as they are run, so that the first steps are as good
            inputs.append(_features(its[t - 1], its[max(t - 2, 0)], led, t, lags))
            changes.append(its[t] - its[t - 1])
    x, y = np.stack(inputs), np.stack(changes)  # (N, F), (N, S)
    num_states, num_actions = y.shape[1], actions[0].shape[1]
    weight = np.zeros((num_states, x.shape[1]))
    groups = [(np.arange(num_states), np.arange(x.shape[1]))]
    if paired:
        groups = [
            (
                np.array([j]),
                np.array(
                    [j, num_states + j]
                    + [2 * num_states + lag * num_actions + j for lag in range(lags)]
                    + [x.shape[1] - 1]
                ),
            )
            for j in range(num_states)
        ]
    for outputs, chosen in groups:
        part = x[:, chosen]
        penalty = ridge * np.diag(part.var(axis=0) + 1e-6)
        penalty[-1, -1] = 1e-9  # the constant is free
        solved = np.linalg.solve(part.T @ part + penalty, part.T @ y[:, outputs])
        weight[np.ix_(outputs, chosen)] = solved.T
    return weight
