"""`irasim label`: columns beside what was recorded, a record, and nothing replaced unasked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from irasim_env import console
from tests.training.data.labels.synthetic import errors
from training.command import parse
from training.data.clips import ClipStore
from training.data.episodes import Episode, read_record, write_episode
from training.data.labels import command
from training.data.labels.columns import Units
from training.data.labels.config import LabelConfig
from training.data.labels.scene import Scene
from training.data.labels.scene_file import load_scene, save_scene

# What all tests here share is made once.
pytestmark = pytest.mark.xdist_group("labels")


@pytest.fixture
def fitted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scene is fitted already: of the same frames."""
    monkeypatch.setattr(command, "fit_scene", lambda *_, **__: scene)


@pytest.fixture
def root(tmp_path: Path, new_episodes: list[Episode]) -> Path:
    write_episode(tmp_path, "train", new_episodes[0])
    write_episode(tmp_path, "val", new_episodes[1])
    return tmp_path


def label(*arguments: str | Path) -> None:
    console.run(["label", *map(str, arguments)])


@pytest.mark.usefixtures("fitted")
def test_labels_lie_beside_what_was_recorded(
    root: Path, new_episodes: list[Episode], capsys: pytest.CaptureFixture[str]
):
    label(root, "--names", "corner", "box")
    arrays, _ = read_record(root, "train", new_episodes[0].episode_id)
    hidden = arrays["hidden"]
    np.testing.assert_array_equal(hidden["bracket"], new_episodes[0].hidden["bracket"])
    place, _ = errors(hidden["corner"], hidden["bracket"], hidden["corner_labelled"][:, 0] > 0)
    assert np.median(place) < 0.08
    assert hidden["corner_visible"].shape == (24, 1) and hidden["box_deviation"].shape == (24, 2)
    record = json.loads((root / "labels/labels.json").read_text())
    assert "irasim label" in record["command"] and "--names corner box" in record["command"]
    assert record["runs"][0]["splits"]["val"]["bodies"]["box"]["labelled"] > 0.9
    assert {path.name for path in (root / "labels").iterdir()} >= {"sheet.png", "box.png"}
    said = capsys.readouterr().out
    assert "robot: 1 part following joints" in said and "turned by 1/4" in said
    assert "--hidden corner box --poses corner box" in said
    store = ClipStore(root, "train", hidden=("corner", "box"), poses=("corner",))
    assert store.states["corner"].shape == (24, 4)  # x, y, cos, sin


@pytest.mark.usefixtures("fitted")
def test_labels_are_replaced_only_when_asked(
    root: Path, new_episodes: list[Episode], capsys: pytest.CaptureFixture[str]
):
    label(root, "--splits", "train")
    path = root / f"annotation/train/{new_episodes[0].episode_id}.json"
    content = json.loads(path.read_text())
    content["hidden"]["body_0"][0][0] = -7.0
    path.write_text(json.dumps(content))
    label(root)  # the other split
    assert json.loads(path.read_text())["hidden"]["body_0"][0][0] == -7.0
    assert "1 episodes were labelled already" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--overwrite"):
        label(root, "--plane", "0", "0", "1", "1")
    label(root, "--overwrite", "--plane", "0", "0", "1", "1")
    assert 0 < json.loads(path.read_text())["hidden"]["body_0"][0][0] < 1
    label(root, "--overwrite", "--splits", "val", "--names", "corner", "box")
    assert set(json.loads(path.read_text())["hidden"]) == {"bracket", "square"}


@pytest.mark.usefixtures("fitted")
def test_recorded_states_are_never_replaced(root: Path):
    with pytest.raises(ValueError, match="'bracket' recorded already: choose other --names"):
        label(root, "--names", "bracket", "box", "--overwrite")


@pytest.mark.usefixtures("fitted")
def test_another_data_set_is_labelled_alike(
    root: Path, tmp_path_factory: pytest.TempPathFactory, new_episodes: list[Episode]
):
    label(root, "--names", "corner", "box")
    other = tmp_path_factory.mktemp("other")
    write_episode(other, "train", replace(new_episodes[0], hidden={}))
    label(other, "--like", root)
    ours, theirs = (
        read_record(where, "train", new_episodes[0].episode_id)[0]["hidden"]["corner"]
        for where in (root, other)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow_suite
def test_pictures_alone_are_labelled_and_trained_on(
    episodes: list[Episode], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """No state is recorded: nothing is the robot's, and nothing says what acts on bodies."""
    for number, episode in enumerate(episodes):
        split = "val" if number == 0 else "train"
        write_episode(tmp_path, split, replace(episode, states={}, hidden={}))
    label(tmp_path, "--names", "one", "two", "three")
    said = capsys.readouterr().out
    assert "none is recorded" in said
    (line,) = [line for line in said.splitlines() if line.startswith("next: irasim")]
    assert line.endswith("--hidden one two three")
    parse(line.removeprefix("next: irasim train ").split())


def test_a_scene_comes_back_as_it_was(scene: Scene, tmp_path: Path):
    save_scene(tmp_path, scene, ("corner", "box"))
    read, names = load_scene(tmp_path)
    assert names == ("corner", "box") and read.observations == scene.observations
    np.testing.assert_array_equal(read.bodies[1].sprite.alpha, scene.bodies[1].sprite.alpha)
    np.testing.assert_array_equal(read.robot[0].matrix, scene.robot[0].matrix)
    (tmp_path / "scene.npz").write_bytes(b"no scene")
    with pytest.raises(ValueError, match=r"scene\.npz: is not as irasim label writes it"):
        load_scene(tmp_path)


def test_mistakes_are_told(root: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="irasim collect"):
        label(tmp_path / "empty")
    with pytest.raises(ValueError, match="no state 'arm'.*--robot"):
        label(root, "--robot", "arm")
    with pytest.raises(ValueError, match="expected some of train, val, test"):
        LabelConfig(data=root, splits=("all",))
    with pytest.raises(ValueError, match="square"):
        Units.of((0, 0, 1, 2), (64, 64))
