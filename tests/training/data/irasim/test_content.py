"""Files of latents that are something else."""

import tarfile
from pathlib import Path

import pytest
import torch

from training.data.irasim.content import count_frames, read_content, write_latents


def test_an_archive_is_refused_and_not_unpacked(tmp_path: Path):
    path = tmp_path / "0.pt"
    write_latents(tmp_path / "inner", torch.zeros(3, 4, 2, 2), with_key=False)
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "inner", "inner")
    with pytest.raises(ValueError, match="archive.*irasim encode"):
        read_content(path, "latents", 0, 1)


@pytest.mark.parametrize("source", ["video", "latents"])
def test_a_name_that_is_too_long_is_no_file(tmp_path: Path, source):
    with pytest.raises(ValueError, match="no such"):
        count_frames(tmp_path / ("long" * 100), source)
