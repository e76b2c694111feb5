"""Videos that metrics take: arrays, or folders of mp4 files or of PNG frames.

T frames, H height, W width; frames are uint8 RGB.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# A video's name, and how to read its frames, uint8 (T, H, W, 3).
Videos = dict[str, Callable[[], np.ndarray]]


def open_videos(source: Any) -> Videos:
    """Videos by name; each is read when it is called.

    Args:
        source: One video (T, H, W, 3), several (N, T, H, W, 3), a sequence or a mapping of videos,
            or a folder: of mp4 files, of folders of PNG frames, or of PNG frames (one video).
            Numpy arrays and torch tensors of uint8 alike. Frames are in the order of their names.

    Raises:
        ValueError: No videos, or arrays of another form.
    """
    if isinstance(source, str | Path):
        return _open_folder(Path(source))
    if isinstance(source, Mapping):
        named = {str(name): _checked(video, str(name)) for name, video in source.items()}
    else:
        videos = _split(source)
        width = len(str(len(videos)))
        named = {
            f"{index:0{width}}": _checked(video, f"video {index}")
            for index, video in enumerate(videos)
        }
    if not named:
        raise ValueError("no videos given, expected at least one, uint8 (T, H, W, 3)")
    return {name: partial(_same, video) for name, video in named.items()}


def pairs(pred: Any, true: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Predicted and true videos of the same name, one pair after the other.

    Raises:
        ValueError: One side has videos that the other has not, or a pair differs in shape.
    """
    predicted, truth = open_videos(pred), open_videos(true)
    if predicted.keys() != truth.keys():
        missing, extra = sorted(truth.keys() - predicted.keys()), predicted.keys() - truth.keys()
        raise ValueError(
            f"{len(missing)} true videos have no prediction ({', '.join(missing[:3])}), "
            f"{len(extra)} predictions no truth ({', '.join(sorted(extra)[:3])}): names must agree"
        )
    for name in sorted(predicted):
        a, b = predicted[name](), truth[name]()
        if a.shape != b.shape:
            raise ValueError(
                f"{name}: predicted {a.shape}, true {b.shape}; compare the same frames at one size"
            )
        yield name, a, b


def read_file(path: Path) -> np.ndarray:
    """All frames of an mp4, by OpenCV as the reference reads them."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        frames = []
        while (answer := capture.read())[0]:
            frames.append(answer[1][..., ::-1])
    finally:
        capture.release()
    if not frames:
        raise ValueError(f"{path}: no frame could be read: it is missing, damaged or no video")
    return np.ascontiguousarray(np.stack(frames))


def read_pictures(paths: Sequence[Path]) -> np.ndarray:
    """PNG frames of one size as a video."""
    import cv2

    frames = []
    for path in paths:
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if frame is None:
            raise ValueError(f"{path}: cannot be read as a picture; write it again")
        if frames and frame.shape != frames[0].shape:
            raise ValueError(f"{path}: is {frame.shape}, others in its folder {frames[0].shape}")
        frames.append(frame[..., ::-1])
    return np.ascontiguousarray(np.stack(frames))


def _open_folder(folder: Path) -> Videos:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of videos")
    files = sorted(folder.glob("[!.]*.mp4"))
    if files:
        return {path.stem: partial(read_file, path) for path in files}
    pictures = sorted(folder.glob("[!.]*.png"))
    if pictures:
        return {folder.name: partial(read_pictures, pictures)}
    nested = {
        sub.name: partial(read_pictures, found)
        for sub in sorted(folder.glob("[!.]*/"))
        if (found := sorted(sub.glob("[!.]*.png")))
    }
    if not nested:
        raise ValueError(f"{folder}: holds no mp4 files, PNG frames, or folders of PNG frames")
    return nested


def _split(source: Any) -> list[Any]:
    """Videos of an array or of a sequence."""
    dimensions = getattr(source, "ndim", None)
    if dimensions is None:
        return list(source)
    if dimensions not in (4, 5):
        raise ValueError(
            f"videos have shape {tuple(source.shape)}, expected (T, H, W, 3) or (N, T, H, W, 3)"
        )
    return [source] if dimensions == 4 else list(source)


def _checked(video: Any, name: str) -> np.ndarray:
    video = np.asarray(video.detach().cpu() if hasattr(video, "detach") else video)
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or not video.size:
        raise ValueError(
            f"{name} is {video.dtype} {video.shape}, expected uint8 (T, H, W, 3), nothing empty"
        )
    return video


def _same(video: np.ndarray) -> np.ndarray:
    return video
