"""What predicted Push-T frames show against what the true ones show: the disc and the T."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.metrics.frames import bootstrap_interval
from benchmarks.prediction.readings import Readings, mean, median
from benchmarks.report import interval, number, table
from policies.pusht.reading import disc_error, pose_error, read_disc, read_t, t_iou


class PushTReadings(Readings):
    """Errors of the disc and of the T in pixels and degrees, and the overlap of the T's pixels.

    An overlap counts as it is where a prediction shows no T: 0.
    """

    about = (
        "Disc and T are read from the frames: median errors in pixels and degrees where they can "
        "be read, mean overlap (IoU) of the T's pixels; unread: how many could not be."
    )

    def errors(self, pred: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
        """Errors (E,) of predicted frames (E, H, W, 3); NaN where either is unreadable."""
        mine, theirs = self.measure(pred), self.measure(true)
        pixels, degrees = pose_error(mine["T"], theirs["T"])
        return {
            "disc px": disc_error(mine["disc"], theirs["disc"]),
            "T px": pixels,
            "T degrees": degrees,
        }

    def compare(
        self, pred: np.ndarray, true: np.ndarray, still: np.ndarray, seed: int
    ) -> dict[str, Any]:
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
                "median_px": median(disc),
                "median_px_interval": bootstrap_interval(disc, seed, statistic=np.median),
                "mean_px": mean(disc),
                "median_px_still": median(disc_error(read_disc(still), true_disc)[disc_known]),
            },
            "t": {
                "truth_unreadable": int(np.sum(~pose_known)),
                "unreadable": int(np.isnan(pixels).sum()),
                "iou": mean(overlap),
                "iou_interval": bootstrap_interval(overlap, seed),
                "iou_still": mean(t_iou(still[pose_known], true[pose_known])),
                "median_px": median(pixels),
                "median_degrees": median(degrees),
                "mean_px": mean(pixels),
                "mean_degrees": mean(degrees),
                "mean_px_still": mean(still_pixels),
                "mean_degrees_still": mean(still_degrees),
            },
        }

    def table(self, summary: Mapping[Any, dict[str, Any]]) -> str:
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

    def limits(self, summary: Mapping[Any, dict[str, Any]]) -> list[str]:
        """What a card says of frames that cannot be read."""
        return [
            f"At step {step}, of {at['frames']} frames the disc cannot be read in "
            f"{at['disc']['unreadable']} and the T in {at['t']['unreadable']}."
            for step, at in summary.items()
            if at["disc"]["unreadable"] or at["t"]["unreadable"]
        ]
