"""Training collects its own data where there are none, and never into another's."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import pytest

from irasim_env import console
from tests.training.test_train import config_for, write_moving_square
from training.data import collect as collecting
from training.data.absent_data import COLLECTING, collect_absent
from training.data.episodes import list_episodes, read_episode
from training.data.labels import command as labelling
from training.data.labels.config import LabelConfig
from training.streaming.config import TrainConfig
from training.streaming.config import preset as preset_of

ENV_ID = "tests.training.toy_environment:tests/Square-v0"


def asking(data: Path, **changes) -> TrainConfig:
    settings = {"collect_env": ENV_ID, "collect_policy": "training.data.record:RandomActions"}
    settings |= {"collect_env_kwargs": "{}", "collect_episodes": (2, 1, 1)}
    return config_for(data, data.parent / "run", **settings | changes)


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes are collected by this process: no time is spent on starting others."""
    config = collecting.CollectConfig
    monkeypatch.setattr(
        collecting, "CollectConfig", lambda **settings: config(**settings, workers=0)
    )


@pytest.mark.usefixtures("here")
def test_absent_data_are_collected(tmp_path):
    (tmp_path / "data").mkdir()  # empty is absent
    collect_absent(asking(tmp_path / "data"), ())
    counts = [len(list_episodes(tmp_path / "data", split)) for split in ("train", "val", "test")]
    assert counts == [2, 1, 1]
    assert not (tmp_path / "data" / COLLECTING).exists()
    # Another run that asks for more takes them as they are.
    before = content(tmp_path / "data")
    collect_absent(asking(tmp_path / "data", collect_episodes=(9, 9, 9)), ())
    assert content(tmp_path / "data") == before


@pytest.mark.usefixtures("here")
def test_a_collection_that_was_stopped_goes_on(tmp_path, monkeypatch):
    data, main = tmp_path / "data", collecting.main

    def stopped(config: collecting.CollectConfig) -> None:
        if config.split == "val":
            raise KeyboardInterrupt
        main(config)

    monkeypatch.setattr(collecting, "main", stopped)
    with pytest.raises(KeyboardInterrupt):
        collect_absent(asking(data), ())
    monkeypatch.setattr(collecting, "main", main)
    with pytest.raises(SystemExit, match="another training began.*another env_id, env_kwargs"):
        collect_absent(asking(data, collect_env="Other-v0", collect_env_kwargs='{"x": 1}'), ())
    collect_absent(asking(data), ())
    assert [len(list_episodes(data, split)) for split in ("train", "val", "test")] == [2, 1, 1]
    assert not (data / COLLECTING).exists()


@pytest.mark.usefixtures("here")
def test_for_a_proxy_episodes_are_labelled_and_no_hidden_state_is_recorded(tmp_path, monkeypatch):
    data, asked = tmp_path / "data", []

    def stopped(config: LabelConfig) -> None:
        asked.append((config.data, config.names))
        if len(asked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(labelling, "main", stopped)
    pose = {"hidden": ("pose",), "poses": ("pose",), "points": ("place",), "proxy": True}
    with pytest.raises(KeyboardInterrupt):
        collect_absent(asking(data, **pose), ("pose",))
    assert (data / COLLECTING).exists()
    collect_absent(asking(data, **pose), ("pose",))
    assert asked == [(data, ("pose",))] * 2
    assert read_episode(data, "train", list_episodes(data, "train")[0]).hidden == {}
    assert not (data / COLLECTING).exists()


@pytest.mark.parametrize("preset", ["tiny", "pusht", "pusht_video", "default"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_is_added_to_data_that_another_made(tmp_path, preset, split):
    write_moving_square(tmp_path / "data", split, 2)
    before = content(tmp_path / "data")
    missing = {"train": "val", "val": "train"}[split]
    config = dataclasses.replace(
        preset_of(preset), data=tmp_path / "data", out=tmp_path / "run", cpu=True
    )
    cure = f"has no {missing} episodes: record some with `irasim collect --split {missing}`"
    with pytest.raises(SystemExit, match=cure) as refused:
        collect_absent(config, ())
    assert ("not into these" in str(refused.value)) == (preset != "default")
    assert content(tmp_path / "data") == before


@pytest.mark.usefixtures("here")
def test_the_command_that_is_told_records_what_is_missing(tmp_path, monkeypatch):
    data = tmp_path / "some data"
    collect_absent(asking(data), ())
    shutil.rmtree(data / "annotation/val")
    with pytest.raises(SystemExit, match="no val episodes") as refused:
        collect_absent(asking(data), ())
    command = shlex.split(str(refused.value).split("`")[1])
    monkeypatch.undo()  # the command's own config
    monkeypatch.setattr("sys.argv", [*command, "--episodes", "1", "--workers", "0"])
    console.main()
    collect_absent(asking(data), ())


def test_both_splits_that_are_missing_are_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match="no train and no val episodes.*train`.*val`"):
        collect_absent(asking(tmp_path / "data"), ())
    assert content(tmp_path / "data") == {"notes.txt": b"mine"}


def test_what_cannot_be_collected_is_not_remembered(tmp_path):
    with pytest.raises(ValueError, match="cannot be made"):
        collect_absent(asking(tmp_path / "data", collect_env="NoSuch-v0"), ())
    with pytest.raises(SystemExit, match="no train and no val"):
        collect_absent(asking(tmp_path / "data", collect_env=None), ())
