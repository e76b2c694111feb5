"""Videos and encoded latents of published episodes: how many frames, and those asked for.

Dimension key: T frames, H W, C = 4 latent channels, h w = H / 8, W / 8.
"""

import os
from pathlib import Path
from tarfile import is_tarfile
from typing import Literal
from zipfile import is_zipfile

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.error import FFmpegError
from torch import Tensor

from world_model.io.sound_weights import check_stored
from world_model.io.whole_files import whole_file
from world_model.video import read_frames, read_video

# Key of the latents in Language-Table's files; RT-1's and Bridge's hold the tensor alone.
LATENTS_KEY = "obs"


def count_frames(path: Path, source: Literal["video", "latents"]) -> int:
    """How many frames a file holds, without decoding them."""
    if source == "latents":
        return len(_load_latents(path))
    if not os.path.isfile(path):  # Path's own raises where a name is too long
        raise ValueError(f"{path}: no such video file")
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise ValueError(f"{path}: no video stream in this file")
            return container.streams.video[0].frames
    except FFmpegError as error:
        raise ValueError(
            f"{path}: cannot be read as a video ({error.strerror}); restore it"
        ) from error


def read_content(
    path: Path,
    source: Literal["video", "latents"],
    begin: int,
    num_frames: int,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Frames [begin, begin + num_frames) of a file.

    Returns:
        source latents: float32 (num_frames, 4, h, w), as stored: the published ones are already
        times the VAE's scaling factor, and so are those of `irasim encode`.
        source video: uint8 (num_frames, H, W, 3), resized to `size` (height, width) if given.
    """
    if source == "latents":
        latents = _load_latents(path)
        if begin + num_frames > len(latents):
            raise ValueError(
                f"{path}: frames {begin} to {begin + num_frames - 1} asked for, it has "
                f"{len(latents)}"
            )
        return latents[begin : begin + num_frames].to(torch.float32, copy=True)
    frames = torch.from_numpy(read_frames(path, range(begin, begin + num_frames)))
    return frames if size is None else resize_frames(frames, size)


def resize_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (T, H, W, 3) to (T, *size, 3): bilinear, antialiased, as the reference resizes."""
    if tuple(frames.shape[1:3]) == size:
        return frames
    pixels = frames.permute(0, 3, 1, 2).float()  # (T, 3, H, W)
    pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def whole_video(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """All frames of a video, uint8 (T, H, W, 3)."""
    frames = torch.from_numpy(np.ascontiguousarray(read_video(path)))
    return frames if size is None else resize_frames(frames, size)


def write_latents(path: Path, latents: Tensor, *, with_key: bool) -> None:
    """Write latents float32 (T, C, h, w), all of them or none, in one of the published forms.

    Args:
        path: File to write.
        latents: Already times the VAE's scaling factor.
        with_key: Language-Table's form, a dict, or that of RT-1 and Bridge, the tensor alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Given an open file, torch does not write its name into it.
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.save({LATENTS_KEY: latents} if with_key else latents, file)


def _load_latents(path: Path) -> Tensor:
    """The file's latents (T, C, h, w), mapped where the file's form allows it."""
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file of latents")
    try:
        if is_tarfile(path):  # torch would unpack it into a temporary directory
            raise ValueError("it is an archive")
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # torch raises half a dozen kinds for damaged or unsafe files
        raise ValueError(
            f"{path}: cannot be read as latents ({error}); encode it again with `irasim encode`"
        ) from error
    latents = stored.get(LATENTS_KEY) if isinstance(stored, dict) else stored
    if not isinstance(latents, Tensor) or latents.ndim != 4 or not latents.is_floating_point():
        found = (
            f"{latents.dtype} {tuple(latents.shape)}"
            if isinstance(latents, Tensor)
            else f"a {type(stored).__name__}"
        )
        raise ValueError(
            f"{path}: holds {found}, expected float latents (T, C, h, w), alone or as "
            f"{LATENTS_KEY!r} of a dict"
        )
    check_stored(latents, f"{path}: its tensor")
    return latents.detach()
