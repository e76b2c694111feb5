"""World directories: round trip, and what is wrong with a damaged one."""

import json
import shutil

import numpy as np
import pytest
import torch

from world_model import WorldModel
from world_model.checkpoint import load_world


@pytest.fixture
def copy(tiny_world, tmp_path):
    return shutil.copytree(tiny_world, tmp_path / "copy")


def test_round_trip(tiny_world, tmp_path):
    world = WorldModel.from_pretrained(tiny_world)
    world.save_pretrained(tmp_path / "again")
    again = WorldModel.from_pretrained(tmp_path / "again")
    assert again.config == world.config
    for name, tensor in world.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    for mine, theirs in zip(world.starts, again.starts, strict=True):
        assert np.array_equal(mine.frames, theirs.frames)
        assert np.array_equal(mine.actions, theirs.actions)
        assert np.array_equal(mine.states["agent_pos"], theirs.states["agent_pos"])
        assert mine.replay is not None
        assert np.array_equal(mine.replay, theirs.replay)
        assert mine.seed == theirs.seed


def test_unknown_name_says_where_it_looked():
    with pytest.raises(ValueError, match="no world 'nowhere'.*directory.*shipped.*Hub id"):
        WorldModel.from_pretrained("nowhere")


def test_directory_without_config(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json"):
        WorldModel.from_pretrained(tmp_path)


def test_unknown_config_key(copy):
    data = json.loads((copy / "config.json").read_text())
    data["denoiser"]["colour"] = 3
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="unknown key 'colour'; known keys are patch"):
        load_world(copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("height", "96", "height: expected int, got '96'"),
        ("height", 95, "do not divide into tokens"),
        ("engine", "magic", "engine: expected"),
        ("action_low", [0.0, 600.0], "finite with low < high"),
    ],
)
def test_wrong_config_values(copy, key, value, message):
    data = json.loads((copy / "config.json").read_text())
    data[key] = value
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message):
        load_world(copy)


def test_missing_config_key(copy):
    data = json.loads((copy / "config.json").read_text())
    del data["fps"]
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="fps"):
        load_world(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "starts.safetensors"])
def test_truncated_file(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name} is not the file.*truncated or altered"):
        load_world(copy)


def test_altered_weights(copy):
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="truncated or altered"):
        load_world(copy)


def test_missing_weights(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        load_world(copy)


def test_config_that_does_not_fit_the_weights(copy):
    data = json.loads((copy / "config.json").read_text())
    data["denoiser"]["depth"] = 3
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"does not fit config\.json"):
        load_world(copy)
