"""`irasim bench` from end to end, on a tiny random world."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import bench, report
from benchmarks.prediction.card import CardConfig, limits
from benchmarks.prediction.card import main as write_card
from benchmarks.prediction.quality import QualityConfig
from benchmarks.prediction.quality import main as measure_quality
from benchmarks.speed.command import SpeedConfig
from benchmarks.speed.command import main as measure_speed
from tests.conftest import TINY_CONFIG, make_starts
from world_model import WorldModel
from world_model.video import read_video

# The measurement that has been made is made once.
pytestmark = pytest.mark.xdist_group("bench")


@pytest.fixture(scope="module")
def quality(episodes, tiny_world, tmp_path_factory) -> QualityConfig:
    """A measurement that has been made."""
    config = QualityConfig(
        world=str(tiny_world),
        data=episodes,
        out=tmp_path_factory.mktemp("quality"),
        episodes=5,
        horizon=8,
        controls=3,
        shifts=(1,),
        videos=2,
        batch=3,
        device="cpu",
    )
    measure_quality(config)
    return config


def _strict_json(path: Path) -> dict:
    def refuse(constant: str):
        raise AssertionError(f"{path} holds {constant}, which is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_quality_report_says_what_was_measured(quality):
    results = _strict_json(quality.out / "quality.json")
    assert results["config"]["episodes"] == 5
    assert results["episodes"]["by_policy"] == {"expert": 2, "play": 1, "random": 2}
    assert len(results["frames"]["horizon"]["psnr"]) == 8
    assert set(results["frames"]["at"]) == {"1", "2", "4", "8"}
    assert set(results["readings"]) == {"8"}
    assert set(results["ends"]) == {"opening", "closing"}
    assert results["ends"]["closing"]["ended"] == 2
    assert set(results["controls"]) == {"shift 1", "shuffle"}
    assert results["controls"]["shuffle"]["nearer"]["of"] == 3
    assert {"python", "torch", "gym-pusht"} <= set(results["versions"])
    assert "threads" in results["hardware"]


def test_quality_shows_true_beside_predicted(quality):
    import cv2

    videos = sorted((quality.out / "videos").glob("*.mp4"))
    assert [path.stem for path in videos] == ["000000_expert", "000001_random"]
    frames = read_video(videos[0])
    assert frames.shape == (12, 384, 784, 3)
    left, right = frames[:, :, :384].astype(int), frames[:, :, 400:].astype(int)
    assert np.abs(left[:4] - right[:4]).mean() < 4  # the same context, but for the encoding
    assert np.abs(left[-1] - right[-1]).mean() > 8  # a random world predicts something else
    strip = cv2.imread(str(quality.out / "strip.png"))
    assert strip is not None
    assert strip.shape == (2 * (4 * 96 + 3 * 4), 2 * (5 * 96 + 4 * 4), 3)


def test_quality_is_the_same_again(quality, tmp_path):
    again = measure_quality(replace(quality, out=tmp_path, controls=0, videos=0))
    first = _strict_json(quality.out / "quality.json")
    assert again["frames"]["horizon"]["psnr"].tolist() == first["frames"]["horizon"]["psnr"]
    assert "controls" not in again
    assert not (tmp_path / "videos").exists()


def test_quality_of_a_world_without_reward(episodes, tiny_world_without_reward, tmp_path):
    config = QualityConfig(
        world=str(tiny_world_without_reward),
        data=episodes,
        out=tmp_path,
        episodes=2,
        horizon=3,
        controls=0,
        videos=0,
    )
    results = measure_quality(config)
    assert "rewards" not in results
    assert "ends" not in results


def test_quality_of_a_world_that_names_no_ground_truth(episodes, tmp_path):
    config = replace(TINY_CONFIG, ground_truth=None)
    WorldModel.create(config, make_starts(config)).save_pretrained(tmp_path / "world")
    results = measure_quality(
        QualityConfig(
            world=str(tmp_path / "world"),
            data=episodes,
            out=tmp_path / "out",
            episodes=3,
            horizon=4,
            controls=2,
            videos=1,
            device="cpu",
        )
    )
    assert "readings" not in results
    assert "nearer" not in results["controls"]["shuffle"]
    # Fresh weights predict that nothing moves, whatever the actions.
    assert results["frames"]["all"]["psnr"] == pytest.approx(
        results["frames"]["all"]["psnr_still"], abs=0.01
    )
    assert results["controls"]["shuffle"]["worse_by"] == 0


def test_the_command_that_training_prints_runs_on_recordings(episodes, tiny_world, tmp_path):
    """Of few episodes, none of them for test, without a seed that replays them."""
    for folder in ("annotation", "videos"):
        shutil.copytree(episodes / folder / "test", tmp_path / folder / "val")
    for path in (tmp_path / "annotation/val").glob("*.json"):
        content = json.loads(path.read_text()) | {"seed": None, "env_id": None}
        content["video_path"] = content["video_path"].replace("test", "val")
        path.write_text(json.dumps(content))
    results = measure_quality(
        QualityConfig(
            world=str(tiny_world), data=tmp_path, out=tmp_path / "out", horizon=3, videos=0
        )
    )
    assert (results["config"]["split"], results["config"]["episodes"]) == ("val", 6)
    assert results["episodes"]["count"] == 6
    assert "nearer" not in results["controls"]["shuffle"]
    (tmp_path / "annotation/val/000000.json").rename(tmp_path / "kept.json")
    for path in (tmp_path / "annotation/val").glob("*.json"):
        path.unlink()
    (tmp_path / "kept.json").rename(tmp_path / "annotation/val/000000.json")
    alone = QualityConfig(
        world=str(tiny_world), data=tmp_path, out=tmp_path / "alone", horizon=3, videos=0
    )
    assert "controls" not in measure_quality(alone)  # there are no others' actions


def test_quality_refuses_what_cannot_be_measured(episodes, tiny_world, tmp_path):
    make = {"world": str(tiny_world), "data": episodes, "out": tmp_path}
    for change, cure in [
        ({"horizon": 0}, "at least 1"),
        ({"controls": 1}, "at least 2"),
        ({"shifts": (0,)}, "at least 1"),
    ]:
        with pytest.raises(ValueError, match=cure):
            QualityConfig(**make, **change)
    with pytest.raises(ValueError, match="--episodes"):
        measure_quality(QualityConfig(**make, episodes=50))


@pytest.mark.slow_suite
def test_speed_counts_and_times_every_step(tiny_world, tmp_path):
    threads = torch.get_num_threads()
    config = SpeedConfig(
        world=str(tiny_world),
        out=tmp_path,
        batch=(3, 1),
        steps=6,
        repeats=3,
        threads=1,
        device="cpu",
    )
    measure_speed(config)
    assert torch.get_num_threads() == threads
    results = _strict_json(tmp_path / "speed.json")
    one, three = results["batches"]
    assert (one["batch"], one["through"]) == (1, "gymnasium.make")
    assert (three["batch"], three["through"]) == (3, "gymnasium.make_vec")
    for at in (one, three):
        low, high = at["steps_per_second_range"]
        assert low <= at["steps_per_second"] <= high
        assert at["latency_ms_p50"] <= at["latency_ms_p99"]
        # Calls of the median latency make about as many steps as were counted.
        assert at["batch"] * 1000 / at["latency_ms_p50"] > 0.5 * at["steps_per_second"]
        assert at["peak_rss_mib"] > 100
        assert at["peak_cuda_mib"] is None
    assert ", 1 threads" in results["hardware"]
    with pytest.raises(ValueError, match="at least 1"):
        SpeedConfig(world="x", batch=(0,))


def test_evaluations_per_step_are_those_that_are_made(tiny_world, monkeypatch):
    world = WorldModel.from_pretrained(tiny_world)
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    frames = []  # of each call: the first takes two, the newest to remember and the next to draw
    through = world.denoiser._through_ring

    def counted(noisy, *rest):
        frames.append(noisy.shape[1])
        return through(noisy, *rest)

    monkeypatch.setattr(world.denoiser, "_through_ring", counted)
    world.step(state, np.zeros((1, world.config.action_dim), np.float32))
    assert frames[0] == 2
    assert len(frames) == world.config.sampler.num_steps
    assert sum(frames) == world.config.evaluations_per_step


@pytest.mark.slow_suite
def test_the_card_tells_what_was_measured(quality, tiny_world, tmp_path):
    directory = shutil.copytree(tiny_world, tmp_path / "tiny")
    speed = measure_speed(
        SpeedConfig(world=str(directory), out=directory, batch=(1,), steps=3, repeats=1)
    )
    path = write_card(CardConfig(world=str(directory), quality=quality.out / "quality.json"))
    text = path.read_text()
    assert path == directory / "README.md"
    results = _strict_json(quality.out / "quality.json")
    assert f"{results['frames']['all']['psnr']:.2f}" in text
    assert f"{speed['batches'][0]['steps_per_second']:.1f}" in text
    assert "gym_pusht/PushT-v0" in text
    assert "no better than" in text  # a random world does not beat the picture that stands still
    assert "no train.json" in text
    WorldModel.from_pretrained(directory)  # the card leaves the world as it was


def test_the_card_refuses_what_was_measured_on_another_world(quality, tiny_world, tmp_path):
    directory = shutil.copytree(tiny_world, tmp_path / "tiny")
    with pytest.raises(ValueError, match="irasim bench quality --world"):
        write_card(CardConfig(world=str(directory)))
    results = _strict_json(quality.out / "quality.json")
    results["world"]["parameters"] += 1
    other = tmp_path / "other.json"
    other.write_text(json.dumps(results))
    with pytest.raises(ValueError, match="measure this one"):
        write_card(CardConfig(world=str(directory), quality=other))
    with pytest.raises(ValueError, match="cannot be read"):
        write_card(CardConfig(world=str(directory), quality=tmp_path / "none.json"))
    other.write_text("{")
    with pytest.raises(ValueError, match="measure again"):
        write_card(CardConfig(world=str(directory), quality=other))


def test_limits_follow_from_the_figures(quality, tiny_world):
    config = WorldModel.from_pretrained(tiny_world).config
    results = _strict_json(quality.out / "quality.json")
    horizon = results["frames"]["horizon"]
    horizon["psnr"] = [value + 1 for value in horizon["psnr_still"]]
    results["frames"]["all"]["sharpness"] = 0.5
    told = " ".join(limits(config, results))
    assert "at every step" in told
    assert "blurred" in told
    horizon["psnr"][2] -= 2
    results["frames"]["all"]["sharpness"] = 1.0
    told = " ".join(limits(config, results))
    assert "at 1 of 8 steps (first at step 3, last at 3)" in told
    assert "blurred" not in told


def test_help_names_the_parts_and_loads_nothing_heavy():
    code = (
        "import sys; from benchmarks import bench; bench.cli(['--help']);"
        "print([m for m in ('torch', 'stable_baselines3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for part in ("quality", "speed", "card"):
        assert part in done.stdout
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("part", ["quality", "speed", "endurance", "card"])
def test_each_part_explains_its_options(part, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.cli([part, "--help"])
    assert stop.value.code == 0
    assert "--world" in capsys.readouterr().out


def test_an_unknown_part_is_refused():
    with pytest.raises(SystemExit, match="choose one of quality, speed, simulator, "):
        bench.cli(["sped"])


def test_tables_are_aligned_and_show_a_dash_for_nothing():
    text = report.table(("a", "longer"), [("1", report.number(float("nan"))), ("22", "x")])
    lines = text.splitlines()
    assert lines[0] == "|  a | longer |"
    assert lines[2] == "|  1 |      - |"
    assert len({len(line) for line in lines}) == 1
