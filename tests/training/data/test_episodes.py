"""Episodes come back as they were written; an incomplete one is an error that names the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.data.episodes import (
    Episode,
    annotation_path,
    list_episodes,
    read_episode,
    video_path,
    write_episode,
    write_streamed,
)
from world_model.video import write_video


def make_episode(episode_id: str = "000003", num_actions: int = 5) -> Episode:
    rng = np.random.default_rng(0)
    return Episode(
        episode_id=episode_id,
        frames=rng.integers(0, 256, (num_actions + 1, 16, 16, 3), dtype=np.uint8),
        actions=rng.uniform(0, 512, (num_actions, 2)).astype(np.float32),
        rewards=rng.uniform(size=num_actions),
        terminated=np.arange(num_actions) == num_actions - 1,
        states={"agent_pos": rng.uniform(0, 512, (num_actions + 1, 2))},
        hidden={"block_pose": rng.uniform(0, 512, (num_actions + 1, 3))},
        seed=3,
        env_id="some:Env-v0",
        env_kwargs={"obs_type": "pixels"},
        policy="play",
        fps=10.0,
    )


def change_annotation(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = annotation_path(root, "val", "000003")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_episode(tmp_path, "val", make_episode())
    return tmp_path


def test_episode_comes_back_exactly(root: Path):
    written, read = make_episode(), read_episode(root, "val", "000003")
    for name in ("frames", "actions", "rewards", "terminated"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype
    np.testing.assert_array_equal(read.states["agent_pos"], written.states["agent_pos"])
    np.testing.assert_array_equal(read.hidden["block_pose"], written.hidden["block_pose"])
    for name in ("episode_id", "seed", "env_id", "env_kwargs", "policy", "fps"):
        assert getattr(read, name) == getattr(written, name)


def test_layout_is_that_of_the_published_data(root: Path):
    content = json.loads((root / "annotation/val/000003.json").read_text())
    assert content["video_path"] == "videos/val/000003.mp4"
    assert (root / content["video_path"]).is_file()
    assert len(content["actions"]) == 5


def test_complete_episodes_are_listed_in_order(root: Path):
    write_episode(root, "val", make_episode("000001"))
    (root / "annotation/val/.000002.json.77.tmp").write_text("{")
    assert list_episodes(root, "val") == ["000001", "000003"]
    assert list_episodes(root, "train") == []


def test_keys_not_known_here_are_left_alone(root: Path):
    change_annotation(root, lambda content: content.update(texts=["push the T"]))
    assert read_episode(root, "val", "000003").seed == 3


def test_missing_video_is_named(root: Path):
    video_path(root, "val", "000003").unlink()
    with pytest.raises(ValueError, match=r"000003\.mp4: missing.*000003\.json"):
        read_episode(root, "val", "000003")


@pytest.mark.parametrize("num_frames", [5, 7])
def test_video_of_wrong_length_is_named(root: Path, num_frames: int):
    frames = np.zeros((num_frames, 16, 16, 3), np.uint8)
    write_video(video_path(root, "val", "000003"), frames, 10)
    with pytest.raises(ValueError, match=rf"000003\.mp4: {num_frames} frames.*expected 6"):
        read_episode(root, "val", "000003")


@pytest.mark.parametrize("text", ["", '{"actions": [[1,', "[1, 2]"])
def test_unreadable_annotation_is_named(root: Path, text: str):
    annotation_path(root, "val", "000003").write_text(text)
    with pytest.raises(
        ValueError, match=r"000003\.json: (is not readable as JSON|holds a JSON list)"
    ):
        read_episode(root, "val", "000003")


@pytest.mark.parametrize("key", ["rewards", "terminated"])
def test_list_of_wrong_length_is_named(root: Path, key: str):
    change_annotation(root, lambda content: content[key].pop())
    with pytest.raises(
        ValueError, match=rf"000003\.json: {key} have shape \(4,\), expected \(5,\)"
    ):
        read_episode(root, "val", "000003")


def test_states_of_wrong_length_are_named(root: Path):
    change_annotation(root, lambda content: content["states"]["agent_pos"].pop())
    with pytest.raises(ValueError, match=r"000003\.json: states 'agent_pos'.*expected \(6, n\)"):
        read_episode(root, "val", "000003")


def test_uneven_actions_are_named(root: Path):
    change_annotation(root, lambda content: content["actions"][2].pop())
    with pytest.raises(ValueError, match=r"000003\.json: lists of uneven length"):
        read_episode(root, "val", "000003")


def test_absent_episode_and_unknown_split_are_named(root: Path):
    with pytest.raises(ValueError, match=r"000009\.json: no such file"):
        read_episode(root, "val", "000009")
    with pytest.raises(ValueError, match="expected one of train, val, test"):
        list_episodes(root, "validation")


def test_record_keeps_the_time_contract():
    episode = make_episode()
    with pytest.raises(ValueError, match="5 frames for 5 actions, expected 6"):
        replace(episode, frames=episode.frames[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.array([0, np.nan, 0, 0, 0])}, "rewards hold .*write 0 where"),
        ({"actions": np.full((5, 2), np.inf, np.float32)}, "actions hold what is no finite number"),
        ({"states": {"pos": np.full((6, 2), np.nan)}}, "states 'pos' hold what is no finite"),
        ({"terminated": np.arange(5)}, "terminated holds something else"),
        ({"frames": np.zeros((6, 16, 16, 3))}, r"frames are float64 .*expected uint8"),
        ({"seed": 1.7}, "seed is 1.7, expected a whole number"),
        ({"fps": 0.0}, "fps is 0.0, expected a positive number"),
        ({"policy": None}, "policy is None, expected text"),
        ({"episode_id": "../000003"}, "expected a file's name"),
    ],
)
def test_record_of_other_values_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(make_episode(), **changes)


def test_numbers_of_numpy_are_labels_too(tmp_path: Path):
    episode = replace(make_episode(), seed=np.int64(3), fps=np.float32(10))
    write_episode(tmp_path, "val", episode)
    read = read_episode(tmp_path, "val", "000003")
    assert (read.seed, read.fps) == (3, 10.0)


def fail(*_: Any, **__: Any) -> None:
    raise OSError("the disk is full")


def test_recordings_have_no_seed_and_no_environment(tmp_path: Path):
    """A real robot's: neither can be reset, and nobody need say whose policy it was."""
    written = replace(make_episode(), seed=None, env_id=None)
    write_episode(tmp_path, "val", written)
    change_annotation(
        tmp_path, lambda content: content.update({"seed": None}) or content.pop("policy")
    )
    read = read_episode(tmp_path, "val", "000003")
    assert (read.seed, read.env_id, read.policy) == (None, None, "recorded")
    np.testing.assert_array_equal(read.actions, written.actions)


def test_frames_may_come_one_by_one(tmp_path: Path):
    episode = make_episode()
    write_streamed(tmp_path, "val", episode, (frame[None] for frame in episode.frames))
    np.testing.assert_array_equal(read_episode(tmp_path, "val", "000003").frames, episode.frames)


def test_frames_that_stop_coming_leave_nothing(tmp_path: Path):
    def parts():
        yield make_episode().frames[:2]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_streamed(tmp_path, "val", make_episode(), parts())
    with pytest.raises(ValueError, match="2 frames for 5 actions, expected 6"):
        write_streamed(tmp_path, "val", make_episode(), [make_episode().frames[:2]])
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("failing", ["annotation", "video"])
def test_failed_writing_leaves_what_was_there(
    root: Path, failing: str, monkeypatch: pytest.MonkeyPatch
):
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    other = replace(make_episode(), frames=make_episode().frames[::-1])
    if failing == "annotation":
        other = replace(other, env_kwargs={"size": np.int64(3)})
        with pytest.raises(ValueError, match=r"000003\.json: cannot be written as JSON"):
            write_episode(root, "val", other)
    else:
        monkeypatch.setattr("training.data.episodes.video_encoder", fail)
        with pytest.raises(OSError, match="disk is full"):
            write_episode(root, "val", other)
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before


def test_failed_writing_leaves_no_video_without_annotation(tmp_path: Path):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        write_episode(tmp_path, "val", replace(make_episode(), env_kwargs={"size": np.int64(3)}))
    assert not list(tmp_path.rglob("*.*"))


def test_killed_writing_never_mixes_two_episodes(root: Path, monkeypatch: pytest.MonkeyPatch):
    def die(source: Path, target: Path) -> None:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        source.rename(target)

    monkeypatch.setattr("training.data.episodes.os.replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_episode(root, "val", replace(make_episode(), frames=make_episode().frames[::-1]))
    assert list_episodes(root, "val") == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("actions", [[float("nan"), 0.0]] * 5, "actions hold what is no finite number"),
        ("actions", [[1e300, 0.0]] * 5, "actions hold what is no finite number"),
        ("actions", [["1", "2"]] * 5, "of no numbers"),
        ("actions", [[None, 0.0]] * 5, "of no numbers"),
        ("rewards", [None, 0.0, 0.0, 0.0, 0.0], "rewards hold .*write 0 where"),
        ("terminated", [False, None, False, False, True], "terminated holds something else"),
        ("terminated", ["false"] * 5, "terminated holds something else"),
        ("states", {"agent_pos": [[None, 0.0]] * 6}, "states 'agent_pos' hold"),
        ("seed", 1.7, "seed is 1.7, expected a whole number"),
        ("fps", "fast", "fps is 'fast', expected a positive number"),
        ("env_id", 3, "env_id is 3, expected text"),
        ("policy", None, "policy is None, expected text"),
        ("env_kwargs", [1], "env_kwargs are"),
        ("video_path", 3, "names the file 3, expected a path in the dataset"),
        ("video_path", "../x.mp4", "leads out of the dataset"),
        ("video_path", "/x.mp4", "leads out of the dataset"),
    ],
)
def test_annotation_of_other_values_is_named(root: Path, key: str, value: Any, message: str):
    change_annotation(root, lambda content: content.update({key: value}))
    with pytest.raises(ValueError, match=rf"000003\.json: .*{message}"):
        read_episode(root, "val", "000003")


def test_ends_written_as_0_and_1_and_whole_rewards_are_read(root: Path):
    changes = {"terminated": [0, 0, 0, 0, 1], "rewards": [0, 0, 0, 0, 1]}
    change_annotation(root, lambda content: content.update(changes))
    episode = read_episode(root, "val", "000003")
    assert episode.terminated.dtype == bool and episode.rewards.dtype == np.float64
    assert episode.terminated[-1] and episode.rewards[-1] == 1.0
