"""Published data that cannot be used: each error names its file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.published_data import (
    annotate,
    arm,
    make_frames,
    plane,
    positions,
    save,
    write_arm,
    write_plane,
)
from training.data.irasim.datasets import DataConfig
from training.data.irasim.windows import WindowDataset
from world_model.video import write_video


def change(path: Path, **values: Any) -> None:
    """Set keys of an annotation; None removes one."""
    annotation = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in annotation.items() if v is not None}))


def _no_video(root: Path) -> None:
    (root / "videos/train/bad/rgb0.mp4").unlink()


def _cut_video(root: Path) -> None:
    write_video(root / "videos/train/bad/rgb0.mp4", make_frames(positions(19)), 5)


def _no_gripper(root: Path) -> None:
    change(root / "annotation/train/bad.json", continuous_gripper_state=None)


def _short_gripper(root: Path) -> None:
    change(root / "annotation/train/bad.json", continuous_gripper_state=[0.0] * 19)


def _unreadable(root: Path) -> None:
    (root / "annotation/train/bad.json").write_text('{"state": [[0.0, ')


def _no_object(root: Path) -> None:
    (root / "annotation/train/bad.json").write_text("[1, 2]")


def _uneven(root: Path) -> None:
    change(root / "annotation/train/bad.json", state=[[0.0] * 6, [0.0] * 5])


def _not_finite(root: Path) -> None:
    change(root / "annotation/train/bad.json", state=[[float("nan")] * 6] * 20)


def _no_path(root: Path) -> None:
    change(root / "annotation/train/bad.json", videos=None)


def _damaged_video(root: Path) -> None:
    (root / "videos/train/bad/rgb0.mp4").write_bytes(b"no video")


BREAKAGES = {
    _no_video: r"bad\.json: its video file .*rgb0\.mp4 is missing",
    _cut_video: r"bad\.json: .*rgb0\.mp4 has 19 frames for 19 motions .* expected 20",
    _no_gripper: r"bad\.json: lacks 'continuous_gripper_state'",
    _short_gripper: r"bad\.json: 'continuous_gripper_state' has shape \(19,\)",
    _unreadable: r"bad\.json: is not readable as JSON",
    _no_object: r"bad\.json: holds a JSON list",
    _uneven: r"bad\.json: 'state' are lists of uneven length",
    _not_finite: r"bad\.json: 'state' holds numbers that are not finite",
    _no_path: r"bad\.json: names no video file",
    _damaged_video: r"rgb0\.mp4: cannot be read as a video",
}


@pytest.mark.parametrize(("damage", "message"), BREAKAGES.items())
def test_broken_episode_is_refused_or_left_out_by_name(
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
    capsys: pytest.CaptureFixture[str],
):
    write_arm(tmp_path, "bad")
    write_arm(tmp_path, "good")
    damage(tmp_path)
    with pytest.raises(ValueError, match="1 of 2 episodes .*broken(?s:.*)" + message):
        WindowDataset(arm(tmp_path))
    assert capsys.readouterr().out == ""
    dataset = WindowDataset(arm(tmp_path, broken="skip"))
    assert dataset.episodes == ["good"] and len(dataset) == 16
    assert "bad" in capsys.readouterr().out


def test_all_broken_is_refused_even_when_skipping(tmp_path: Path):
    write_arm(tmp_path, "bad")
    _unreadable(tmp_path)
    with pytest.raises(ValueError, match=r"none is left(?s:.*)bad\.json"):
        WindowDataset(arm(tmp_path, broken="skip"))


def test_episode_that_breaks_later_is_an_error_when_it_is_read(tmp_path: Path):
    write_arm(tmp_path, "bad")
    write_arm(tmp_path, "good")
    dataset = WindowDataset(arm(tmp_path))
    _no_video(tmp_path)
    with pytest.raises(ValueError, match=r"bad/rgb0\.mp4: no such video file"):
        dataset[0]


@pytest.mark.parametrize("content", ["no tensor", {"other": torch.zeros(3)}, torch.zeros(20, 4)])
def test_wrong_latents_are_named(tmp_path: Path, content: Any):
    write_plane(tmp_path)
    save(tmp_path / "latent_videos/train/a.pt", content)
    with pytest.raises(ValueError, match=r"a\.pt: holds .* expected float latents"):
        WindowDataset(plane(tmp_path, source="latents"))


class Payload:
    def __reduce__(self):
        return os.mkdir, ("payload_ran",)


def test_latents_that_run_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_plane(tmp_path)
    save(tmp_path / "latent_videos/train/a.pt", {"obs": Payload()})
    with pytest.raises(ValueError, match=r"a\.pt: cannot be read as latents"):
        WindowDataset(plane(tmp_path, source="latents"))
    assert not Path("payload_ran").exists()


def test_wrong_number_of_action_components_is_named(tmp_path: Path):
    write_plane(tmp_path)
    with pytest.raises(ValueError, match=r"a\.json: actions have 2 components.* 3 numbers"):
        WindowDataset(plane(tmp_path, action_scale=(1.0, 1.0, 1.0)))


def test_no_episode_long_enough_is_refused(tmp_path: Path):
    write_plane(tmp_path, num_frames=4)
    with pytest.raises(ValueError, match="5 frames for a window, the longest has 4"):
        WindowDataset(plane(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_scale": ()}, "action_scale is empty"),
        ({"accumulate": True}, "kind 'arm'"),
        ({"kind": "arm"}, "x y z roll pitch yaw gripper"),
        ({"num_frames": 1}, "at least 2"),
        ({"start_interval": 0}, "at least 1"),
        ({"height": 3}, "both or none"),
    ],
)
def test_wrong_config_is_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    arguments: dict[str, Any] = {"root": tmp_path, "kind": "direct", "action_scale": (1.0, 1.0)}
    with pytest.raises(ValueError, match=message):
        DataConfig(**(arguments | changes))


def test_empty_split_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"annotation/train: no such directory"):
        WindowDataset(plane(tmp_path))
    annotate(tmp_path, "train", ".hidden", {})
    with pytest.raises(ValueError, match=r"annotation/train: holds no annotations"):
        WindowDataset(plane(tmp_path))
