"""`irasim bench uncertainty`: correlations of what is told with what is true."""

import json

import numpy as np
import pytest

from benchmarks.prediction.uncertainty import (
    Measured,
    UncertaintyConfig,
    choose,
    correlations,
    main,
    predict,
)
from world_model import WorldModel


@pytest.fixture
def config(tiny_world, episodes, tmp_path):
    return UncertaintyConfig(
        world=str(tiny_world),
        data=episodes,
        out=tmp_path,
        episodes=4,
        windows=2,
        context=3,
        horizon=4,
        samples=3,
        batch=3,
        device="cpu",
    )


def test_report_from_end_to_end(config, capsys):
    results = main(config)
    saved = json.loads((config.out / "uncertainty.json").read_text())
    assert saved["windows"] == 8
    assert set(saved["at"]) == {"1", "4"}
    for at in saved["at"].values():
        for name in ("uncertainty", "uncertainty_so_far", "change"):
            assert -1 <= at[name]["spearman"] <= 1
            low, high = at[name]["interval"]
            assert low <= high
    assert len(saved["mean_error"]) == 4
    assert min(saved["mean_uncertainty"]) > 0
    assert "torch" in saved["versions"]
    assert (
        results["at"][1]["uncertainty"]["spearman"] == saved["at"]["1"]["uncertainty"]["spearman"]
    )
    assert "| step |" in capsys.readouterr().out


def test_windows_are_moments_of_the_episodes(config, episodes):
    from training.data.episodes import read_episode

    clips, episode = choose(config)
    assert episode.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(clip.frames.shape == (7, 96, 96, 3) for clip in clips)
    assert all(clip.actions.shape == (6, 2) for clip in clips)
    first = read_episode(episodes, "test", "000000")
    np.testing.assert_array_equal(clips[0].actions, first.actions[:6])
    np.testing.assert_array_equal(clips[1].frames[-1], first.frames[-1])
    np.testing.assert_array_equal(clips[1].actions[-1], first.actions[-1])


def test_prediction_is_the_worlds_own_and_error_is_to_the_truth(config):
    world = WorldModel.from_pretrained(config.world)
    clips = choose(config)[0][:2]
    measured = predict(world, clips, config)
    assert measured.error.shape == (2, 4)
    clip = clips[1]
    observed = {name: values[None] for name, values in clip.context_states.items()}
    assert list(observed) == ["agent_pos"]
    state = world.start(clip.frames[None, :3], clip.actions[None, :2], [config.seed + 1], observed)
    before = clip.frames[2]
    for t in range(4):
        frame = world.step_(state, clip.actions[None, 2 + t]).frame[0].numpy()
        error = np.sqrt(((frame.astype(float) - clip.frames[3 + t]) ** 2).mean())
        change = np.sqrt(((frame.astype(float) - before) ** 2).mean())
        assert measured.error[1, t] == pytest.approx(error, abs=0.05)
        assert measured.change[1, t] == pytest.approx(change, abs=0.05)
        before = frame


def test_correlations_tell_a_teller_from_noise():
    rng = np.random.default_rng(0)
    error = rng.uniform(1, 9, (60, 2))
    measured = Measured(uncertainty=error**2, error=error, change=rng.uniform(size=error.shape))
    found = correlations(measured, np.arange(60) // 2, 1, seed=0)
    assert found["uncertainty"]["spearman"] == pytest.approx(1)
    assert found["uncertainty"]["interval"] == pytest.approx([1, 1])
    low, high = found["change"]["interval"]
    assert low < 0 < high
    assert found["error"]["least_uncertain"] < found["error"]["mean"]
    assert found["error"]["mean"] < found["error"]["most_uncertain"]


@pytest.mark.parametrize("kwargs", [{"samples": 1}, {"episodes": 1}, {"horizon": 0}])
def test_impossible_settings_are_refused(kwargs):
    with pytest.raises(ValueError, match="expected at least"):
        UncertaintyConfig(world="pusht", data=".", **kwargs)
