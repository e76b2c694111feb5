"""Scores of predicted frames, and intervals for what was measured: pure functions, nothing of ours.

H height, W width, D features; "..." stands for any leading dimensions, usually (T,) or (B, T).
Frames are uint8 RGB (..., H, W, 3), numpy arrays or torch tensors on any device.
"""

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np

SSIM_WINDOW = 7  # side of SSIM's uniform window, in pixels
PSNR_CAP = 60.0  # dB, see `psnr`


def psnr(pred: Any, true: Any, gray: bool = False, *, cap: float = math.inf) -> np.ndarray:
    """Peak signal-to-noise ratio of each frame.

    Args:
        pred: Predicted frames, uint8 (..., H, W, 3).
        true: True frames of the same shape.
        gray: Compare OpenCV's grey (the reference's short protocol) instead of all three channels
            (its long protocol).
        cap: Largest value to return. Identical frames have no error and so an infinite PSNR, which
            no mean survives. Our reports use `PSNR_CAP`, 60 dB: rounding to whole grey levels
            alone brings a picture to 58.9 dB, so what lies above means "the same".

    Returns:
        dB, float64 (...): one value a frame.
    """
    pred, true = _frame_pair(pred, true, gray)
    leading = pred.shape[:-3]
    error = np.array([_mean_squared(a, b) for a, b in _frame_by_frame(pred, true)])
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255.0**2 / error), cap).reshape(leading)


def ssim(pred: Any, true: Any, gray: bool = False) -> np.ndarray:
    """Structural similarity of each frame (Wang et al. 2004), as scikit-image computes it.

    Uniform 7 x 7 windows that lie wholly inside the frame, sample covariance, data range 255, mean
    over windows and channels: `skimage.metrics.structural_similarity` with its defaults.

    Args:
        pred: Predicted frames, uint8 (..., H, W, 3), H and W at least 7.
        true: True frames of the same shape.
        gray: Compare OpenCV's grey (the reference's short protocol) instead of all three channels.

    Returns:
        Similarity, at most 1, float64 (...): one value a frame.
    """
    pred, true = _frame_pair(pred, true, gray)
    if min(pred.shape[-3:-1]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs frames of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got "
            f"{pred.shape[-3]} x {pred.shape[-2]}: enlarge both or use psnr"
        )
    values = [_structural_similarity(a, b) for a, b in _frame_by_frame(pred, true)]
    return np.array(values, dtype=np.float64).reshape(pred.shape[:-3])


def frechet_distance(mu1: Any, cov1: Any, mu2: Any, cov2: Any) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians, the last step of FID and FVD.

    |mu1 - mu2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)), Dowson and Landau 1982, eq. 4. With
    C = F F^T the last trace is the sum of the singular values of F1^T F2, which needs no square
    root of a matrix and stays exact when covariances are singular (fewer samples than features).

    Args:
        mu1: Mean (D,).
        cov1: Covariance (D, D), symmetric and positive semi-definite up to rounding.
        mu2: Mean (D,).
        cov2: Covariance (D, D).

    Returns:
        The distance, at least 0, in the features' unit squared (what FID and FVD report).
    """
    mean1, mean2 = _vector(mu1, "mu1"), _vector(mu2, "mu2")
    if mean1.shape != mean2.shape:
        raise ValueError(
            f"mu1 has {mean1.size} features and mu2 {mean2.size}: compare features of one network"
        )
    factor1 = _covariance_factor(cov1, mean1.size, "cov1")
    factor2 = _covariance_factor(cov2, mean2.size, "cov2")
    overlap = np.linalg.svd(factor1.T @ factor2, compute_uv=False).sum()
    traces = np.sum(factor1**2) + np.sum(factor2**2)
    return max(float(np.sum((mean1 - mean2) ** 2) + traces - 2 * overlap), 0.0)


def gradient_energy(frames: Any) -> np.ndarray:
    """Sharpness of each frame: mean squared difference of neighbouring pixels, down plus across.

    Blur lowers it, speckle raises it: compare with the true frames' by their ratio.

    Args:
        frames: uint8 (..., H, W, 3), H and W at least 2.

    Returns:
        Grey levels squared, float64 (...): one value a frame.
    """
    frames = _frames(frames, "frames")
    if min(frames.shape[-3:-1]) < 2:
        raise ValueError(
            f"frames have shape {frames.shape}: a gradient needs at least 2 x 2 pixels"
        )
    values = []
    for frame in frames.reshape(-1, *frames.shape[-3:]).astype(np.float32, copy=False):
        values.append(np.mean(np.diff(frame, axis=0) ** 2) + np.mean(np.diff(frame, axis=1) ** 2))
    return np.array(values, dtype=np.float64).reshape(frames.shape[:-3])


def gradient_shown(pred: Any, true: Any) -> np.ndarray:
    """How much of the true frame's gradient each predicted one shows: its projection onto that.

    1 for the truth. Blur lowers it as it lowers `gradient_energy`, but speckle does not raise it,
    which tells sharper edges from grain. A thing that is elsewhere is not shown.

    Args:
        pred: uint8 (..., H, W, 3).
        true: Of the same shape.

    Returns:
        float64 (...): one value a frame; NaN where the true frame has no gradient.
    """
    pred, true = _frame_pair(pred, true, gray=False)
    values = []
    for pair in _frame_by_frame(pred, true):
        both = [[np.diff(x.astype(np.float64), axis=axis) for x in pair] for axis in (0, 1)]
        energy = sum(np.sum(b * b) for _, b in both)
        values.append(sum(np.sum(a * b) for a, b in both) / energy if energy else np.nan)
    return np.array(values).reshape(pred.shape[:-3])


def wilson_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a rate of k successes in n trials (Wilson 1927); (0, 1) when n is 0."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes in {n} trials: need 0 <= k <= n")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + _confidence(confidence)) / 2)
    rate, scale = k / n, 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At k = 0 and k = n the bound is exactly 0 and 1, but for rounding.
    low = 0.0 if k == 0 else centre - half
    high = 1.0 if k == n else centre + half
    return low, high


def bootstrap_interval(
    values: Any,
    seed: int,
    confidence: float = 0.95,
    *,
    statistic: Callable[..., np.ndarray] = np.mean,
    num_resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic (Efron 1979).

    Args:
        values: Independent measurements (n,), one per episode rather than one per frame: frames of
            one episode are not independent. NaN (nothing measured) is left out.
        seed: Of the resampling.
        confidence: Share of intervals that hold the true value.
        statistic: `np.mean`, `np.median` or alike, called with `axis=1`.
        num_resamples: How many times to draw.

    Returns:
        (low, high), both NaN without values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(
            f"values have shape {values.shape}, expected (n,): average over frames first"
        )
    values = values[~np.isnan(values)]
    if not values.size:
        return math.nan, math.nan
    tail = (1 - _confidence(confidence)) / 2
    rng = np.random.default_rng(seed)
    draws = statistic(rng.choice(values, (num_resamples, values.size)), axis=1)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a share between 0 and 1: 0.95")
    return confidence


def _array(value: Any) -> np.ndarray:
    """A numpy array of an array, a sequence, or a torch tensor on any device."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _frames(value: Any, name: str) -> np.ndarray:
    frames = _array(value)
    if frames.ndim < 3 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(
            f"{name} has shape {frames.shape}, expected (..., height, width, 3), channels last and "
            "nothing empty: move channels with np.moveaxis(frames, -3, -1)"
        )
    if frames.dtype != np.uint8:
        raise ValueError(
            f"{name} is {frames.dtype}, expected uint8 in 0..255: from floats in [-1, 1] take "
            "((x + 1) * 127.5).round().clip(0, 255).astype(np.uint8)"
        )
    return frames


def _frame_pair(pred: Any, true: Any, gray: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both as uint8 (..., H, W, C), C 1 when grey."""
    pred, true = _frames(pred, "pred"), _frames(true, "true")
    if pred.shape != true.shape:
        raise ValueError(
            f"pred has shape {pred.shape} and true {true.shape}: compare the same frames at the "
            "same size (cut the longer one, resize neither silently)"
        )
    return (_to_gray(pred), _to_gray(true)) if gray else (pred, true)


def _to_gray(frames: np.ndarray) -> np.ndarray:
    """OpenCV's grey of uint8 (..., H, W, 3) as uint8 (..., H, W, 1)."""
    import cv2

    rows = np.ascontiguousarray(frames).reshape(-1, frames.shape[-2], 3)
    return cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY).reshape(*frames.shape[:-1], 1)


def _frame_by_frame(pred: np.ndarray, true: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of (H, W, C): a frame at a time keeps floats of a whole data set out of memory."""
    shape = (-1, *pred.shape[-3:])
    return zip(pred.reshape(shape), true.reshape(shape), strict=True)


def _mean_squared(pred: np.ndarray, true: np.ndarray) -> float:
    difference = pred.astype(np.float64) - true
    return float(np.mean(difference * difference))


def _structural_similarity(pred: np.ndarray, true: np.ndarray) -> float:
    """SSIM of two uint8 frames (H, W, C): Wang et al. 2004, eq. 13."""
    x, y = pred.astype(np.float64), true.astype(np.float64)
    pixels = SSIM_WINDOW**2
    mean_x, mean_y = _window_sums(x) / pixels, _window_sums(y) / pixels
    sample = pixels / (pixels - 1)
    var_x = sample * (_window_sums(x * x) / pixels - mean_x * mean_x)
    var_y = sample * (_window_sums(y * y) / pixels - mean_y * mean_y)
    cov = sample * (_window_sums(x * y) / pixels - mean_x * mean_y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * cov + c2) / (var_x + var_y + c2)))


def _window_sums(image: np.ndarray) -> np.ndarray:
    """Sums over every window wholly inside an image (H, W, C), exact for whole numbers."""
    import cv2

    sums = cv2.boxFilter(image, cv2.CV_64F, (SSIM_WINDOW, SSIM_WINDOW), normalize=False)
    border = SSIM_WINDOW // 2
    return sums[border:-border, border:-border]


def _vector(value: Any, name: str) -> np.ndarray:
    vector = np.atleast_1d(_array(value).astype(np.float64))
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError(
            f"{name} has shape {vector.shape}, expected (features,), all finite: "
            "features.mean(axis=0) of at least one sample"
        )
    return vector


def _covariance_factor(value: Any, size: int, name: str) -> np.ndarray:
    """F with F F^T = covariance (D, D), from its eigenvalues."""
    covariance = np.atleast_2d(_array(value).astype(np.float64))
    if covariance.shape != (size, size) or not np.isfinite(covariance).all():
        raise ValueError(
            f"{name} has shape {covariance.shape}, expected ({size}, {size}), all finite: "
            "np.cov(features, rowvar=False) of at least two samples"
        )
    scale = np.abs(covariance).max()
    if not np.allclose(covariance, covariance.T, rtol=0, atol=1e-5 * scale):
        raise ValueError(f"{name} is not symmetric: np.cov(features, rowvar=False) gives one")
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if values[0] < -1e-4 * max(values[-1], 0) or values[-1] < 0:
        raise ValueError(
            f"{name} has a negative eigenvalue ({values[0]:.3g}, largest {values[-1]:.3g}), so it "
            "is no covariance: np.cov(features, rowvar=False) in float64 gives one"
        )
    return vectors * np.sqrt(values.clip(min=0))
