"""Scores of predicted frames against horizon, with "nothing moves" beside them.

E windows, horizon h from 1: the h-th predicted frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.metrics.frames import PSNR_CAP, bootstrap_interval, gradient_energy, psnr, ssim
from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.windows import Window
from benchmarks.report import interval, number, table

SHOWN = (1, 2, 4, 8, 16, 32, 63)  # horizons in the printed table


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """Scores of every predicted frame, float64 (E, horizon) each, NaN past an episode's end."""

    psnr: np.ndarray
    psnr_still: np.ndarray
    """Of the last context frame, repeated."""
    ssim: np.ndarray
    ssim_still: np.ndarray
    gradient: np.ndarray
    gradient_true: np.ndarray


def score_frames(
    windows: Sequence[Window], predictions: Sequence[Prediction], horizon: int
) -> FrameScores:
    """Score each predicted frame of each window."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in FrameScores.__dataclass_fields__}
    for window, prediction in zip(windows, predictions, strict=True):
        true, pred = window.future, prediction.frames
        still = np.broadcast_to(window.context[-1], true.shape)
        rows["psnr"].append(psnr(pred, true, cap=PSNR_CAP))
        rows["psnr_still"].append(psnr(still, true, cap=PSNR_CAP))
        rows["ssim"].append(ssim(pred, true))
        rows["ssim_still"].append(ssim(still, true))
        rows["gradient"].append(gradient_energy(pred))
        rows["gradient_true"].append(gradient_energy(true))
    return FrameScores(
        **{
            name: np.stack(
                [np.pad(v, (0, horizon - len(v)), constant_values=np.nan) for v in values]
            )
            for name, values in rows.items()
        }
    )


def summarise_frames(scores: FrameScores, seed: int) -> dict[str, Any]:
    """Means over windows, by horizon and over all of it.

    Returns:
        "horizon": lists with an entry a horizon; "at": horizons with intervals; "all": over all
        frames. "sharpness" is predicted over true gradient energy.
    """
    horizon = scores.psnr.shape[1]
    count = np.sum(~np.isnan(scores.psnr), axis=0)
    reached = int(np.sum(count > 0))
    by_horizon: dict[str, Any] = {"windows": count[:reached]}
    for name in ("psnr", "psnr_still", "ssim", "ssim_still"):
        by_horizon[name] = np.nanmean(getattr(scores, name)[:, :reached], axis=0)
    by_horizon["sharpness"] = _sharpness(scores, slice(reached), axis=0)
    gain = scores.psnr - scores.psnr_still
    at = {}
    for h in sorted({h for h in SHOWN if h < horizon} | {horizon}):
        if h <= reached:
            at[h] = {name: values[h - 1] for name, values in by_horizon.items()}
            at[h]["psnr_gain"] = np.nanmean(gain[:, h - 1])
            at[h]["psnr_gain_interval"] = bootstrap_interval(gain[:, h - 1], seed)
    everything = {
        name: np.nanmean(getattr(scores, name))
        for name in ("psnr", "psnr_still", "ssim", "ssim_still")
    }
    everything["psnr_interval"] = bootstrap_interval(np.nanmean(scores.psnr, axis=1), seed)
    everything["sharpness"] = _sharpness(scores, slice(None), axis=None)
    return {"horizon": by_horizon, "at": at, "all": everything}


def frames_table(summary: dict[str, Any]) -> str:
    """The summary as printed."""
    header = ("step", "windows", "PSNR dB", "nothing moves", "gain", "95 % interval")
    header += ("SSIM", "nothing moves", "sharpness")
    rows = []
    for h, at in summary["at"].items():
        rows.append(
            (
                str(h),
                str(at["windows"]),
                number(at["psnr"]),
                number(at["psnr_still"]),
                number(at["psnr_gain"]),
                interval(at["psnr_gain_interval"]),
                number(at["ssim"], 4),
                number(at["ssim_still"], 4),
                number(at["sharpness"]),
            )
        )
    whole = summary["all"]
    gain = whole["psnr"] - whole["psnr_still"]
    mean = ("all", "", number(whole["psnr"]), number(whole["psnr_still"]), number(gain), "")
    mean += (number(whole["ssim"], 4), number(whole["ssim_still"], 4), number(whole["sharpness"]))
    return table(header, [*rows, mean])


def _sharpness(scores: FrameScores, steps: slice, axis: int | None) -> Any:
    true = np.nansum(scores.gradient_true[:, steps], axis=axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nansum(scores.gradient[:, steps], axis=axis) / true
