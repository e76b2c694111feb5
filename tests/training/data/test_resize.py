"""Frames are resized without torch as they are with it, one at a time and in little memory."""

import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.data.irasim.content import resize_frames
from training.data.resize import resize_frame

pytest.importorskip("pyarrow", reason="needs pip install 'irasim-env[lerobot]'")

from tests.training.data.lerobot.test_sets import convert
from tests.training.lerobot_sets import CAMERA, feature, frame, make, png


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((48, 64), (96, 128)),
        ((48, 64), (24, 32)),
        ((60, 80), (12, 16)),
        ((37, 91), (16, 130)),
        ((5, 7), (1, 1)),
        ((1, 1), (3, 4)),
        ((48, 64), (48, 64)),
    ],
)
def test_frames_are_as_with_tensors(old: tuple[int, int], new: tuple[int, int]):
    frame = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    expected = resize_frames(torch.from_numpy(frame)[None], new)[0].numpy()
    found = resize_frame(frame, new)
    assert found.dtype == np.uint8 and found.shape == (*new, 3)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.001  # halves that round otherwise


def pictures(e: int, n: int, a: np.ndarray) -> dict[str, Any]:
    return {CAMERA: [png(frame(e, k, 144, 192)) for k in range(n)]}


PICTURES: dict[str, Any] = {
    "cameras": (),
    "columns": pictures,
    "features": lambda known: known | {CAMERA: feature("image", 144, 192, 3)},
}


@pytest.mark.parametrize("how", [{}, PICTURES], ids=["video", "pictures"])
@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_memory_does_not_grow_with_an_episode(tmp_path: Path, version: str, how: dict[str, Any]):
    """All frames of the long one take 49 MB."""
    peaks = []
    for length in (20, 600):
        source = make(
            tmp_path / f"{length}",
            version,
            lengths=(length,),
            size=(144, 192),
            video_fps=Fraction(30),
            **how,
        )
        tracemalloc.start()
        convert(source, "--height", "24", "--width", "32")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 6e6, peaks
