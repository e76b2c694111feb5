"""`irasim bench passes` from end to end on a tiny random world, and its verdicts."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.prediction.pass_scores import LineScores, compare, score_line, verdict
from benchmarks.prediction.passes import PassesConfig, load_windows, main
from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.readings import readings_of
from tests.chunk_worlds import pixel_world
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import StreamingWorld, WorldModel


def passes_config(worlds, data, out, **changes) -> PassesConfig:
    config = PassesConfig(
        world=tuple(map(str, worlds)),
        data=data,
        out=out,
        passes=(1, 2),
        teacher_passes=3,
        episodes=5,
        horizons=(1, 6),
        batch=3,
        device="cpu",
    )
    return dataclasses.replace(config, **changes)


@pytest.mark.slow_suite
def test_passes_and_further_worlds_stand_beside_the_teacher(episodes, tiny_world, tmp_path, capsys):
    other = WorldModel.from_pretrained(tiny_world)
    assert isinstance(other, StreamingWorld)
    sampler = dataclasses.replace(other.config.sampler, num_steps=1)
    other.config = dataclasses.replace(other.config, sampler=sampler)
    other.save_pretrained(tmp_path / "quick")
    results = main(passes_config([tiny_world, tmp_path / "quick"], episodes, tmp_path / "out"))
    teacher, one, two, quick = results["lines"]
    assert [line["world"]["evaluations_per_step"] for line in results["lines"]] == [4, 2, 3, 2]
    assert [line["line"].rpartition(", ")[2] for line in (teacher, quick)] == ["3 passes", "1 pass"]
    assert teacher["at"][6]["psnr_change"] == {"value": 0.0, "interval": (0.0, 0.0)}
    assert teacher["at"][6]["sharpness"]["value"] == 1
    # The same weights in the same number of passes, whatever the directory.
    for name in ("psnr", "psnr_change", "sharpness"):
        assert quick["at"][6][name] == one["at"][6][name]
    assert one["at"][6]["psnr"] != two["at"][6]["psnr"] != teacher["at"][6]["psnr"]
    assert one["at"][1]["windows"] > one["at"][6]["windows"]  # some episodes are over by then
    assert set(one["at"][1]["errors"]) == {"disc px", "T px", "T degrees"}
    written = json.loads((tmp_path / "out" / "passes.json").read_text())
    assert written["lines"][1]["verdicts"] == one["verdicts"]
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'quick'}, 1 pass: loses at most 0.3 dB: " in shown


def test_scores_of_the_truth_are_perfect_and_of_blur_are_not(episodes, tmp_path):
    windows = load_windows(passes_config(["any"], episodes, tmp_path))

    def scores(change) -> LineScores:
        nothing = {"rewards": np.zeros(0), "terminated": np.zeros(0, bool), "states": {}}
        predictions = [Prediction(frames=change(w.future), **nothing) for w in windows]
        return score_line(windows, predictions, (1, 6), readings=readings_of(TINY_CONFIG))

    truth, grey = scores(lambda frames: frames), scores(lambda frames: frames // 2 + 96)
    assert np.nanmin(truth.psnr) == np.nanmax(truth.psnr) == 60
    for errors in truth.errors.values():
        assert np.nanmax(errors) < 1e-6
    assert np.nanmin(truth.edges) == pytest.approx(1)
    assert np.nanmax(grey.edges) < 0.6  # half of the contrast
    assert np.isnan(truth.psnr[:, 1]).sum() == 1  # the episode of 5 steps ends before
    beside = compare(grey, truth, 0)["verdicts"]
    assert beside["loses at most 0.3 dB"] == "no"
    assert beside["gradient energy within 5%"] == "no"
    same = compare(truth, truth, 0)["verdicts"]
    assert same["gradient energy within 5%"] == "yes"
    assert same["poses read, at most 5% fewer"].startswith("yes")


def test_ratios_are_paired_and_leave_out_what_is_unread():
    def line(errors: list[float]) -> LineScores:
        column = np.array(errors)[:, None]
        known = np.ones((len(errors), 1))
        return LineScores(
            horizons=(1,), psnr=known, gradient=known, edges=known, errors={"T px": column}
        )

    mine, theirs = line([2.0, np.nan, 6.0, 1.0]), line([1.0, 50.0, 3.0, np.nan])
    ratio = compare(mine, theirs, 0)["at"][1]["errors"]["T px"]
    assert ratio["windows"] == 2
    assert ratio["value"] == 2.0
    assert ratio["interval"] == (2.0, 2.0)  # twice in every window: pairs leave no doubt


def test_showing_less_is_counted():
    def line(errors: list[float]) -> LineScores:
        known = np.ones((len(errors), 1))
        return LineScores(
            horizons=(1,),
            psnr=known,
            gradient=known,
            edges=known,
            errors={"T px": np.array(errors)[:, None]},
        )

    blank, teacher = line([1.0, np.nan, np.nan, np.nan]), line([1.0, 2.0, 3.0, 4.0])
    verdicts = compare(blank, teacher, 0)["verdicts"]
    assert verdicts["errors of poses at most 5% larger"] == "yes"
    assert verdicts["poses read, at most 5% fewer"] == "no"


@pytest.mark.parametrize(
    ("value", "interval", "answer"),
    [
        (1.0, (0.98, 1.02), "yes"),
        (1.0, (0.9, 1.02), "yes?"),
        (1.1, (1.0, 1.2), "no?"),
        (1.1, (1.06, 1.2), "no"),
        (np.nan, (np.nan, np.nan), "not measured"),
    ],
)
def test_verdicts_say_when_intervals_leave_them_open(value, interval, answer):
    figure = {"value": value, "interval": interval}
    assert verdict([figure], (0.95, 1.05)) == answer
    if answer != "not measured":
        unknown = {"value": np.nan, "interval": (np.nan, np.nan)}
        assert verdict([figure, unknown], (0.95, 1.05)) == f"{answer} (1 of 2 measured)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world": ()}, "no world is given"),
        ({"passes": (1, 1)}, "different numbers of at least 1"),
        ({"passes": (0,)}, "different numbers of at least 1"),
        ({"horizons": ()}, "no horizons"),
        ({"teacher_passes": 0}, "teacher_passes is 0"),
    ],
)
def test_wrong_configs_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        passes_config(["any"], tmp_path, tmp_path, **changes)


def test_worlds_that_cannot_be_compared_are_refused(episodes, tiny_world, tmp_path):
    pixel_world().save_pretrained(tmp_path / "chunk")
    with pytest.raises(ValueError, match="expected a streaming one"):
        main(passes_config([tmp_path / "chunk"], episodes, tmp_path))
    small = dataclasses.replace(TINY_CONFIG, height=48, width=48, ground_truth=None)
    randomized(WorldModel.create(small, make_starts(small))).save_pretrained(tmp_path / "small")
    with pytest.raises(ValueError, match="compare worlds of one environment"):
        main(passes_config([tiny_world, tmp_path / "small"], episodes, tmp_path))
