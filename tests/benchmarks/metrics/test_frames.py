"""Metrics against scikit-image, closed forms and figures computed with the reference."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import frechet_distance, psnr, ssim
from benchmarks.metrics.frames import (
    PSNR_CAP,
    bootstrap_interval,
    gradient_energy,
    gradient_shown,
    wilson_interval,
)

GOLDEN = Path(__file__).with_name("frame_metrics.npz")  # computed with the reference's code


@pytest.fixture
def clips() -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures and noisy copies, uint8 (4, 33, 40, 3)."""
    rng = np.random.default_rng(0)
    true = np.cumsum(rng.normal(0, 6, (4, 33, 40, 3)), axis=2) + 120
    pred = true + rng.normal(0, 12, true.shape)
    return pred.clip(0, 255).astype(np.uint8), true.clip(0, 255).astype(np.uint8)


def _gray(frame: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def test_same_as_scikit_image_on_every_frame(clips):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    pred, true = clips
    for index, (p, t) in enumerate(zip(pred, true, strict=True)):
        assert psnr(pred, true)[index] == pytest.approx(peak_signal_noise_ratio(t, p), abs=1e-9)
        assert ssim(pred, true)[index] == pytest.approx(
            structural_similarity(p, t, channel_axis=2), abs=1e-9
        )
        gray_p, gray_t = _gray(p), _gray(t)
        assert psnr(pred, true, gray=True)[index] == pytest.approx(
            peak_signal_noise_ratio(gray_t, gray_p), abs=1e-9
        )
        assert ssim(pred, true, gray=True)[index] == pytest.approx(
            structural_similarity(gray_p, gray_t), abs=1e-9
        )


def test_same_as_the_reference():
    figures = np.load(GOLDEN)
    pred, true = figures["pred"], figures["true"]
    assert psnr(pred, true)[1:].mean() == pytest.approx(float(figures["psnr_rgb"]), abs=1e-4)
    assert psnr(pred, true, gray=True)[1:].mean() == pytest.approx(
        float(figures["psnr_gray"]), abs=1e-4
    )
    assert ssim(pred, true, gray=True)[1:].mean() == pytest.approx(
        float(figures["ssim_gray"]), abs=1e-4
    )


def test_leading_dimensions_and_torch_tensors(clips):
    pred, true = clips
    batched = (2, 2, *pred.shape[1:])
    for metric in (psnr, ssim):
        flat = metric(pred, true)
        assert (
            metric(pred.reshape(batched), true.reshape(batched)).tolist()
            == flat.reshape(2, 2).tolist()
        )
        assert metric(torch.tensor(pred), torch.tensor(true)).tolist() == flat.tolist()
        assert metric(pred[0], true[0]).shape == ()


def test_identical_frames_are_infinite_or_capped(clips):
    _, true = clips
    assert np.isposinf(psnr(true, true)).all()
    assert (psnr(true, true, cap=PSNR_CAP) == PSNR_CAP).all()
    assert ssim(true, true) == pytest.approx(1)


def test_ssim_punishes_blur_that_psnr_forgives_less():
    rng = np.random.default_rng(1)
    true = rng.integers(100, 156, (1, 32, 32, 3), dtype=np.uint8)
    flat = np.full_like(true, 128)
    brighter = true + np.uint8(16)  # about the same squared error as the flat picture
    assert abs(psnr(flat, true) - psnr(brighter, true)) < 1
    assert ssim(flat, true) < 0.25 < 0.9 < ssim(brighter, true)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        (lambda p: p[:, :, :, :2], "channels last"),
        (lambda p: p.astype(np.float32), "expected uint8"),
        (lambda p: p[:-1], "compare the same frames"),
        (lambda p: p[:0], "nothing empty"),
    ],
)
def test_wrong_frames_are_refused_with_the_cure(clips, change, cure):
    pred, true = clips
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match=cure):
            metric(change(pred), true)


def test_frames_too_small_for_ssim_are_refused():
    small = np.zeros((2, 6, 9, 3), np.uint8)
    with pytest.raises(ValueError, match="at least 7 x 7"):
        ssim(small, small)


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    rng = np.random.default_rng(2)
    mu1, mu2, sigma1, sigma2 = rng.uniform(0.1, 3, (4, 12))
    expected = np.sum((mu1 - mu2) ** 2) + np.sum((sigma1 - sigma2) ** 2)
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))  # the distance does not see a rotation
    value = frechet_distance(
        rotation @ mu1,
        rotation @ np.diag(sigma1**2) @ rotation.T,
        rotation @ mu2,
        rotation @ np.diag(sigma2**2) @ rotation.T,
    )
    assert value == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_covariances_that_do_not_commute():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(3)
    (mu1, mu2), a, b = rng.normal(size=(2, 6)), rng.normal(size=(6, 9)), rng.normal(size=(6, 9))
    cov1, cov2 = a @ a.T, b @ b.T
    expected = np.sum((mu1 - mu2) ** 2) + np.trace(cov1 + cov2 - 2 * np.real(sqrtm(cov1 @ cov2)))
    assert frechet_distance(mu1, cov1, mu2, cov2) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(
        *(torch.tensor(part) for part in (mu1, cov1, mu2, cov2))
    ) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_samples_than_features():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(5, 64)) * 100
    mu, cov = features.mean(0), np.cov(features, rowvar=False)
    assert frechet_distance(mu, cov, mu, cov) == pytest.approx(0, abs=1e-8)
    # A scaled copy of a Gaussian about 0: (1 - 3)^2 times the trace, however singular.
    zero = np.zeros(64)
    assert frechet_distance(zero, cov, zero, 9 * cov) == pytest.approx(4 * np.trace(cov), rel=1e-10)
    # Nothing in common: no overlap at all.
    one, two = np.diag([1.0, 0, 0]), np.diag([0, 4.0, 0])
    assert frechet_distance(zero[:3], one, zero[:3], two) == pytest.approx(5)
    assert frechet_distance(0.0, 4.0, 3.0, 1.0) == pytest.approx(9 + 1)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ((np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), "one network"),
        ((np.zeros(2), np.eye(3), np.zeros(2), np.eye(2)), r"expected \(2, 2\)"),
        ((np.zeros(2), np.array([[1, 1], [0, 1]]), np.zeros(2), np.eye(2)), "not symmetric"),
        ((np.zeros(2), np.diag([1, -1]), np.zeros(2), np.eye(2)), "negative eigenvalue"),
        ((np.full(2, np.nan), np.eye(2), np.zeros(2), np.eye(2)), "all finite"),
    ],
)
def test_what_is_no_gaussian_is_refused(arguments, cure):
    with pytest.raises(ValueError, match=cure):
        frechet_distance(*arguments)


def test_gradient_energy_of_a_ramp_and_of_blur():
    ramp = np.broadcast_to((np.arange(20, dtype=np.uint8) * 3)[None, :, None], (10, 20, 3))
    assert gradient_energy(ramp) == pytest.approx(9)
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    blurred = ((noise.astype(int) + np.roll(noise, 1, axis=2)) // 2).astype(np.uint8)
    assert (gradient_energy(blurred) < 0.8 * gradient_energy(noise)).all()
    with pytest.raises(ValueError, match="2 x 2"):
        gradient_energy(ramp[:1])


def test_speckle_is_no_gradient_of_the_truth_and_blur_lowers_it():
    rng = np.random.default_rng(5)
    true = np.full((3, 32, 32, 3), 100, np.uint8)
    true[:, 8:20, 10:25] = 180
    grain = (true + rng.integers(-20, 21, true.shape)).astype(np.uint8)
    soft = ((2 * true.astype(int) + np.roll(true, 1, 1) + np.roll(true, 1, 2)) // 4).astype(
        np.uint8
    )
    elsewhere = np.roll(true, 5, axis=(1, 2))
    assert gradient_shown(true, true) == pytest.approx([1, 1, 1])
    assert gradient_shown(grain, true) == pytest.approx([1, 1, 1], abs=0.1)
    assert (gradient_energy(grain) > 1.5 * gradient_energy(true)).all()
    assert (gradient_shown(soft, true) < 0.8).all()
    assert (gradient_shown(elsewhere, true) < 0.3).all()
    assert np.isnan(gradient_shown(true, np.zeros_like(true))).all()
    with pytest.raises(ValueError, match="shape"):
        gradient_shown(true, true[:, :-1])


def test_wilson_interval():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="0 <= k <= n"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence=95)


def test_bootstrap_interval():
    values = np.random.default_rng(6).normal(5, 2, 400)
    low, high = bootstrap_interval(values, seed=0)
    half = 1.96 * values.std() / math.sqrt(400)  # the normal theory's
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert bootstrap_interval(values, seed=0) == (low, high)
    assert bootstrap_interval([*values, math.nan], seed=0) == (low, high)
    assert all(map(math.isnan, bootstrap_interval([], seed=0)))
    median = bootstrap_interval(values, seed=0, statistic=np.median)
    assert median[0] < np.median(values) < median[1]
    with pytest.raises(ValueError, match="average over frames"):
        bootstrap_interval(np.zeros((2, 3)), seed=0)


def test_importing_the_metrics_is_light():
    code = "import sys, benchmarks; print([m for m in ('torch', 'cv2', 'skimage', 'gymnasium') " + (
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
