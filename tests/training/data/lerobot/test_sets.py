"""What people's own LeRobot datasets hold, and what becomes of it (see lerobot_sets)."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irasim_env import console
from training.data.episodes import SPLITS, Episode, list_episodes, read_annotation, read_episode

pytest.importorskip("pyarrow", reason="needs pip install 'irasim-env[lerobot]'")

import pyarrow.parquet as pq

from tests.training.lerobot_sets import (
    CAMERA,
    LENGTHS,
    actions,
    edit_info,
    feature,
    frame,
    make,
    png,
    told,
    write_shown,
)

WRIST = "observation.images.wrist"


def convert(source: Path, *options: str) -> Path:
    """The directory that a dataset was brought into."""
    out = source.with_name(f"{source.name}-{len(list(source.parent.iterdir()))}")
    console.run(["convert", str(source), "--out", str(out), *options])
    return out


def names(out: Path) -> dict[str, list[str]]:
    return {split: list_episodes(out, split) for split in SPLITS}


def episodes(out: Path) -> dict[int, Episode]:
    """All episodes, by the number that they had."""
    return {
        int(name): read_episode(out, split, name)
        for split in SPLITS
        for name in list_episodes(out, split)
    }


def assert_right(out: Path, expected: Sequence[int] = (0, 1, 2), step: int = 1) -> None:
    """Each episode has its own frames, actions and states, in step."""
    found = episodes(out)
    assert sorted(found) == list(expected)
    for index, episode in found.items():
        kept = range(0, LENGTHS[index], step)
        assert told(episode.frames) == [(index, k % 51) for k in kept]
        recorded = actions(index, LENGTHS[index])
        np.testing.assert_array_equal(episode.actions, recorded[step - 1 :: step][: len(kept) - 1])
        if episode.states:
            np.testing.assert_array_equal(episode.states["state"], recorded[::step] * 2)


def assert_right_numbers(out: Path) -> None:
    """As `assert_right`, of video that has lost colour."""
    for index, episode in episodes(out).items():
        np.testing.assert_array_equal(episode.actions, actions(index, LENGTHS[index])[:-1])


@pytest.mark.parametrize("version", ["v3.0", "v2.1", "v2.0"])
@pytest.mark.parametrize("step", [1, 3])
def test_all_versions_are_read_as_they_are(tmp_path: Path, version: str, step: int):
    source = make(tmp_path / "set", version)
    out = convert(source, "--fps", str(30 / step))
    assert_right(out, step=step)
    assert read_annotation(out, "train", "000000")["fps"] == 30 / step
    assert json.loads((out / "convert.json").read_text())["tasks"]["000000"] == ["do"]


def test_chunks_of_version_2_are_found(tmp_path: Path):
    source = make(tmp_path / "set", "v2.1", info={"chunks_size": 2})
    assert sorted(path.name for path in (source / "data").iterdir()) == ["chunk-000", "chunk-001"]
    assert_right(convert(source))


def test_paths_that_info_leaves_out_are_those_of_version_2(tmp_path: Path):
    source = make(tmp_path / "set", "v2.0")
    edit_info(source, data_path=None, video_path=None, chunks_size=None)
    assert_right(convert(source))


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_av1_is_decoded(tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch):
    """What LeRobot's own recorder writes."""
    monkeypatch.setenv("SVT_LOG", "1")  # the encoder's: errors only
    out = convert(make(tmp_path / "set", version, codec="libsvtav1"))
    for index, episode in episodes(out).items():
        assert len(episode.frames) == LENGTHS[index]
        shown = np.stack([frame(index, k) for k in range(LENGTHS[index])]).astype(int)
        for k, found in enumerate(episode.frames):  # each is nearest to its own
            assert np.abs(shown - found).mean((1, 2, 3)).argmin() == k


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_one_of_several_cameras_is_chosen(
    tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
):
    source = make(tmp_path / "set", version, cameras=(CAMERA, WRIST))
    with pytest.raises(ValueError, match=f"it has {CAMERA}, {WRIST}; choose one with --camera"):
        convert(source)
    right, turned = (episodes(convert(source, "--camera", one))[0] for one in (CAMERA, "wrist"))
    assert f"left out: {CAMERA} (a world has one camera" in capsys.readouterr().out
    np.testing.assert_allclose(turned.frames[:, ::-1], right.frames, atol=3)
    assert turned.actions.shape == right.actions.shape == (19, 6)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_many_dimensions_and_nested_names(tmp_path: Path, version: str):
    wide = {"dtype": "float32", "shape": [40], "names": [[f"joint{i}" for i in range(40)]]}
    source = make(
        tmp_path / "set",
        version,
        columns=lambda e, n, a: {
            k: list(np.tile(a, 7)[:, :40]) for k in ("action", "observation.state")
        },
        features=lambda known: {**known, "action": wide, "observation.state": wide},
    )
    found = episodes(convert(source, "--fps", "10", "--commands", "relative",
                             "--absolute-components", "joint39", "0"))[0]  # fmt: skip
    assert found.actions.shape == (6, 40) and found.states["state"].shape == (7, 40)
    a = np.tile(actions(0, 20), 7)[:, :40]
    np.testing.assert_allclose(found.actions[:, 5], a[:18, 5].reshape(6, 3).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(found.actions[:, [39, 0]], a[2:18:3, [39, 0]])


OUTCOMES = {"next.reward": feature("float32", 1), "next.done": feature("bool", 1)}


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize("fps", ["30", "10", "7.5"])
def test_reward_and_end_on_the_last_row_are_kept(tmp_path: Path, version: str, fps: str):
    """That is where LeRobot's recorders write them; its action leads to no recorded frame."""
    source = make(
        tmp_path / "set",
        version,
        columns=lambda e, n, a: {
            "next.reward": (np.arange(n) == n - 1).astype("f4"),
            "next.done": np.arange(n) == n - 1,
        },
        features=lambda known: known | OUTCOMES,
    )
    for episode in episodes(convert(source, "--fps", fps)).values():
        count = len(episode.actions)
        np.testing.assert_array_equal(episode.rewards, np.arange(count) == count - 1)
        np.testing.assert_array_equal(episode.terminated, np.arange(count) == count - 1)


def test_ends_that_may_only_be_those_of_recordings_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = make(
        tmp_path / "set",
        columns=lambda e, n, a: {"next.done": np.arange(n) == n - 1},
        features=lambda known: known | {"next.done": OUTCOMES["next.done"]},
    )
    convert(source)
    assert "convert with --done none" in capsys.readouterr().out
    out = convert(source, "--done", "none")
    assert not any(episode.terminated.any() for episode in episodes(out).values())
    assert "left out: next.done" in capsys.readouterr().out


def late(rows: list[dict[str, Any]], by: float) -> None:
    for row in rows[1:]:
        row[f"videos/{CAMERA}/from_timestamp"] += by / 30


@pytest.mark.parametrize("by", [-1, -0.5, 0.5, 1, 2])
def test_frames_are_counted_where_times_are_off(tmp_path: Path, by: float):
    assert_right(convert(make(tmp_path / "set", rows=lambda rows: late(rows, by))))


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25)])
def test_a_rate_that_is_not_quite_the_announced_one_is_not_broken(
    tmp_path: Path, version: str, rate: Fraction
):
    assert_right(convert(make(tmp_path / "set", version, video_fps=rate)))


def test_frames_that_are_late_are_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pts = [round((i + (i > 30)) * 1000 / 30) for i in range(60)]
    assert_right(convert(make(tmp_path / "set", pts=pts)))
    assert "episode 1: 0.067 s from frame 10 to the next" in capsys.readouterr().out


@pytest.mark.parametrize("change", [-1, 1])
def test_a_video_of_another_length_than_its_episodes_is_refused_with_numbers(
    tmp_path: Path, change: int
):
    source = make(tmp_path / "set")
    (video,) = source.glob("videos/*/*/*.mp4")
    shown = [frame(e, k) for e, n in enumerate(LENGTHS) for k in range(n)]
    write_shown(video, shown[:-1] if change < 0 else [*shown, shown[-1]], Fraction(30))
    with pytest.raises(
        ValueError,
        match=rf"file-000\.mp4: has {60 + change} frames, its episodes 0 to 2 have 60 together",
    ):
        convert(source)


def test_one_video_of_another_length_costs_its_episode_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = make(tmp_path / "set", "v2.1")
    video = next(source.glob("videos/*/*/episode_000001.mp4"))
    write_shown(video, [frame(1, k) for k in range(24)], Fraction(30))
    with pytest.raises(ValueError, match=r"000001\.mp4: has 24 frames, episode 1 has 25 by meta/"):
        convert(source)
    assert_right(convert(source, "--broken", "skip"), (0, 2))
    assert "000001.mp4: has 24 frames" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [0, 2, 9])
def test_rows_are_found_in_whichever_file_has_them(tmp_path: Path, wrong: int):
    def move(rows: list[dict[str, Any]]) -> None:
        rows[1]["data/file_index"] = wrong

    assert_right(convert(make(tmp_path / "set", split_files=True, rows=move)))


def test_rows_that_no_file_has_are_named(tmp_path: Path):
    source = make(tmp_path / "set", split_files=True)
    (source / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(
        ValueError, match=r"file-001\.parquet: missing, although it should contain episode 1"
    ):
        convert(source)
    assert_right(convert(source, "--broken", "skip"), (0, 2))


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_state_without_prefix_is_taken(
    tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
):
    source = make(
        tmp_path / "set",
        version,
        columns=lambda e, n, a: {
            "state": list(a),
            "observation.state": None,
            "effort": list(a * 3),
        },
        features=lambda known: {
            **{k: v for k, v in known.items() if k != "observation.state"},
            "state": feature("float32", 6),
            "effort": feature("float32", 6),
        },
    )
    found = episodes(convert(source))[1]
    np.testing.assert_array_equal(found.states["state"], actions(1, 25))
    told = capsys.readouterr().out
    assert "left out: effort (--states NAME ... takes exactly the states that it names)" in told
    assert set(episodes(convert(source, "--states", "effort", "state"))[1].states) == {
        "effort",
        "state",
    }
    assert not episodes(convert(source, "--states"))[1].states
    with pytest.raises(ValueError, match="--states torque: no such feature, .* effort"):
        convert(source, "--states", "torque")


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_matrices_and_truth_values_are_states(tmp_path: Path, version: str):
    pose = np.arange(16, dtype="f4").reshape(4, 4)
    source = make(
        tmp_path / "set",
        version,
        columns=lambda e, n, a: {
            "observation.pose": [(pose + k).tolist() for k in range(n)],
            "observation.gripper_open": np.arange(n) % 2 == 0,
            "observation.cloud": [np.zeros((300, 3)).tolist()] * n,
            "observation.note": ["words"] * n,
        },
        features=lambda known: {
            **known,
            "observation.pose": feature("float32", 4, 4),
            "observation.gripper_open": feature("bool", 1),
            "observation.cloud": feature("float32", 300, 3),
            "observation.note": feature("string", 1),
        },
    )
    found = episodes(convert(source))[0]
    assert set(found.states) == {"state", "pose", "gripper_open"}
    np.testing.assert_array_equal(found.states["pose"], [pose.ravel() + k for k in range(20)])
    np.testing.assert_array_equal(found.states["gripper_open"][:, 0], np.arange(20) % 2 == 0)
    out = convert(source, "--states", "pose", "observation.cloud")
    assert {k: v.shape for k, v in episodes(out)[0].states.items()} == {
        "pose": (20, 16),
        "cloud": (20, 900),
    }
    left_out = json.loads((out / "convert.json").read_text())["left_out"]
    assert left_out["numbers"] == ["observation.state", "observation.gripper_open"]
    assert left_out["other"] == ["observation.note"]
    with pytest.raises(ValueError, match="--states note is of string, expected numbers"):
        convert(source, "--states", "note")


def not_finite(e: int, n: int, a: np.ndarray) -> dict[str, Any]:
    bad = np.where(np.arange(n)[:, None] == 3, np.nan, a * 2).astype("f4")
    return {"observation.state": list(bad)} if e == 1 else {}


def uneven(e: int, n: int, a: np.ndarray) -> dict[str, Any]:
    return {"action": [row[: 6 - (e == 1 and k == 4)] for k, row in enumerate(a)]}


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": not_finite}, "episode 1 has 'state' that is no finite number"),
        ({"columns": uneven}, "rows of 'action' have 5 to 6 values"),
        ({"lengths": (20, 1, 15)}, "episode 1 has 1 frames, expected 2 or more"),
    ],
)
def test_one_broken_episode_does_not_cost_the_others(
    tmp_path: Path,
    version: str,
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
):
    source = make(tmp_path / "set", version, **changes)
    with pytest.raises(ValueError, match=f"(?s)broken episodes: 1 of 3 .*--broken skip.*{message}"):
        convert(source)
    out = convert(source, "--broken", "skip")
    assert_right(out, (0, 2))
    told = capsys.readouterr().out
    assert "1 of 3 episodes left out" in told and message.split(" that ")[0] in told
    assert_right(convert(source, "--episodes", "0", "2"), (0, 2))


def test_videos_that_are_absent_are_listed_and_the_rest_is_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """As in a download that was cut short: the last of those that are there become val."""
    source = make(tmp_path / "set", "v2.1", lengths=(5,) * 12)
    for index in (0, 3, 4, 5, 11):
        next(source.glob(f"videos/*/*/episode_{index:06d}.mp4")).unlink()
    with pytest.raises(ValueError, match="video absent: 0, 3 to 5, 11\n"):
        convert(source, "--val", "2")
    out = convert(source, "--val", "2", "--broken", "skip")
    assert names(out) == {
        "train": ["000001", "000002", "000006", "000007", "000008"],
        "val": ["000009", "000010"],
        "test": [],
    }
    assert "5 of 12 episodes left out:\n    video absent: 0, 3 to 5, 11" in capsys.readouterr().out


def test_a_conversion_goes_on_only_with_the_same_episodes(tmp_path: Path):
    """What came later would move others from val to train, which were trained on."""
    source = make(tmp_path / "set", "v2.1", lengths=(5,) * 6)
    video = next(source.glob("videos/*/*/episode_000005.mp4"))
    video.rename(tmp_path / "kept.mp4")
    out = tmp_path / "out"
    command = ["convert", str(source), "--out", str(out), "--broken", "skip", "--val", "1"]
    console.run(command)
    (out / "annotation/train/000001.json").unlink()
    console.run(command)
    assert names(out)["train"] == [f"00000{i}" for i in range(4)]
    (tmp_path / "kept.mp4").rename(video)
    with pytest.raises(ValueError, match="holds 1 episodes that would not be in it now, .* of val"):
        console.run(command)


@pytest.mark.parametrize("skip", [True, False])
def test_a_video_that_breaks_while_it_is_decoded(
    tmp_path: Path, skip: bool, capsys: pytest.CaptureFixture[str]
):
    source = make(tmp_path / "set", "v2.1")
    video = next(source.glob("videos/*/*/episode_000001.mp4"))
    content = bytearray(video.read_bytes())
    middle = content.find(b"mdat") + 900
    content[middle : middle + 600] = bytes(600)
    video.write_bytes(content)
    if skip:
        assert_right(convert(source, "--broken", "skip", "--val", "1"), (0, 2))
        assert "episode_000001.mp4" in capsys.readouterr().out
    else:
        with pytest.raises(ValueError, match=r"episode_000001\.mp4"):
            convert(source)


def test_pictures_of_unlike_size_name_their_episode(tmp_path: Path):
    def pictures(e: int, n: int, a: np.ndarray) -> dict[str, Any]:
        unlike = e == 1
        return {CAMERA: [png(frame(e, k)[:: 1 + (unlike and k % 2)]) for k in range(n)]}

    source = make(
        tmp_path / "set",
        cameras=(),
        columns=pictures,
        features=lambda known: {**known, CAMERA: feature("image", 48, 64, 3)},
    )
    with pytest.raises(ValueError, match="episode 1 has pictures of 48 x 64 and of 24 x 64"):
        convert(source)
    assert_right(convert(source, "--broken", "skip"), (0, 2))
    assert_right(convert(source, "--episodes", "0", "2", "--fps", "10"), (0, 2), step=3)


@pytest.mark.parametrize("inside", [True, False])
def test_pictures_in_files_of_their_own_are_read_from_the_dataset_only(
    tmp_path: Path, inside: bool
):
    source = tmp_path / "set"
    folder = source / "images" if inside else tmp_path / "elsewhere"
    folder.mkdir(parents=True)

    def pictures(e: int, n: int, a: np.ndarray) -> dict[str, Any]:
        cells = []
        for k in range(n):
            path = folder / f"{e}-{k}.png"
            path.write_bytes(png(frame(e, k))["bytes"])
            name = f"images/{path.name}" if inside else str(path)
            cells.append({"bytes": None, "path": name})
        return {CAMERA: cells}

    make(
        source,
        "v2.0",
        cameras=(),
        columns=pictures,
        features=lambda known: {**known, CAMERA: feature("image", 48, 64, 3)},
    )
    if inside:
        assert_right(convert(source))
    else:
        with pytest.raises(ValueError, match=r"a picture of episode 0 .* cannot be decoded"):
            convert(source)


def test_episodes_of_unlike_size_are_told_apart(tmp_path: Path):
    source = make(tmp_path / "set", "v2.1")
    video = next(source.glob("videos/*/*/episode_000001.mp4"))
    write_shown(video, [frame(1, k, 32, 64) for k in range(25)], Fraction(30))
    with pytest.raises(
        ValueError, match="episode 1: frames are 32 x 64, those of 2 others 48 x 64"
    ):
        convert(source)
    out = convert(source, "--height", "24", "--width", "32")
    assert {one.frames.shape[1:3] for one in episodes(out).values()} == {(24, 32)}
    assert_right(out)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(("1",), [1]), (("2", "0"), [0, 2]), (("0:2",), [0, 1]), (("1:",), [1, 2])],
)
def test_episodes_are_chosen_by_number(tmp_path: Path, wanted: list[str], expected: list[int]):
    assert_right(convert(make(tmp_path / "set"), "--episodes", *wanted), expected)


@pytest.mark.parametrize("wanted", ["3", "2:5", "2:1", "first", "-1"])
def test_episodes_that_there_are_not_are_named(tmp_path: Path, wanted: str):
    with pytest.raises(ValueError, match=f"--episodes {wanted}: "):
        convert(make(tmp_path / "set"), f"--episodes={wanted}")


def test_recordings_have_no_seed_and_no_environment(tmp_path: Path):
    out = convert(make(tmp_path / "set"))
    annotation = json.loads((out / "annotation/train/000000.json").read_text())
    assert annotation["seed"] is None and annotation["env_id"] is None


def test_next_command_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def told(*options: str) -> str:
        convert(make(tmp_path / f"set{len(list(tmp_path.iterdir()))}"), *options)
        return capsys.readouterr().out.splitlines()[-1]

    assert told().startswith("next: irasim train --data ") and "--patch" not in told()
    assert told("--height", "24", "--width", "36").endswith(" --patch 12")
    assert "convert again into another directory, as with --height 32 --width 48" in told(
        "--height", "31", "--width", "47"
    )
    assert "training needs val episodes" in told("--episodes", "0")
    assert "training needs val episodes" in told("--val", "0")


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("meta/episodes.jsonl", '{"episode_index": 0}\n', "jsonl, line 1: length is None"),
        ("meta/episodes.jsonl", '{"episode_index"\n', "jsonl, line 1: is no JSON"),
        ("meta/episodes.jsonl", "[1]\n", "jsonl, line 1: is no JSON object"),
        ("meta/episodes.jsonl", None, "episodes.jsonl: cannot be read"),
        ("data/chunk-000/episode_000001.parquet", "oops", "cannot be read as parquet"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, path: str, content: str | None, message: str):
    source = make(tmp_path / "set", "v2.1")
    if content is None:
        (source / path).unlink()
    else:
        (source / path).write_text(content)
    with pytest.raises(ValueError, match=message):
        convert(source)


@pytest.mark.parametrize("name", ["action", "next.reward", "observation.state"])
@pytest.mark.parametrize("kind", ["words", "nothing"])
def test_columns_of_no_numbers_are_named(tmp_path: Path, name: str, kind: str):
    """Whatever meta/info.json says of them."""
    source = make(
        tmp_path / "set",
        "v2.1",
        columns=lambda e, n, a: {name: (["words"] if kind == "words" else [[]]) * n},
        features=lambda known: known | OUTCOMES,
    )
    with pytest.raises(ValueError, match=rf"000000\.parquet: '{name}' is of .*, expected numbers"):
        convert(source)


def test_tasks_go_there_and_back(tmp_path: Path):
    source = make(tmp_path / "set", "v2.1")
    back = convert(convert(source))
    rows = back / "meta/episodes/chunk-000/file-000.parquet"
    assert [row["tasks"] for row in pq.read_table(rows).to_pylist()] == [["do"]] * 3
    assert_right_numbers(convert(back))


@pytest.mark.parametrize(
    "values",
    [
        {"total_episodes": 10**12},
        {"total_episodes": "three"},
        {"fps": 0},
        {"fps": None},
        {"features": []},
        {"features": {"action": {"dtype": 3}}},
        {"data_path": "../{episode_index}.parquet"},
        {"data_path": "{nothing}"},
        {"data_path": 3},
        {"data_path": "{episode_index.x}{chunk_index.x}"},
        {"features": {"action": {"dtype": "float32", "shape": ["wide"]}}},
        {"features": {"action": {"dtype": "float32", "shape": [6], "info": [1]}}},
        {"video_path": "/etc/{episode_index}"},
        {"splits": {"train": "1:2:3"}},
        {"splits": [1]},
    ],
)
@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_what_info_cannot_say_is_told_with_its_name(
    tmp_path: Path, values: dict[str, Any], version: str
):
    source = make(tmp_path / "set", version)
    edit_info(source, **values)
    with pytest.raises(ValueError, match=r"info\.json"):
        convert(source)
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "set-1").exists()
