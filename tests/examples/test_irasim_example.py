"""IRASim's own Language-Table episode through the whole path, where it is there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from world_model.video import read_video

SCRIPT = Path(__file__).parents[2] / "examples/irasim_example.py"
EPISODE = Path(__file__).parents[3] / "shared/irasim_example/languagetable"
needs_the_episode = pytest.mark.skipif(
    not EPISODE.is_dir(), reason="IRASim's Language-Table example is not here"
)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_an_absent_episode_is_told_in_one_sentence(tmp_path):
    result = run("--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{tmp_path / 'nowhere'}: IRASim's Language-Table example is not here")
    assert line.endswith("give its directory with --data.")
    assert not (tmp_path / "out").exists()


@needs_the_episode
def test_actions_that_do_not_fit_the_frames_are_told(tmp_path):
    shutil.copytree(EPISODE, tmp_path / "data", copy_function=shutil.copyfile)
    annotation = tmp_path / "data/annotation/test/example.json"
    episode = json.loads(annotation.read_text())
    annotation.write_text(json.dumps(episode | {"actions": episode["actions"][:-1]}))
    result = run("--data", tmp_path / "data", "--out", tmp_path / "out")
    assert result.returncode == 1
    assert f"{annotation}: expected 17 frames, one more than actions" in result.stderr


@needs_the_episode
def test_a_directory_of_something_else_is_not_deleted(tmp_path):
    kept = tmp_path / "kept.txt"
    kept.touch()
    result = run("--out", tmp_path)
    assert result.returncode == 1
    assert "was not made by irasim_example.py" in result.stderr
    assert kept.exists()


@needs_the_episode
@pytest.mark.slow
def test_the_episode_is_learned_scored_and_played(tmp_path):
    out = tmp_path / "out"
    result = run("--out", out, "--typed", "wwaasd")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "agree: 18 frames, one more than actions" in result.stdout
    assert "the loss falls" in result.stdout
    for protocol in ("short", "long"):
        report = json.loads((out / f"results/checkpoints/world/{protocol}.json").read_text())
        assert report["counts"]["items"] == 1
        assert report["scores"]["latent_l2"] > 0
    assert "wwaasd: 6 frames in " in result.stdout
    assert len(read_video(out / "played.mp4")) == 7
