"""Where evaluation writes, as the reference lays it out, and how: each file whole or absent.

    OUT/checkpoints/NAME/{split}_sample_videos/EPISODE_CAMERA_BEGIN.mp4      short, predicted
                         {split}_sample_frames/EPISODE_CAMERA_BEGIN/000001.png ...
                         {split}_sample_latents/EPISODE_CAMERA_BEGIN.pt
                         {split}_episode_videos/EPISODE.mp4                  long, predicted
                         {split}_episode_frames/EPISODE/000001.png ...       (ours: exact)
                         {split}_episode_latent_videos/EPISODE.pt
    TRUTH/evaluation_videos/{split}_sample_videos/...mp4                     short, true
    TRUTH/evaluation_latent_videos/{split}_sample_latent_videos/...pt
    TRUTH/evaluation_latent_videos/{split}_episode_latent_videos/...pt       (ours)

Frame 0 is given, not predicted: videos of windows and all latents hold it, videos of episodes and
folders of frames do not. True videos of whole episodes are the dataset's own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.irasim.config import REFERENCE_FPS
from world_model.io.whole_files import whole_file, whole_folder
from world_model.video import SAME_EVERYWHERE

Protocol = Literal["short", "long"]
# What imageio does when, as in the reference, it is given a rate alone: x264's own quality, sides
# enlarged to multiples of 16.
REFERENCE_CRF, BLOCK = 23, 16


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Folders of one model under one protocol."""

    out: Path
    truth: Path
    name: str
    split: str
    protocol: Protocol

    @property
    def base(self) -> Path:
        """The model's folder."""
        return self.out / "checkpoints" / self.name

    @property
    def report(self) -> Path:
        return self.base / f"{self.protocol}.json"

    @property
    def settings(self) -> Path:
        """What the results beside it were made with."""
        return self.base / f"{self.protocol}_config.json"

    def video(self, item: str) -> Path:
        return self._predicted("videos") / f"{item}.mp4"

    def frames(self, item: str) -> Path:
        return self._predicted("frames") / item

    def latents(self, item: str) -> Path:
        name = "latents" if self.protocol == "short" else "latent_videos"
        return self._predicted(name) / f"{item}.pt"

    def true_video(self, item: str) -> Path:
        """Of a window."""
        return self.truth / "evaluation_videos" / f"{self.split}_sample_videos" / f"{item}.mp4"

    def true_latents(self, item: str) -> Path:
        unit = "sample" if self.protocol == "short" else "episode"
        folder = self.truth / "evaluation_latent_videos" / f"{self.split}_{unit}_latent_videos"
        return folder / f"{item}.pt"

    def _predicted(self, what: str) -> Path:
        unit = "sample" if self.protocol == "short" else "episode"
        return self.base / f"{self.split}_{unit}_{what}"


def write_latents(path: Path, latents: Tensor) -> None:
    """A tensor (T, C, h, w) alone, as the reference saves latents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Given an open file, torch does not write its name into it.
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.save(latents.float().cpu().clone(), file)


def read_latents(path: Path) -> Tensor:
    """What `write_latents` wrote."""
    return torch.load(path, map_location="cpu", weights_only=True)


def write_frames(folder: Path, frames: np.ndarray) -> None:
    """PNG files 000001.png, ... of uint8 (T, H, W, 3)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as temporary:
        for number, frame in enumerate(frames, 1):
            if not cv2.imwrite(str(temporary / f"{number:06d}.png"), frame[..., ::-1]):
                raise ValueError(
                    f"{folder}: frame {number} could not be written; is the disk full?"
                )


def write_reference_video(path: Path, frames: np.ndarray) -> None:
    """H.264 as the reference writes it through imageio: yuv420p, CRF 23, 4 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = (-(-side // BLOCK) * BLOCK for side in frames.shape[1:3])
    with whole_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        options = {"crf": str(REFERENCE_CRF), "x264-params": SAME_EVERYWHERE}
        stream = container.add_stream("libx264", rate=REFERENCE_FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.thread_count = 1  # the same file on any number of cores
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(width, height, "yuv420p", interpolation="BICUBIC")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
