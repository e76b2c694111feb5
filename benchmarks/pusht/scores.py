"""What predicted Push-T frames show against what the true ones show: the disc and the T."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.metrics.frames import bootstrap_interval
from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.windows import Window
from benchmarks.report import interval, number, table
from policies.pusht.reading import disc_error, pose_error, read_disc, read_t, t_iou


def score_readings(
    windows: Sequence[Window],
    predictions: Sequence[Prediction],
    horizons: Sequence[int],
    seed: int,
) -> dict[int, dict[str, Any]]:
    """Read the h-th predicted frames, the true ones, and those of "nothing moves".

    Frames whose truth is unreadable (a T that was pushed out of the picture) are left out and
    counted. A prediction that is unreadable has no error in pixels; it is counted, and an overlap
    of the T counts as it is, 0 where there is none.
    """
    summary = {}
    for horizon in horizons:
        chosen = [
            (prediction.frames[horizon - 1], window.future[horizon - 1], window.context[-1])
            for window, prediction in zip(windows, predictions, strict=True)
            if window.num_predicted >= horizon
        ]
        if chosen:
            pred, true, still = (np.stack(frames) for frames in zip(*chosen, strict=True))
            summary[horizon] = _compare(pred, true, still, seed)
    return summary


def _compare(pred: np.ndarray, true: np.ndarray, still: np.ndarray, seed: int) -> dict[str, Any]:
    """Readings of frames (E, H, W, 3)."""
    true_disc, true_pose = read_disc(true), read_t(true)
    disc_known, pose_known = ~np.isnan(true_disc[:, 0]), ~np.isnan(true_pose[:, 0])
    disc = disc_error(read_disc(pred), true_disc)[disc_known]
    pose, still_pose = read_t(pred)[pose_known], read_t(still)[pose_known]
    pixels, degrees = pose_error(pose, true_pose[pose_known])
    still_pixels, still_degrees = pose_error(still_pose, true_pose[pose_known])
    overlap = t_iou(pred[pose_known], true[pose_known])
    return {
        "frames": len(pred),
        "disc": {
            "truth_unreadable": int(np.sum(~disc_known)),
            "unreadable": int(np.isnan(disc).sum()),
            "median_px": _median(disc),
            "median_px_interval": bootstrap_interval(disc, seed, statistic=np.median),
            "mean_px": _mean(disc),
            "median_px_still": _median(disc_error(read_disc(still), true_disc)[disc_known]),
        },
        "t": {
            "truth_unreadable": int(np.sum(~pose_known)),
            "unreadable": int(np.isnan(pixels).sum()),
            "iou": _mean(overlap),
            "iou_interval": bootstrap_interval(overlap, seed),
            "iou_still": _mean(t_iou(still[pose_known], true[pose_known])),
            "median_px": _median(pixels),
            "median_degrees": _median(degrees),
            "mean_px": _mean(pixels),
            "mean_degrees": _mean(degrees),
            "mean_px_still": _mean(still_pixels),
            "mean_degrees_still": _mean(still_degrees),
        },
    }


def readings_table(summary: dict[int, dict[str, Any]]) -> str:
    """The summary as printed."""
    header = ("step", "frames", "disc px", "nothing moves", "disc unread", "T IoU")
    header += ("95 % interval", "nothing moves", "T px", "T degrees", "T unread")
    rows = []
    for horizon, at in summary.items():
        disc, t = at["disc"], at["t"]
        rows.append(
            (
                str(horizon),
                str(at["frames"]),
                number(disc["median_px"]),
                number(disc["median_px_still"]),
                str(disc["unreadable"]),
                number(t["iou"], 3),
                interval(t["iou_interval"], 3),
                number(t["iou_still"], 3),
                number(t["median_px"]),
                number(t["median_degrees"]),
                str(t["unreadable"]),
            )
        )
    return table(header, rows)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if (~np.isnan(values)).any() else float("nan")
