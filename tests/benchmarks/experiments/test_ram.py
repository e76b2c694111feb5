"""The study of rams: what counts as covered, and that it runs."""

import numpy as np
import pytest

from benchmarks.experiments.ram import AT, RamConfig, compared, main


def test_what_is_between_samples_is_covered():
    true = np.zeros((1, 16, 3))
    true[..., 2] = np.pi - 0.01  # samples lie on both sides of the angle's seam
    spread = np.linspace(-2, 2, 32)
    sampled = np.zeros((1, 32, 16, 3))
    sampled[..., 0] = spread[:, None]
    sampled[..., 1] = 5 + spread[:, None]
    sampled[..., 2] = np.pi - 0.01 + 0.05 * spread[:, None]
    figures = compared(sampled, sampled[:, 0], true)
    assert set(figures) == set(AT)
    assert figures[16]["covered"] == pytest.approx(2 / 3)  # x and the angle, not y
    assert figures[16]["median, px"] == pytest.approx(5)
    assert figures[16]["nearest, px"] == pytest.approx(np.hypot(-2, 3))
    assert figures[16]["spread, degrees"] == pytest.approx(np.degrees(0.05 * spread.std()))


@pytest.mark.slow_suite
def test_less_sure_is_more_spread(tmp_path):
    report = main(RamConfig(rams=2, samples=8, scales=(0.0, 1.0, 4.0), out=tmp_path))
    spread = [at[16]["spread, px"] for at in report["by_scale"].values()]
    assert spread[0] == 0 < spread[1] < spread[2]
    assert (tmp_path / "ram.json").exists()
