"""Predicts windows of episodes in a world, many at a time.

B batch, L predicted frames, A action.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.prediction.windows import Window
from world_model import WorldModel
from world_model.given_states import known_states
from world_model.progress import progress_bar


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a world made of one window."""

    frames: np.ndarray
    """uint8 (L, H, W, 3)"""
    rewards: np.ndarray
    """float32 (L,)"""
    terminated: np.ndarray
    """bool (L,): each step's own flag; the world is stepped on past a predicted end."""
    states: dict[str, np.ndarray]
    """float32 (L, n) each"""

    @property
    def end(self) -> int | None:
        """The first step (from 1) said to be the end, None where none is."""
        return int(np.argmax(self.terminated)) + 1 if self.terminated.any() else None


def predict(
    world: WorldModel,
    windows: Sequence[Window],
    actions: Sequence[np.ndarray],
    *,
    seeds: Sequence[int],
    batch: int,
    title: str,
) -> list[Prediction]:
    """Predict what follows each window's context under the given actions, a step at a time, or as
    many as the world predicts at once: a chunk model's chunk costs no more than its first frame.

    Args:
        world: The world to step.
        windows: W windows; only their contexts are used, with what was observed there.
        actions: For each, float32 (L, A): the steps to take, of any number.
        seeds: Of each window's noise, which does not depend on the batch.
        batch: Windows predicted at a time.
        title: What the progress bar says.

    Returns:
        W predictions of L frames.
    """
    assert len(windows) == len(actions) == len(seeds), "one action sequence and seed a window"
    # Windows of like length go together, so that few steps are wasted on those that are done.
    order = sorted(range(len(windows)), key=lambda index: len(actions[index]))
    predictions: dict[int, Prediction] = {}
    with progress_bar(total=sum(map(len, actions)), desc=title, unit="frames") as progress:
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            results = _predict_batch(
                world,
                [windows[i] for i in rows],
                [actions[i] for i in rows],
                [seeds[i] for i in rows],
            )
            predictions.update(zip(rows, results, strict=True))
            progress.update(sum(len(actions[i]) for i in rows))
    return [predictions[index] for index in range(len(windows))]


def _predict_batch(
    world: WorldModel,
    windows: Sequence[Window],
    actions: Sequence[np.ndarray],
    seeds: Sequence[int],
) -> list[Prediction]:
    longest = max(map(len, actions))
    padded = np.stack([np.pad(a, ((0, longest - len(a)), (0, 0)), mode="edge") for a in actions])
    # As in an environment, what was recorded of the robot's state is handed in.
    known = known_states(world.config, windows[0].context_states)
    state = world.start(
        np.stack([window.context for window in windows]),
        np.stack([window.context_actions for window in windows]),
        list(seeds),
        {name: np.stack([window.context_states[name] for window in windows]) for name in known},
    )
    at_once = world.config.actions_at_once
    outputs = []
    for first in range(0, longest, at_once):
        out = world.step_chunk_(state, padded[:, first : first + at_once])
        named = {name: values.cpu().numpy() for name, values in out.states.items()}
        made = (values.cpu().numpy() for values in (out.frames, out.reward, out.terminated))
        outputs.append((*made, named))
    frames, rewards, ends = (np.concatenate([out[k] for out in outputs], axis=1) for k in range(3))
    states = {n: np.concatenate([out[3][n] for out in outputs], axis=1) for n in outputs[0][3]}
    return [
        Prediction(
            frames=frames[row, : len(steps)],
            rewards=rewards[row, : len(steps)],
            terminated=ends[row, : len(steps)],
            states={name: values[row, : len(steps)] for name, values in states.items()},
        )
        for row, steps in enumerate(actions)
    ]
