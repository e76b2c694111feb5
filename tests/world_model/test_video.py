"""Videos keep frames exactly, appear whole or not at all, and say what is wrong with a bad file."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from world_model.video import (
    frame_times,
    frames_by_number,
    read_frames,
    read_video,
    video_writer,
    write_video,
)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (25, 18, 23, 3), dtype=np.uint8)


def test_lossless_video_gives_back_every_pixel(tmp_path: Path, frames: np.ndarray):
    write_video(tmp_path / "noise.mp4", frames, 10)
    np.testing.assert_array_equal(read_video(tmp_path / "noise.mp4"), frames)


@pytest.mark.parametrize("fps", [10, 12.5, 3])
def test_single_frames_are_those_of_the_whole_video(tmp_path: Path, frames: np.ndarray, fps: float):
    write_video(tmp_path / "noise.mp4", frames, fps)
    indices = [24, 0, 11, 9, 10, 11]
    np.testing.assert_array_equal(read_frames(tmp_path / "noise.mp4", indices), frames[indices])


def test_video_for_browsers_has_even_sides_and_looks_the_same(tmp_path: Path):
    ramp = np.arange(0, 230, 10, dtype=np.uint8)[None, None, :, None]
    frames = np.broadcast_to(ramp, (6, 17, 23, 3)).copy()
    write_video(tmp_path / "shown.mp4", frames, 10, lossless=False)
    shown = read_video(tmp_path / "shown.mp4")
    assert shown.shape == (6, 18, 24, 3)
    assert np.abs(shown[:, :17, :23].astype(int) - frames).mean() < 8


def test_nothing_is_left_of_a_video_that_failed(tmp_path: Path, frames: np.ndarray):
    with pytest.raises(OSError):
        write_video(tmp_path / "absent" / "noise.mp4", frames, 10)
    with pytest.raises(ValueError, match=r"uint8 \(T, H, W, 3\)"):
        write_video(tmp_path / "noise.mp4", frames.astype(np.float32), 10)
    assert list(tmp_path.iterdir()) == []


def test_missing_video_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"absent\.mp4: no such video file"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(ValueError, match="no such video file"):
        read_video(tmp_path / ("long" * 100))  # longer than names of files can be


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_truncated_video_is_refused_and_named(tmp_path: Path, frames: np.ndarray, kept: float):
    path = tmp_path / "cut.mp4"
    write_video(path, frames, 10)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ValueError, match=r"cut\.mp4: .*truncated"):
        read_video(path)


def test_damaged_frame_is_refused_instead_of_guessed(tmp_path: Path):
    path = tmp_path / "holed.mp4"
    y, x, t = np.meshgrid(np.arange(64), np.arange(64), np.arange(25), indexing="ij")
    waves = 127 + 120 * np.sin((x + 2 * t) / 9) * np.cos((y - t) / 7)
    write_video(path, np.stack([waves.astype(np.uint8).transpose(2, 0, 1)] * 3, axis=-1), 10)
    assert len(read_video(path)) == 25
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"holed\.mp4"):
        read_video(path)


def test_frame_that_the_video_does_not_have_is_refused(tmp_path: Path, frames: np.ndarray):
    write_video(tmp_path / "noise.mp4", frames, 10)
    with pytest.raises(ValueError, match="expected some of 0 to 24"):
        read_frames(tmp_path / "noise.mp4", [3, 25])


@pytest.mark.parametrize("lossless", [True, False])
def test_video_written_in_parts_is_that_written_at_once(
    tmp_path: Path, frames: np.ndarray, lossless: bool
):
    write_video(tmp_path / "once.mp4", frames, 10, lossless=lossless)
    with video_writer(tmp_path / "parts.mp4", 10, lossless=lossless) as write:
        for begin in (0, 7, 8):
            write(frames[begin : {0: 7, 7: 8, 8: 25}[begin]])
    np.testing.assert_array_equal(
        read_video(tmp_path / "parts.mp4"), read_video(tmp_path / "once.mp4")
    )


def test_parts_of_another_size_leave_no_video(tmp_path: Path, frames: np.ndarray):
    with (
        pytest.raises(ValueError, match=r"parts\.mp4: frames are \(9, 23\), those before were"),
        video_writer(tmp_path / "parts.mp4", 10) as write,
    ):
        any(write(part) for part in (frames, frames[:, ::2]))
    with (
        pytest.raises(ValueError, match="at least one"),
        video_writer(tmp_path / "parts.mp4", 10),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "count", "step"), [(0, 25, 1), (7, 3, 1), (13, 4, 3), (24, 1, 5)]
)
@pytest.mark.parametrize("lossless", [True, False])
def test_frames_are_told_by_their_number(
    tmp_path: Path, frames: np.ndarray, first: int, count: int, step: int, lossless: bool
):
    path = tmp_path / "noise.mp4"
    write_video(path, frames, 12.5, lossless=lossless)
    times = frame_times(path)
    np.testing.assert_allclose(times.seconds, np.arange(25) / 12.5, atol=1e-4)
    found = np.stack(list(frames_by_number(path, times, first, count, step)))
    np.testing.assert_array_equal(found, read_video(path)[first::step][:count])


def test_frames_are_counted_whatever_their_times(tmp_path: Path, frames: np.ndarray):
    """At uneven times, with frames that refer to later ones and key frames far between."""
    path = tmp_path / "uneven.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "3", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 24, 18, "yuv420p"
        for i, frame in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(frame[:, :22], "rgb24").reformat(24, 18, "yuv420p")
            shown.pts, shown.time_base = i * 33 + 200 * (i > 9), Fraction(1, 1000)
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    times, whole = frame_times(path), read_video(path)
    assert len(times) == 25 and np.diff(times.seconds).argmax() == 9
    for first in range(25):
        (found,) = frames_by_number(path, times, first, 1)
        np.testing.assert_array_equal(found, whole[first])


def test_frames_that_are_not_there_are_refused(tmp_path: Path, frames: np.ndarray):
    path = tmp_path / "noise.mp4"
    write_video(path, frames, 10)
    times = frame_times(path)
    for first, count, step in ((0, 26, 1), (24, 2, 1), (0, 9, 4), (-1, 2, 1)):
        with pytest.raises(ValueError, match=r"noise\.mp4: frames .* expected some of 0 to 24"):
            list(frames_by_number(path, times, first, count, step))
    write_video(path, frames[:20], 10)  # changed since it was counted
    with pytest.raises(ValueError, match="could not be read"):
        list(frames_by_number(path, times, 0, 25))
