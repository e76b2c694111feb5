"""Published data: time contract, windows, cameras, forms of latents, index."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.published_data import (
    arm,
    make_frames,
    make_latents,
    plane,
    positions,
    save,
    write_arm,
    write_plane,
)
from training.data.episodes import Episode, write_episode
from training.data.irasim import index
from training.data.irasim.arm import arm_actions
from training.data.irasim.datasets import PRESETS, DataConfig, bridge, languagetable
from training.data.irasim.windows import WindowDataset
from world_model.video import read_frames, read_video, write_video

EXAMPLE = Path(__file__).parents[5] / "shared" / "irasim_example" / "languagetable"


def levels(content: torch.Tensor) -> np.ndarray:
    """What the frames or latents of `published_data` show: (T,)."""
    flat = content.flatten(1).double()
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].numpy()


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the published example is not here")
@pytest.mark.parametrize("source", ["video", "latents"])
def test_published_example_loads(source: str):
    dataset = WindowDataset(languagetable(EXAMPLE, "test", source=source))
    episode = dataset.read("example")
    shape = (18, 288, 512, 3) if source == "video" else (18, 4, 36, 64)
    assert episode.content.shape == shape
    assert episode.actions.shape == (17, 2)
    recorded = json.loads((EXAMPLE / "annotation/test/example.json").read_text())["actions"]
    np.testing.assert_allclose(episode.actions, 20 * np.array(recorded), rtol=1e-6)
    assert len(dataset) == 1  # as many as the reference counts
    window = dataset[0]
    torch.testing.assert_close(window.content, episode.content[:16], rtol=0, atol=0)
    torch.testing.assert_close(window.actions, episode.actions[:15], rtol=0, atol=0)


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the published example is not here")
def test_frames_sought_in_a_published_video_are_those_of_the_whole():
    path = EXAMPLE / "videos/test/example.mp4"
    np.testing.assert_array_equal(read_frames(path, [17, 3, 9]), read_video(path)[[17, 3, 9]])


@pytest.mark.parametrize("source", ["video", "latents"])
@pytest.mark.parametrize(("make", "write"), [(plane, write_plane), (arm, write_arm)])
def test_action_t_leads_from_frame_t_to_frame_t_plus_1(
    tmp_path: Path, make: Callable[..., DataConfig], write: Callable[..., Path], source: str
):
    write(tmp_path, num_frames=13)
    dataset = WindowDataset(make(tmp_path, source=source))
    assert len(dataset) == 9
    for window in dataset:  # type: ignore[attr-defined]
        shown = levels(window.content)
        np.testing.assert_array_equal(shown, positions(13)[window.begin : window.begin + 5])
        np.testing.assert_allclose(np.diff(shown), window.actions[:, 0], atol=1e-6)
        # A shift by one step would not pass: neighbouring steps differ.
        assert (np.diff(shown)[1:] != window.actions[:-1, 0].numpy()).all()


def test_gripper_is_the_one_that_an_action_leads_to(tmp_path: Path):
    write_arm(tmp_path)
    window = WindowDataset(arm(tmp_path))[3]
    np.testing.assert_allclose(window.actions[:, 6], [0.04, 0.05, 0.06, 0.07], rtol=1e-6)


@pytest.mark.parametrize(
    ("interval", "count_last_frame", "begins"),
    [
        (1, True, [0, 1, 2, 3]),
        (1, False, [0, 1, 2]),
        (3, True, [0, 3]),
        (3, False, [0]),
        (16, True, [0]),
    ],
)
def test_windows_begin_every_interval(
    tmp_path: Path, interval: int, count_last_frame: bool, begins: list[int]
):
    write_plane(tmp_path, "b", 8)
    write_plane(tmp_path, "a", 3)  # too short for a window
    write_plane(tmp_path, "c", 8)
    config = plane(tmp_path, start_interval=interval, count_last_frame=count_last_frame)
    dataset = WindowDataset(config)
    found = [(dataset[i].episode_id, dataset[i].begin) for i in range(len(dataset))]
    assert found == [(name, begin) for name in "bc" for begin in begins]
    assert dataset.episodes == ["a", "b", "c"]
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("accumulate", [False, True])
def test_arm_actions_come_from_the_states_of_the_window(tmp_path: Path, accumulate: bool):
    rng = np.random.default_rng(0)
    path = write_arm(tmp_path, num_frames=9)
    annotation = json.loads(path.read_text())
    states = rng.normal(size=(9, 7))
    annotation["state"] = states.tolist()
    path.write_text(json.dumps(annotation))
    gripper = np.array(annotation["continuous_gripper_state"])
    scale = (20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 1.0)
    dataset = WindowDataset(arm(tmp_path, accumulate=accumulate, action_scale=scale))
    expected = arm_actions(states[2:7], gripper[2:7], accumulate) * scale
    np.testing.assert_allclose(dataset[2].actions, expected, rtol=1e-6, atol=1e-6)
    whole = arm_actions(states, gripper, accumulate) * scale
    np.testing.assert_allclose(dataset.read("7").actions, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("source", ["video", "latents"])
def test_camera_is_chosen(tmp_path: Path, source: str):
    write_arm(tmp_path, cameras=2)
    for camera in (0, 1):
        window = WindowDataset(arm(tmp_path, source=source, camera=camera))[0]
        np.testing.assert_array_equal(levels(window.content), positions(5) + 10 * camera)
    with pytest.raises(ValueError, match=r"7\.json: camera 2 .* it has \[0, 1\]"):
        WindowDataset(arm(tmp_path, source=source, camera=2))


def test_latents_are_read_in_half_precision_and_alone(tmp_path: Path):
    write_plane(tmp_path, num_frames=9)
    values = make_latents(positions(9))
    save(tmp_path / "latent_videos/train/a.pt", values.half())
    window = WindowDataset(plane(tmp_path, source="latents"))[1]
    assert window.content.dtype == torch.float32
    torch.testing.assert_close(window.content, values[1:6], rtol=0, atol=0)


def test_frames_are_resized(tmp_path: Path):
    path = write_plane(tmp_path)
    ramp = np.broadcast_to(np.arange(24, dtype=np.uint8)[None, None, :, None] * 10, (20, 16, 24, 3))
    write_video(tmp_path / "videos/train/a.mp4", ramp.copy(), 10)
    window = WindowDataset(plane(tmp_path, height=8, width=12))[0]
    assert path.exists() and window.content.shape == (5, 8, 12, 3)
    # Halved, a pixel is the mean of two with their neighbours: (10 (2 k) + 10 (2 k + 1)) / 2.
    np.testing.assert_array_equal(window.content[0, 0, 1:-1, 0], 20 * np.arange(1, 11) + 5)


def test_frames_past_the_last_action_are_not_used(tmp_path: Path):
    write_plane(tmp_path, num_frames=8)
    write_video(tmp_path / "videos/train/a.mp4", make_frames(positions(12)), 10)
    assert len(WindowDataset(plane(tmp_path)).read("a").content) == 8


def test_episodes_recorded_here_are_read_too(tmp_path: Path):
    values = positions(7)
    episode = Episode(
        episode_id="000000",
        frames=make_frames(values),
        actions=np.diff(values)[:, None].repeat(2, 1).astype(np.float32),
        rewards=np.zeros(6),
        terminated=np.zeros(6, bool),
        seed=0,
        env_id="x",
        policy="random",
        fps=10.0,
    )
    write_episode(tmp_path, "train", episode)
    found = WindowDataset(plane(tmp_path)).read("000000")
    np.testing.assert_array_equal(found.content, episode.frames)
    np.testing.assert_array_equal(found.actions, episode.actions)
    assert found.fps == 10.0


def test_windows_are_collated(tmp_path: Path):
    write_plane(tmp_path, num_frames=12)
    loader = DataLoader(WindowDataset(plane(tmp_path)), batch_size=4)
    batch = next(iter(loader))
    assert batch.content.shape == (4, 5, 16, 24, 3) and batch.actions.shape == (4, 4, 2)
    assert batch.begin.tolist() == [0, 1, 2, 3] and list(batch.episode_id) == ["a"] * 4


def test_small_split_leaves_nothing_behind(tmp_path: Path):
    write_plane(tmp_path)
    WindowDataset(plane(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "annotation",
        "latent_videos",
        "videos",
    ]


def test_index_is_kept_and_only_what_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index, "KEPT_FROM", 1)
    read: list[str] = []
    original = index.read_json
    monkeypatch.setattr(index, "read_json", lambda path: read.append(path.stem) or original(path))

    def start() -> tuple[WindowDataset, list[str]]:
        read.clear()
        return WindowDataset(plane(tmp_path, broken="skip")), sorted(read)

    for name in "abc":
        write_plane(tmp_path, name, 8)
    assert start()[1] == ["a", "b", "c"]
    dataset, again = start()
    assert again == [] and len(dataset) == 12
    write_plane(tmp_path, "b", 10)
    dataset, again = start()
    assert again == ["b"] and len(dataset) == 14
    (tmp_path / "videos/train/c.mp4").unlink()
    dataset, again = start()
    assert again == ["c"] and dataset.episodes == ["a", "b"]
    assert start()[1] == []
    write_plane(tmp_path, "c", 8)
    (tmp_path / "annotation/train/a.json").unlink()
    dataset, again = start()
    assert again == ["c"] and dataset.episodes == ["b", "c"]
    kept = next((tmp_path / ".index").iterdir())
    kept.write_text(kept.read_text()[:50])
    assert start()[1] == ["b", "c"]


def test_presets_are_the_published_settings(tmp_path: Path):
    assert set(PRESETS) == {"rt1", "bridge", "languagetable"}
    train, test = bridge(tmp_path), bridge(tmp_path, "test", num_frames=4)
    assert train.size == (256, 320) and train.action_scale == (20.0,) * 6 + (1.0,)
    assert (train.start_interval, test.start_interval, test.num_frames) == (1, 16, 4)
    table = languagetable(tmp_path, "val", source="video")
    assert table.size == (288, 512) and table.action_scale == (20.0, 20.0)
    assert table.source == "video" and not table.count_last_frame
