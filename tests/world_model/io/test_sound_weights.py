"""Weights are held against the network that a config describes before memory is taken."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch

from tests.robustness.mutations import with_checksum
from tests.world_model.chunk_denoisers import tiny_irasim
from world_model import WorldModel, load_reference_checkpoint, save_reference_checkpoint
from world_model.io.sound_weights import check_stored


@pytest.fixture
def copy(tiny_world: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_world, tmp_path / "copy")


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("denoiser", "depth", 10**9, "fewer weights than such a network"),
        ("denoiser", "width", 10**9, "config.json: Storage size calculation overflowed"),
        ("denoiser", "condition_width", 10**6, r"has shape .* expected \("),
        ("denoiser", "context", 10**9, r"expected \("),
        ("states", "refinement_iterations", 10**9, "expected 0 to 64"),
    ],
)
def test_config_of_an_enormous_network_takes_no_memory(
    copy: Path, part: str, key: str, value: int, message: str
):
    path = copy / "config.json"
    config = json.loads(path.read_text())
    assert key in config[part]
    config[part][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        WorldModel.from_pretrained(copy)


def test_starts_of_another_size_are_named(copy: Path):
    path = copy / "starts.safetensors"
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    begin = content.index(b"IHDR", 8 + size) + 4
    path.write_bytes(content[:begin] + struct.pack(">2I", 10**6, 10**6) + content[begin + 8 :])
    with_checksum(path)
    with pytest.raises(ValueError, match=r"starts\.safetensors .*1000000 x 1000000 pixels"):
        WorldModel.from_pretrained(copy)


def test_numbers_that_the_file_does_not_hold_are_refused(tmp_path: Path):
    check_stored(torch.ones(2, 3), "weight")
    for tensor in (torch.zeros(1).expand(10**6, 10**6), torch.ones(2, dtype=torch.int64), None):
        with pytest.raises(ValueError, match="^weight is"):
            check_stored(tensor, "weight")
    path = tmp_path / "a.pt"
    save_reference_checkpoint(tiny_irasim(), path)
    content = torch.load(path, weights_only=True)
    content["ema"]["pos_embed"] = torch.zeros(1).expand(1, 10**7, 10**5)
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"pos_embed is a tensor .* holds a part only"):
        load_reference_checkpoint(path)


def test_blocks_that_are_numbered_into_the_millions_are_refused(tmp_path: Path):
    path = tmp_path / "a.pt"
    save_reference_checkpoint(tiny_irasim(), path)
    content = torch.load(path, weights_only=True)
    content["ema"]["blocks.99999999.x"] = torch.zeros(1)
    torch.save(content, path)
    with pytest.raises(ValueError, match="numbered up to 99999999, but there are 3"):
        load_reference_checkpoint(path)
