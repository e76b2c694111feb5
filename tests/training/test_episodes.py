"""Episodes come back as they were written; an incomplete one is an error that names the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.episodes import (
    Episode,
    annotation_path,
    list_episodes,
    read_episode,
    video_path,
    write_episode,
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
