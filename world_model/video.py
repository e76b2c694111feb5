"""Videos on disk: uint8 frames in and out, exact where they are data, playable where shown.

Dimension key: T frames, H height, W width. H.264 in RGB at quantiser 0 loses nothing, but does not
play in browsers; videos for people are yuv420p, which does and is not exact.

PyAV is loaded where a video is read or written: nothing else needs it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

from world_model.io.whole_files import whole_file

# Frames from one key frame to the next: 10 seeks quickly and costs little.
KEYFRAME_INTERVAL = 10
# Of camera pictures this preset takes 3 % more space than the usual one and 0.43 of its time.
LOSSLESS = {"qp": "0", "preset": "veryfast"}
# x264's macroblock tree otherwise rounds as the processor's instructions do, and with AVX-512 it
# reads memory that was never written: the same frames then gave files 0.001 dB apart.
SAME_EVERYWHERE = "cpu-independent=1"
LOSSY = {"crf": "18", "x264-params": SAME_EVERYWHERE}
# Of a frame: a damaged file may announce a gigabyte of them.
MOST_PIXELS = 2**26
# Where frames are wanted one after another, some are decoded ahead.
DECODING_THREADS = min(4, os.cpu_count() or 1)


def write_video(path: str | Path, frames: np.ndarray, fps: float, *, lossless: bool = True) -> None:
    """Write frames as an mp4, all of it or none.

    Args:
        path: File to write; it appears only once it is complete.
        frames: uint8 (T, H, W, 3), RGB, T at least 1.
        fps: Frames a second.
        lossless: Exact (libx264rgb), or for browsers (yuv420p; an odd
            height or width is made even by repeating the last row or column).
    """
    with video_writer(path, fps, lossless=lossless) as write:
        write(frames)


@contextmanager
def video_writer(
    path: str | Path, fps: float, *, lossless: bool = True
) -> Iterator[Callable[[np.ndarray], None]]:
    """As `write_video`, for frames that come in parts: yields a function that appends some.

    Example:
        with video_writer("long.mp4", fps=10) as write:
            for frames in parts:
                write(frames)  # uint8 (T, H, W, 3)
    """
    with (
        whole_file(path) as temporary,
        video_encoder(temporary, fps, lossless=lossless, name=path) as write,
    ):
        yield write


@contextmanager
def video_encoder(
    path: Path, fps: float, *, lossless: bool = True, name: str | Path | None = None
) -> Iterator[Callable[[np.ndarray], None]]:
    """As `video_writer`, into a file that is there half written until the end: a temporary one.

    Args:
        path, fps, lossless: See there.
        name: What errors call the file.
    """
    name = name or path
    if not fps > 0:
        raise ValueError(f"{name}: fps is {fps}, expected a positive number")
    codec = "libx264rgb" if lossless else "libx264"
    quality = {"g": str(KEYFRAME_INTERVAL)} | (LOSSLESS if lossless else LOSSY)
    rate = Fraction(fps).limit_denominator(1000)
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate, options=quality)
        stream.pix_fmt = "rgb24" if lossless else "yuv420p"
        stream.codec_context.thread_count = 1
        size: tuple[int, ...] = ()

        def write(frames: np.ndarray) -> None:
            nonlocal size
            frames = np.asarray(frames)
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
                raise ValueError(
                    f"{name}: frames are {frames.dtype} {frames.shape}, expected uint8 (T, H, W, 3)"
                )
            if not lossless:
                padding = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
                frames = np.pad(frames, padding, mode="edge")
            if not size:
                size = frames.shape[1:3]
                stream.height, stream.width = size
            if frames.shape[1:3] != size:
                raise ValueError(
                    f"{name}: frames are {frames.shape[1:3]}, those before were {size}"
                )
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))

        yield write
        if not size:
            raise ValueError(f"{name}: no frames were given, expected at least one")
        container.mux(stream.encode())


def read_video(path: str | Path) -> np.ndarray:
    """All frames of a video, uint8 (T, H, W, 3), RGB.

    Raises:
        ValueError: The file is missing, is no video, holds fewer frames than it says, or is damaged
            as far as the decoder notices (H.264 has no checksums).
    """
    with _open_video(path) as (container, stream):
        frames = [_to_array(path, frame) for frame in container.decode(stream)]
        if not frames or len(frames) < stream.frames:
            raise ValueError(
                f"{path}: {len(frames)} frames could be read, the file announces {stream.frames}: "
                "it is damaged; record or copy it again"
            )
    return np.stack(frames)


def read_frames(path: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Single frames of a video with a constant frame rate, uint8 (len(indices), H, W, 3), exact.

    Seeks to the keyframe before each run of indices, so a few frames of a long video are quick.

    Raises:
        ValueError: As `read_video`, or an index that the video does not have.
    """
    found: dict[int, np.ndarray] = {}
    wanted = sorted(set(indices))
    with _open_video(path) as (container, stream):
        if stream.average_rate is None or stream.time_base is None:
            raise ValueError(f"{path}: has no frame rate, so frames cannot be found by number")
        if not wanted or wanted[0] < 0 or wanted[-1] >= stream.frames:
            raise ValueError(
                f"{path}: frames {wanted} asked for, expected some of 0 to {stream.frames - 1}"
            )
        tick = 1 / (stream.average_rate * stream.time_base)  # time units of a frame
        first = stream.start_time or 0
        while wanted:
            last = wanted[0]
            container.seek(first + round(last * tick), stream=stream, backward=True)
            for frame in container.decode(stream):
                assert frame.pts is not None, f"{path}: a frame without a time"
                position = round((frame.pts - first) / tick)
                if wanted and position == wanted[0]:
                    found[position] = _to_array(path, frame)
                    last = wanted.pop(0)
                # The next frame wanted is decoded on to if it is near, else it is sought.
                if not wanted or wanted[0] > last + KEYFRAME_INTERVAL:
                    break
            if last not in found:
                raise ValueError(f"{path}: frame {last} could not be read: the file is damaged")
    return np.stack([found[index] for index in indices])


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """When each frame of a video is shown, in order; known without decoding any."""

    pts: np.ndarray
    """int64 (T,), in units of `time_base` seconds"""
    time_base: Fraction
    size: tuple[int, int]
    """Height and width"""

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def seconds(self) -> np.ndarray:
        """float64 (T,), from the first frame's time on."""
        return (self.pts - self.pts[0]) * float(self.time_base)


def frame_times(path: str | Path) -> FrameTimes:
    """When each frame of a video is shown, whatever its frame rate, constant or not.

    Raises:
        ValueError: As `read_video`, or the file holds no frames, or some without a time.
    """
    with _open_video(path) as (container, stream):
        assert stream.time_base is not None, f"{path}: a stream without a time base"
        # Of one packet after another: all of a video's together may be gigabytes.
        found = [one.pts for one in container.demux(stream) if one.size and not one.is_discard]
        times = [pts for pts in found if pts is not None]
        if not found or len(times) < len(found):
            raise ValueError(
                f"{path}: {len(found)} frames, {len(found) - len(times)} of them without a time; "
                "expected at least one and none without; copy the file again"
            )
        return FrameTimes(
            np.sort(np.array(times, np.int64)), stream.time_base, (stream.height, stream.width)
        )


def frames_by_number(
    path: str | Path, times: FrameTimes, first: int, count: int, step: int = 1
) -> Iterator[np.ndarray]:
    """Frames first, first + step, ... of a video, `count` of them, uint8 (H, W, 3), one at a time.

    Args:
        path: The video.
        times: Of its frames, as `frame_times` gives them: frames are found by number, not by time.
        first, count, step: Which frames.

    Raises:
        ValueError: As `read_video`, or the video does not have these frames.
    """
    last = first + (count - 1) * step
    if count < 1 or step < 1 or first < 0 or last >= len(times):
        raise ValueError(
            f"{path}: frames {first} to {last} asked for, expected some of 0 to {len(times) - 1}"
        )
    with _open_video(path, DECODING_THREADS) as (container, stream):
        # Frames before an open key frame may be lost when it is sought; the first one's never are.
        for sought in (first, 0):
            container.seek(int(times.pts[sought]), stream=stream, backward=True)
            decoded = container.decode(stream)
            head = next(decoded, None)
            if head is not None and head.pts is not None and head.pts <= times.pts[first]:
                break
        else:
            raise ValueError(f"{path}: frame {first} could not be read: the file is damaged")
        wanted = first
        for frame in chain((head,), decoded):
            if frame.pts is None or frame.pts < times.pts[wanted]:
                continue
            if frame.pts != times.pts[wanted]:
                break
            if (wanted - first) % step == 0:
                yield _to_array(path, frame)
            if wanted == last:
                return
            wanted += 1
        raise ValueError(f"{path}: frame {wanted} could not be read: the file is damaged")


def _to_array(path: str | Path, frame: "av.VideoFrame") -> np.ndarray:
    if frame.is_corrupt:
        raise ValueError(f"{path}: a frame is damaged; record or copy the file again")
    # Lossless videos decode to RGB planes; stacking them is four times as fast as a conversion.
    return frame.to_ndarray() if frame.format.name == "gbrp" else frame.to_ndarray(format="rgb24")


@contextmanager
def _open_video(
    path: str | Path, threads: int = 1
) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """A file and its first video stream; what FFmpeg refuses in it becomes a ValueError."""
    import av
    from av.error import FFmpegError

    if not os.path.isfile(path):  # Path's own raises where a name is too long
        raise ValueError(f"{path}: no such video file")
    try:
        # Texts about the video, damaged or not, are of no interest.
        with av.open(
            str(path), options={"err_detect": "explode"}, metadata_errors="ignore"
        ) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: no video stream in this file")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ValueError(f"{path}: its video is in no form that FFmpeg knows")
            height, width = stream.codec_context.height, stream.codec_context.width
            if not 0 < height * width <= MOST_PIXELS:
                raise ValueError(f"{path}: announces frames of {height} x {width} pixels")
            # Frames within a damaged video may announce another size.
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            stream.codec_context.thread_count = threads
            if threads > 1:
                stream.thread_type = "AUTO"
            yield container, stream
    except FFmpegError as error:
        raise ValueError(
            f"{path}: cannot be decoded ({error.strerror}): it is truncated or no video"
        ) from error
