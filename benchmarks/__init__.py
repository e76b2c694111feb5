"""Measuring worlds: metrics (pure functions) and the benchmarks behind `irasim bench`."""

from benchmarks.metrics.frames import frechet_distance, psnr, ssim

__all__ = ["frechet_distance", "psnr", "ssim"]
