"""`irasim convert`: our episodes to LeRobot v3 and back, and what other LeRobot datasets hold."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irasim_env import console
from training.data.episodes import Episode, list_episodes, read_episode, write_episode
from training.data.lerobot import write as lerobot_write
from training.data.lerobot.convert import ConvertConfig, main

pytest.importorskip("pyarrow", reason="needs pip install 'irasim-env[lerobot]'")

import pyarrow as pa
import pyarrow.parquet as pq

from training.data.lerobot.read import LeRobotReader
from training.data.lerobot.stats import combine, number_stats, picture_stats

LENGTHS = {("train", "000000"): 7, ("train", "000001"): 12, ("val", "000000"): 5, ("val", "9"): 9}


def make_episode(name: str, num_frames: int, seed: int, **changes: Any) -> Episode:
    """Noise, with numbers that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    count = num_frames - 1
    arguments: dict[str, Any] = {
        "episode_id": name,
        "frames": rng.integers(0, 256, (num_frames, 16, 18, 3), dtype=np.uint8),
        "actions": rng.random((count, 2), dtype=np.float32),
        "rewards": rng.random(count, dtype=np.float32).astype(np.float64),
        "terminated": np.arange(count) == count - 1,
        "states": {
            "agent_pos": rng.random((num_frames, 2), dtype=np.float32).astype(np.float64),
            "block": rng.random((num_frames, 3), dtype=np.float32).astype(np.float64),
        },
        "seed": 1000 + seed,
        "env_id": "some/Env-v0",
        "env_kwargs": {"obs_type": "pixels"},
        "policy": "random",
        "fps": 10.0,
    }
    return Episode(**(arguments | changes))


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    for seed, ((split, name), length) in enumerate(LENGTHS.items()):
        write_episode(tmp_path / "ours", split, make_episode(name, length, seed))
    return tmp_path / "ours"


def assert_same(one: Episode, two: Episode, *, frames: bool = True) -> None:
    for name in ("episode_id", "seed", "env_id", "env_kwargs", "policy", "fps"):
        assert getattr(one, name) == getattr(two, name), name
    for name in ("actions", "rewards", "terminated"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), name)
    assert one.states.keys() == two.states.keys()
    for name, values in one.states.items():
        np.testing.assert_array_equal(values, two.states[name])
    if frames:
        np.testing.assert_array_equal(one.frames, two.frames)


@pytest.mark.parametrize("episodes_per_file", [100, 3, 1])
def test_lossless_round_trip_is_exact(
    tmp_path: Path, ours: Path, episodes_per_file: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lerobot_write, "FILES_PER_CHUNK", 2)
    there, back = tmp_path / "lerobot", tmp_path / "back"
    config = ConvertConfig(
        source=str(ours), out=there, lossless=True, episodes_per_file=episodes_per_file
    )
    main(config)
    files = {100: 1, 3: 2, 1: 4}[episodes_per_file]
    videos = sorted(there.glob("videos/observation.image/*/*.mp4"))
    assert len(videos) == len(list(there.glob("data/*/*.parquet"))) == files
    chunks = {path.parent.name for path in videos}
    assert chunks == ({"chunk-000", "chunk-001"} if files == 4 else {"chunk-000"})
    main(ConvertConfig(source=str(there), out=back))
    for split, name in LENGTHS:
        assert_same(read_episode(back, split, name), read_episode(ours, split, name))
    assert [list_episodes(back, split) for split in ("train", "val", "test")] == [
        ["000000", "000001"],
        ["000000", "9"],
        [],
    ]


def test_yuv420p_is_near_and_said_not_to_be_exact(
    tmp_path: Path, ours: Path, capsys: pytest.CaptureFixture[str]
):
    y, x, t = np.meshgrid(np.arange(16), np.arange(18), np.arange(30), indexing="ij")
    waves = (127 + 60 * np.sin((x + t) / 5) * np.cos((y - t) / 6)).transpose(2, 0, 1)
    frames = np.stack([waves, 255 - waves, waves / 2], axis=-1).astype(np.uint8)
    shutil.rmtree(ours)
    for name in ("a", "b"):
        shown = frames if name == "a" else frames[::-1].copy()
        write_episode(ours, "train", make_episode(name, 30, 0, frames=shown))
    main(ConvertConfig(source=str(ours), out=tmp_path / "lerobot"))
    assert "yuv420p, which is lossy" in capsys.readouterr().out
    assert "not exact" in (tmp_path / "lerobot/README.md").read_text()
    main(ConvertConfig(source=str(tmp_path / "lerobot"), out=tmp_path / "back"))
    assert "its video is yuv420p" in capsys.readouterr().out
    for name in ("a", "b"):
        one, two = (read_episode(root, "train", name) for root in (ours, tmp_path / "back"))
        assert_same(one, two, frames=False)
        error = np.abs(one.frames.astype(int) - two.frames)
        assert 0 < error.mean() < 6
        # Frames are not shifted: each is nearest to its own.
        for k in range(30):
            distance = np.abs(one.frames.astype(int) - two.frames[k]).mean(axis=(1, 2, 3))
            assert distance.argmin() == k


def to_foreign(root: Path) -> None:
    """As another program would have written it: without our note."""
    (root / "meta/irasim.json").unlink()
    info = json.loads((root / "meta/info.json").read_text())
    info["splits"] = {"train": "0:4"}
    (root / "meta/info.json").write_text(json.dumps(info))


@pytest.fixture
def foreign(tmp_path: Path, ours: Path) -> Path:
    main(ConvertConfig(source=str(ours), out=tmp_path / "foreign", lossless=True))
    to_foreign(tmp_path / "foreign")
    return tmp_path / "foreign"


def test_rows_are_frames_and_the_last_action_leads_nowhere(
    tmp_path: Path, ours: Path, foreign: Path, capsys: pytest.CaptureFixture[str]
):
    main(
        ConvertConfig(source=str(foreign), out=tmp_path / "back", val=1, test=0, env_id="my/Env-v0")
    )
    assert "3 train, 1 val, 0 test episodes" in capsys.readouterr().out
    truth = read_episode(ours, "val", "000000")
    found = read_episode(tmp_path / "back", "train", "000002")
    assert found.env_id == "my/Env-v0" and found.policy == "recorded"
    np.testing.assert_array_equal(found.frames, truth.frames)
    np.testing.assert_array_equal(found.actions, truth.actions)
    np.testing.assert_array_equal(found.terminated, truth.terminated)
    np.testing.assert_array_equal(
        found.states["state"],
        np.concatenate([truth.states["agent_pos"], truth.states["block"]], axis=1),
    )
    rows = pq.read_table(foreign / "data/chunk-000/file-000.parquet").to_pylist()
    third = [row for row in rows if row["episode_index"] == 2]
    assert len(third) == len(truth.frames) == len(found.actions) + 1
    assert third[-1]["action"] == third[-2]["action"] and third[-1]["next.reward"] == 0.0
    assert [row["frame_index"] for row in third] == list(range(5))
    assert [row["index"] for row in third] == list(range(19, 24))
    np.testing.assert_allclose([row["timestamp"] for row in third], np.arange(5) / 10, rtol=1e-6)


def test_missing_rewards_and_ends_are_said(
    tmp_path: Path, foreign: Path, capsys: pytest.CaptureFixture[str]
):
    main(ConvertConfig(source=str(foreign), out=tmp_path / "back", val=0, reward="none", done="no"))
    out = capsys.readouterr().out
    assert "no 'none': rewards are 0" in out and "no 'no': no episode terminates" in out
    found = read_episode(tmp_path / "back", "train", "000001")
    assert not found.rewards.any() and not found.terminated.any()


def test_frames_are_resized_when_asked(tmp_path: Path, foreign: Path):
    main(ConvertConfig(source=str(foreign), out=tmp_path / "back", val=0, height=8, width=10))
    assert read_episode(tmp_path / "back", "train", "000003").frames.shape == (9, 8, 10, 3)


def test_bringing_in_goes_on_where_it_stopped(tmp_path: Path, foreign: Path):
    config = ConvertConfig(source=str(foreign), out=tmp_path / "back", val=0)
    main(config)
    kept = tmp_path / "back/annotation/train/000000.json"
    gone = tmp_path / "back/annotation/train/000002.json"
    before, content = kept.stat().st_mtime_ns, gone.read_text()
    gone.unlink()
    main(config)
    assert kept.stat().st_mtime_ns == before and gone.read_text() == content
    with pytest.raises(ValueError, match="made with another val"):
        main(replace(config, val=1))
    (tmp_path / "back/convert.json").write_text("{oops")
    with pytest.raises(ValueError, match=r"convert\.json: is not readable as JSON"):
        main(config)
    assert (tmp_path / "back/convert.json").read_text() == "{oops"


def test_pictures_in_parquet_are_read(tmp_path: Path, ours: Path, foreign: Path):
    import cv2

    path = foreign / "data/chunk-000/file-000.parquet"
    frames = np.concatenate([read_episode(ours, *name).frames for name in LENGTHS])
    cells = [
        {"bytes": cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes(), "path": "x.png"}
        for frame in frames
    ]
    table = pq.read_table(path)
    pq.write_table(table.append_column("observation.images.top", pa.array(cells)), path)
    info = json.loads((foreign / "meta/info.json").read_text())
    info["features"]["observation.images.top"] = {"dtype": "image", "shape": [16, 18, 3]}
    (foreign / "meta/info.json").write_text(json.dumps(info))
    reader = LeRobotReader(foreign, camera="observation.images.top")
    found = np.stack(list(reader.frames(3)))
    np.testing.assert_array_equal(found, read_episode(ours, "val", "9").frames)
    with pytest.raises(ValueError, match=r"no camera is named, it has observation\.image, obs"):
        LeRobotReader(foreign)


def edit_info(root: Path, **values: Any) -> None:
    info = json.loads((root / "meta/info.json").read_text()) | values
    (root / "meta/info.json").write_text(json.dumps(info))


def edit_episodes(root: Path, **values: Any) -> None:
    """Change columns of the last episode."""
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[-1] |= values
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("version", ["v1.6", None])
def test_other_version_is_refused_with_the_cure(tmp_path: Path, foreign: Path, version: str | None):
    edit_info(foreign, codebase_version=version)
    with pytest.raises(ValueError, match=r"info\.json: codebase_version is .* v2\.0, v2\.1, v3\.0"):
        main(ConvertConfig(source=str(foreign), out=tmp_path / "back"))


@pytest.mark.parametrize(
    ("info", "episodes", "message"),
    [
        ({"total_episodes": 5}, {}, "does not list episode 4, .* announces 5"),
        ({"splits": {"train": "first"}}, {}, r"info\.json: split 'train' is 'first', expected"),
        ({}, {"length": 8}, "episode 3 has 9 rows, expected frames 0 to 7"),
        (
            {},
            {"videos/observation.image/file_index": 3},
            r"file-003\.mp4: missing, although it should contain episode 3",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(
    tmp_path: Path, foreign: Path, info: dict[str, Any], episodes: dict[str, Any], message: str
):
    edit_info(foreign, **info)
    if episodes:
        edit_episodes(foreign, **episodes)
    with pytest.raises(ValueError, match=message):
        main(ConvertConfig(source=str(foreign), out=tmp_path / "back"))


def test_unknown_features_are_named(foreign: Path):
    with pytest.raises(ValueError, match="no feature 'act', it has action"):
        LeRobotReader(foreign, action="act")
    with pytest.raises(ValueError, match=r"camera 'top' is asked for, it has observation\.image"):
        LeRobotReader(foreign, camera="top")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 7.5}, "LeRobot wants a whole number"),
        ({"fps": 5.0}, "episode z: fps is 5.0, that of episode 000000 is 10.0"),
        ({"frames": np.zeros((5, 8, 8, 3), np.uint8)}, "episode z: frame size is"),
        ({"states": {}}, "episode z: states is {}"),
    ],
)
def test_episodes_that_do_not_go_together_are_not_written(
    tmp_path: Path, ours: Path, changes: dict[str, Any], message: str
):
    if changes.get("fps") == 7.5:
        shutil.rmtree(ours)
    write_episode(ours, "train", make_episode("z", 5, 0, **changes))
    with pytest.raises(ValueError, match=message):
        main(ConvertConfig(source=str(ours), out=tmp_path / "lerobot"))
    assert not (tmp_path / "lerobot").exists()


def test_nothing_is_overwritten(tmp_path: Path, ours: Path, foreign: Path):
    with pytest.raises(ValueError, match="is not empty"):
        main(ConvertConfig(source=str(ours), out=foreign))
    with pytest.raises(ValueError, match="holds other episodes"):
        main(ConvertConfig(source=str(foreign), out=ours))
    with pytest.raises(ValueError, match="the same directory"):
        main(ConvertConfig(source=str(ours), out=ours))


@pytest.mark.parametrize("source", ["absent", "/absent/dir"])
def test_missing_source_is_named(tmp_path: Path, source: str):
    with pytest.raises(ValueError, match=f"{source}: no such directory"):
        main(ConvertConfig(source=source, out=tmp_path / "out"))


@pytest.mark.parametrize("source", ["data/mine", "set/one.mp4", "set/absent", "./mine", "~/mine"])
def test_no_directory_and_no_dataset_of_the_hub(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
):
    """Whatever the Hub's client says of it, or that there is no network."""
    import huggingface_hub

    def refuse(*args: Any, **kwargs: Any) -> str:
        raise ConnectionError("no network\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    Path("set/one.mp4").touch()
    with pytest.raises(ValueError, match=f"{source}: (no such directory|is a file)") as told:
        main(ConvertConfig(source=source, out=tmp_path / "out"))
    assert "much more" not in str(told.value) and not (tmp_path / "out").exists()
    assert ("no network" in str(told.value)) == (source == "data/mine")


def test_directory_of_neither_form_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="neither a LeRobot dataset"):
        main(ConvertConfig(source=str(tmp_path), out=tmp_path / "out"))


def test_missing_pyarrow_is_said_with_the_extra(foreign: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"pip install 'irasim-env\[lerobot\]'"):
        LeRobotReader(foreign)
    with pytest.raises(ValueError, match=r"pip install 'irasim-env\[lerobot\]'"):
        main(ConvertConfig(source="absent", out=foreign / "out"))
    assert not (foreign / "out").exists()


def test_meta_is_as_lerobot_describes_it(foreign: Path):
    info = json.loads((foreign / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 33, 1)
    schema = pq.read_schema(foreign / "data/chunk-000/file-000.parquet")
    features = {k: v for k, v in info["features"].items() if v["dtype"] != "video"}
    # LeRobot 0.4.2 and 0.4.3 cast tables to the features by position where episodes are chosen.
    assert schema.names == list(features)
    for name, feature in features.items():
        kind = schema.field(name).type
        if feature["shape"] == [1]:
            assert str(kind) == {"float32": "float"}.get(feature["dtype"], feature["dtype"])
        else:
            assert kind == pa.list_(pa.float32(), feature["shape"][0])
    assert pq.ParquetFile(foreign / "data/chunk-000/file-000.parquet").num_row_groups == 4
    rows = pq.read_table(foreign / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["dataset_to_index"] for row in rows] == [7, 19, 24, 33]
    key = "videos/observation.image"
    np.testing.assert_allclose([row[f"{key}/from_timestamp"] for row in rows], [0, 0.7, 1.9, 2.4])
    tasks = pq.read_table(foreign / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "some/Env-v0"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    stats = json.loads((foreign / "meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    assert np.shape(stats["observation.image"]["mean"]) == (3, 1, 1)
    assert np.shape(stats["action"]["q99"]) == (2,)


def test_combined_statistics_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    parts = [rng.normal(i, 1 + i, (20 * (i + 1), 3)) for i in range(3)]
    whole, found = number_stats(np.concatenate(parts)), combine([number_stats(p) for p in parts])
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-12)
    assert (found["q01"] < found["q50"]).all() and (found["q50"] < found["q99"]).all()


def test_statistics_of_pictures_are_by_channel_in_0_to_1():
    frames = np.zeros((3, 4, 5, 3), np.uint8)
    frames[..., 1], frames[1, ..., 2] = 255, 51
    stats = picture_stats(frames)
    np.testing.assert_allclose(stats["mean"], np.array([0, 1, 0.2 / 3]).reshape(3, 1, 1))
    np.testing.assert_allclose(stats["max"], np.array([0, 1, 0.2]).reshape(3, 1, 1))
    assert stats["count"] == [3]


def test_command_line(tmp_path: Path, ours: Path):
    console.run(
        ["convert", str(ours), "--out", str(tmp_path / "lerobot"), "--task", "push the block"]
    )
    tasks = pq.read_table(tmp_path / "lerobot/meta/tasks.parquet").to_pylist()
    assert tasks == [{"task_index": 0, "task": "push the block"}]


def test_both_directions_say_what_they_were_made_with(tmp_path: Path, ours: Path):
    there, back = tmp_path / "lerobot", tmp_path / "back"
    main(ConvertConfig(source=str(ours), out=there, lossless=True))
    main(ConvertConfig(source=str(there), out=back, val=0))
    written = json.loads((there / "meta/irasim.json").read_text())
    brought = json.loads((back / "convert.json").read_text())
    assert written["config"]["lossless"] and written["config"]["source"] == str(ours)
    assert brought["config"]["source"] == str(there)
    for note in (written, brought):
        assert note["versions"]["pyarrow"] == pa.__version__


def test_note_of_a_run_without_episodes_is_in_nobodys_way(tmp_path: Path, foreign: Path):
    video = next(foreign.glob("videos/*/*/*.mp4"))
    whole = video.read_bytes()
    video.write_bytes(whole[:1000])
    config = ConvertConfig(source=str(foreign), out=tmp_path / "back", val=1)
    with pytest.raises(ValueError, match=r"mp4: cannot be decoded"):
        main(config)
    video.write_bytes(whole)
    main(replace(config, val=2))
    assert len(list_episodes(tmp_path / "back", "val")) == 2
