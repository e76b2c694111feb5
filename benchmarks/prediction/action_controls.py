"""Does the world follow its actions? Predictions under other actions, and what those really do.

The context stays, the actions after it are altered: shifted by k steps, or taken from another
episode. The ground truth is replayed from the episode's seed to the same point and given the
altered actions. The prediction must then be nearer to that replay than to the original frames, of
which a world that ignores its actions, or takes them a step off, falls short.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.metrics.frames import PSNR_CAP, bootstrap_interval, psnr
from benchmarks.prediction.outcome_scores import rate
from benchmarks.prediction.predict import Prediction, predict
from benchmarks.prediction.windows import Window
from benchmarks.report import interval, number, table
from irasim_env.ground_truth import GroundTruth
from world_model import Start, WorldModel
from world_model.progress import progress_bar


def altered_actions(
    windows: Sequence[Window], shifts: Sequence[int]
) -> dict[str, list[np.ndarray]]:
    """Other actions for each window, float32 (L, A) each, by name of the alteration.

    "shift k": the action of k steps later, the last one held. "shuffle": those of the next window,
    held or cut to length, the last window's from the first.
    """
    originals = [window.future_actions for window in windows]
    altered = {}
    for shift in shifts:
        altered[f"shift {shift}"] = [
            actions[np.minimum(np.arange(len(actions)) + shift, len(actions) - 1)]
            for actions in originals
        ]
    others = originals[1:] + originals[:1]
    altered["shuffle"] = [
        other[np.minimum(np.arange(len(actions)), len(other) - 1)]
        for actions, other in zip(originals, others, strict=True)
    ]
    return altered


def replay_ground_truth(
    world: WorldModel, windows: Sequence[Window], actions: Sequence[np.ndarray], title: str
) -> list[np.ndarray]:
    """What the ground truth shows under the given actions after each context, uint8 (L, H, W, 3).

    Raises:
        ValueError: The replay does not come to the recorded context, or the world names no ground
            truth.
        gymnasium.error.DependencyNotInstalled: The simulator's package is missing; the message
            names what to install.
    """
    truth = GroundTruth(world.config)
    replays = []
    try:
        for window, steps in zip(
            progress_bar(windows, desc=title, unit="episodes"), actions, strict=True
        ):
            truth.reset_to(
                Start(
                    frames=window.context,
                    actions=window.context_actions,
                    seed=window.seed or 0,
                    replay=window.replay,
                )
            )
            if not np.array_equal(truth.frame, window.context[-1]):
                raise ValueError(
                    f"episode {window.episode_id}: the ground truth replayed from "
                    f"seed {window.seed} does not come to the recorded frame, so it cannot be "
                    "branched there: install the versions in the data's collect.json, or measure "
                    "without action controls (--controls 0)"
                )
            frames = []
            for action in steps:
                truth.step(action)
                frames.append(truth.frame)
            replays.append(np.stack(frames))
    finally:
        truth.close()
    return replays


def score_controls(
    world: WorldModel,
    windows: Sequence[Window],
    predictions: Sequence[Prediction],
    *,
    shifts: Sequence[int],
    seeds: Sequence[int],
    batch: int,
    replay: bool,
) -> dict[str, dict[str, Any]]:
    """Compare predictions under altered actions with the original and with the replayed truth.

    Args:
        world: The world to step.
        windows: W windows, at least two, so that there are others' actions.
        predictions: Those under the recorded actions, with the same seeds.
        shifts: By how many steps to shift.
        seeds: Of each window's noise; the first also draws the intervals.
        batch: Windows predicted at a time.
        replay: Whether there is a ground truth to replay.

    Returns:
        By alteration: "to_original" (PSNR of the altered prediction, dB), "recorded_actions" (PSNR
        of the prediction under the recorded ones) and "worse_by"; with a replay "to_replay",
        "nearer_by" and "nearer": the windows in which the altered prediction is nearer to the
        replay. A replay in which little happens is nearer to any timid prediction, so "contrast"
        is by how much more the altered prediction favours the replay than the one under the
        recorded actions does: 0 for a world that ignores its actions. Only frames in which the
        replay differs from the original count there.
    """
    originals = [window.future for window in windows]
    results = {}
    for name, actions in altered_actions(windows, shifts).items():
        altered = predict(
            world, windows, actions, seeds=seeds, batch=batch, title=f"controls, {name}"
        )
        to_original = [_psnr(a.frames, o) for a, o in zip(altered, originals, strict=True)]
        recorded = [_psnr(p.frames, o) for p, o in zip(predictions, originals, strict=True)]
        worse = _means(recorded) - _means(to_original)
        results[name] = {
            "windows": len(windows),
            "to_original": float(_means(to_original).mean()),
            "recorded_actions": float(_means(recorded).mean()),
            "worse_by": float(worse.mean()),
            "worse_by_interval": bootstrap_interval(worse, seeds[0]),
        }
        if replay:
            replays = replay_ground_truth(world, windows, actions, f"ground truth, {name}")
            results[name] |= _nearer(altered, originals, replays, predictions, seeds[0])
    return results


def _nearer(
    altered: Sequence[Prediction],
    originals: Sequence[np.ndarray],
    replays: Sequence[np.ndarray],
    recorded: Sequence[Prediction],
    seed: int,
) -> dict[str, Any]:
    """Whether predictions are nearer to the replays, where those differ from the originals."""
    to_replay, to_original, ignoring = [], [], []
    for prediction, original, replay, unaltered in zip(
        altered, originals, replays, recorded, strict=True
    ):
        differs = np.any(original != replay, axis=(1, 2, 3))
        if differs.any():
            original, replay = original[differs], replay[differs]
            to_replay.append(_psnr(prediction.frames[differs], replay))
            to_original.append(_psnr(prediction.frames[differs], original))
            frames = unaltered.frames[differs]
            ignoring.append(_psnr(frames, replay) - _psnr(frames, original))
    nearer_by = _means(to_replay) - _means(to_original)
    contrast = nearer_by - _means(ignoring)
    count, nearer = len(nearer_by), int(np.sum(nearer_by > 0))
    return {
        "compared": count,
        "to_replay": _mean(_means(to_replay)),
        "to_original_compared": _mean(_means(to_original)),
        "nearer_by": _mean(nearer_by),
        "nearer_by_interval": bootstrap_interval(nearer_by, seed),
        "contrast": _mean(contrast),
        "contrast_interval": bootstrap_interval(contrast, seed),
        "nearer": rate(nearer, count),
    }


def controls_table(controls: dict[str, dict[str, Any]]) -> str:
    """The controls as printed."""
    header = ("actions", "to replay dB", "to original dB", "nearer by dB", "95 % interval")
    header += ("nearer", "95 % interval", "contrast dB", "95 % interval", "worse than recorded by")
    rows = []
    for name, at in controls.items():
        row = [name]
        if "nearer" in at:
            nearer = at["nearer"]
            row += [number(at["to_replay"]), number(at["to_original_compared"])]
            row += [number(at["nearer_by"]), interval(at["nearer_by_interval"])]
            row += [f"{nearer['count']}/{nearer['of']}", interval(nearer["interval"])]
            row += [number(at["contrast"]), interval(at["contrast_interval"])]
        else:
            row += ["-", number(at["to_original"]), *["-"] * 6]
        rows.append([*row, number(at["worse_by"])])
    return table(header, rows)


def _psnr(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    return psnr(pred, true, cap=PSNR_CAP)


def _means(values: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of each window's frames, float64 (W,)."""
    return np.array([frames.mean() for frames in values])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
