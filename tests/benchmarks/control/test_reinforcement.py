"""`irasim bench reinforcement`: what the world's policies are worth beside the simulator's."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

from benchmarks.control.reinforcement import ReinforcementConfig, main, summarise, table


@pytest.fixture(scope="module")
def config(tiny_world, tmp_path_factory):
    return ReinforcementConfig(
        world=str(tiny_world),
        out=tmp_path_factory.mktemp("reinforcement"),
        steps=16,
        check_every=16,
        seeds=(0, 1),
        num_envs=2,
        horizon=4,
        starts=2,
        test_starts=3,
        check_starts=1,
        device="cpu",
    )


@pytest.mark.slow_suite
def test_report_from_end_to_end_and_again_for_another_world(config, tmp_path, capsys):
    results = main(config)
    saved = json.loads((config.out / "reinforcement.json").read_text())
    assert {name: np.shape(values) for name, values in saved["returns"].items()} == {
        "random": (2, 3),
        "still": (1, 3),
        "real": (2, 3),
        "learned": (2, 3),
    }
    assert set(saved["checks"]) == {f"{p} seed {s}" for p in ("real", "learned") for s in (0, 1)}
    assert (config.out / "learned" / "seed_1" / "exploitation.png").is_file()
    assert "(world - random) / (real - random)" in capsys.readouterr().out
    # Runs in the simulator serve again.
    policy = config.out / "real" / "seed_0" / "policy.zip"
    before = policy.stat().st_mtime_ns
    again = main(dataclasses.replace(config, out=tmp_path, real=config.out / "real"))
    assert policy.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again["returns"]["real"], results["returns"]["real"])
    np.testing.assert_array_equal(again["returns"]["learned"], results["returns"]["learned"])


def scores(random, still, real, learned):
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 40))
    level = {"random": random, "still": still, "real": real, "learned": learned}
    return {name: value + noise for name, value in level.items()}


def test_share_of_the_simulators_gain():
    found = summarise(scores(10, 11, 14, 13), seed=0)
    assert found["share"]["value"] == pytest.approx(0.75)
    low, high = found["share"]["interval"]
    assert 0.7 < low < 0.75 < high < 0.8
    assert found["share"]["meaningful"]
    assert found["over_random"]["real"]["value"] == pytest.approx(4)
    assert found["over_random"]["still"]["interval"][0] > 0.9


def test_a_share_of_nothing_is_said_to_mean_nothing(config):
    values = scores(10, 10, 10, 13)
    values["real"] = values["real"] + np.random.default_rng(1).normal(0, 1, (3, 40))
    found = summarise(values, seed=0)
    assert not found["share"]["meaningful"]
    report = {
        **found,
        "config": dataclasses.asdict(config),
        "world": {"name": "tiny"},
        "hardware": "none",
    }
    assert "not clearly above random" in table(report)


@pytest.mark.parametrize("kwargs", [{"seeds": ()}, {"seeds": (1, 1)}, {"steps": 0}])
def test_impossible_settings_are_refused(kwargs):
    with pytest.raises(ValueError, match="expected at least"):
        ReinforcementConfig(**kwargs)
