"""Metrics: pure functions that import nothing else of ours. Those of frames are named here."""

from benchmarks.metrics.frames import (
    PSNR_CAP,
    SSIM_WINDOW,
    bootstrap_interval,
    frechet_distance,
    gradient_energy,
    gradient_shown,
    psnr,
    ssim,
    wilson_interval,
)

__all__ = [
    "PSNR_CAP",
    "SSIM_WINDOW",
    "bootstrap_interval",
    "frechet_distance",
    "gradient_energy",
    "gradient_shown",
    "psnr",
    "ssim",
    "wilson_interval",
]
