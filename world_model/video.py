"""Videos on disk: uint8 frames in and out, exact where they are data, playable where shown.

Dimension key: T frames, H height, W width. H.264 in RGB at quantiser 0 loses nothing, but does not
play in browsers; videos for people are yuv420p, which does and is not exact.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from world_model.whole_files import whole_file

# Frames from one key frame to the next: 10 seeks quickly and costs little.
KEYFRAME_INTERVAL = 10
# x264's macroblock tree otherwise rounds as the processor's instructions do, and with AVX-512 it
# reads memory that was never written: the same frames then gave files .001 dB apart.
SAME_EVERYWHERE = "cpu-independent=1"


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
    quality = {"qp": "0"} if lossless else {"crf": "18", "x264-params": SAME_EVERYWHERE}
    quality["g"] = str(KEYFRAME_INTERVAL)
    rate = Fraction(fps).limit_denominator(1000)
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
            raise ValueError(f"{path}: has no frame rate, so no frame can be told by its number")
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


def frames_from(path: str | Path, seconds: float) -> Iterator[tuple[float, np.ndarray]]:
    """Frames of a video from a time on, in order: (time in seconds, uint8 (H, W, 3)).

    Begins at or before `seconds`, at a key frame; whatever the frame rate, constant or not.

    Raises:
        ValueError: As `read_video`.
    """
    with _open_video(path) as (container, stream):
        assert stream.time_base is not None, f"{path}: a stream without a time base"
        first = stream.start_time or 0
        container.seek(first + int(seconds / stream.time_base), stream=stream, backward=True)
        for frame in container.decode(stream):
            assert frame.pts is not None, f"{path}: a frame without a time"
            yield float((frame.pts - first) * stream.time_base), _to_array(path, frame)


def _to_array(path: str | Path, frame: av.VideoFrame) -> np.ndarray:
    if frame.is_corrupt:
        raise ValueError(f"{path}: a frame is damaged; record or copy the file again")
    # Lossless videos decode to RGB planes; stacking them is four times as fast as a conversion.
    return frame.to_ndarray() if frame.format.name == "gbrp" else frame.to_ndarray(format="rgb24")


@contextmanager
def _open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its first video stream; what FFmpeg refuses in it becomes a ValueError."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such video file")
    try:
        with av.open(str(path), options={"err_detect": "explode"}) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: no video stream in this file")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            yield container, stream
    except FFmpegError as error:
        raise ValueError(
            f"{path}: cannot be decoded ({error.strerror}): it is truncated or no video"
        ) from error
