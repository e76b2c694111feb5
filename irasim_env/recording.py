"""Recording what a window shows, as an mp4."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from world_model.io.whole_files import write_whole
from world_model.video import write_video


class Recording:
    """Frames on their way into a video.

    They wait in a temporary file beside the video: a window's frame is a megabyte. Where the window
    changed its size, smaller frames are set into the top left corner of the largest.

    Args:
        path: The mp4 to write; `save` writes it.
        fps: Frames a second.
        about: How it is made, for a JSON beside the video, of the same name; None writes none.

    Raises:
        ValueError: the folder of `path` does not exist.
    """

    def __init__(self, path: Path, fps: float, about: dict[str, Any] | None = None):
        if not path.absolute().parent.is_dir():
            raise ValueError(f"cannot record {path}: there is no folder {path.parent}; make it")
        self.path = path
        self.fps = fps
        self.about = about
        self._sizes: list[tuple[int, int]] = []
        self._file = tempfile.TemporaryFile(dir=path.absolute().parent)  # noqa: SIM115

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, frame: np.ndarray) -> None:
        """Add a frame, uint8 (H, W, 3)."""
        self._sizes.append(frame.shape[:2])
        self._file.write(np.ascontiguousarray(frame).data)

    def discard(self) -> None:
        """Forget the frames; no video is written."""
        self._file.close()

    def save(self) -> None:
        """Write the video and what there is to say about it, and forget the frames."""
        assert self._sizes, "a recording needs at least one frame"
        height, width = np.max(self._sizes, axis=0)
        self._file.flush()
        if len(set(self._sizes)) == 1:
            frames = np.memmap(self._file, np.uint8, "r", shape=(len(self), height, width, 3))
            write_video(self.path, frames, self.fps, lossless=False)
        else:
            with tempfile.TemporaryFile(dir=self.path.absolute().parent) as padded:
                shape = (len(self), height, width, 3)
                frames = np.memmap(padded, np.uint8, "w+", shape=shape)
                self._file.seek(0)
                for frame, (h, w) in zip(frames, self._sizes, strict=True):
                    pixels = np.frombuffer(self._file.read(h * w * 3), np.uint8)
                    frame[:h, :w] = pixels.reshape(h, w, 3)
                write_video(self.path, frames, self.fps, lossless=False)
        self._file.close()
        if self.about is not None:
            note = self.path.with_suffix(".json")
            content = {**self.about, "video": {"frames": len(self), "fps": self.fps}}
            write_whole(note, json.dumps(content, indent=2) + "\n")
