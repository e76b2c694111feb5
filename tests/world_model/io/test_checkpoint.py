"""World directories: round trip, and what is wrong with a damaged one."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from tests.chunk_worlds import table_world
from world_model import WorldModel


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
    with pytest.raises(ValueError, match="unknown key 'colour'; known keys are network, patch"):
        WorldModel.from_pretrained(copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("height", "96", "height: expected int, got '96'"),
        ("height", 95, "do not divide into tokens"),
        ("engine", "magic", "engine: expected"),
        ("action_low", [0.0, 600.0], "finite with low < high"),
        ("height", 0, "height is 0, expected a whole number of at least 1"),
        ("fps", -1, "fps is -1.0, expected a finite number over 0"),
        ("fps", float("nan"), "fps is nan"),
        ("reward_low", 2, "reward bounds must be finite with low < high"),
        ("termination_threshold", 2, "termination_threshold is 2.0, expected a probability"),
        ("termination_threshold", float("nan"), "termination_threshold is nan"),
        ("max_episode_steps", 0, "max_episode_steps is 0"),
        ("codec", {"downscale": 0}, "codec: downscale is 0"),
        ("denoiser", {"num_heads": 0}, "denoiser: num_heads is 0"),
        ("sampler", {"noise_scale": float("inf")}, "sampler: noise_scale is inf"),
        ("sha256", [], "sha256: expected an object with the checksums of model.safetensors"),
        ("sha256", None, "sha256: expected an object"),
        ("sha256", {"model.safetensors": 3}, "sha256: expected an object"),
    ],
)
def test_wrong_config_values(copy, key, value, message):
    data = json.loads((copy / "config.json").read_text())
    data[key] = value
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        WorldModel.from_pretrained(copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe{}", "is not text in UTF-8"),
        (b"{", "is not readable as JSON"),
        (b"[" * 100_000, "is not readable as JSON"),
        (b"[]", "lacks the key 'sha256'"),
    ],
)
def test_config_that_is_no_json(copy, content, message):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"config\.json:? {message}"):
        WorldModel.from_pretrained(copy)


def test_a_saved_world_has_a_card(copy, tmp_path):
    """One that claims nothing, and stays where `irasim bench card` has written another."""
    card = (copy / "README.md").read_text()
    for part in (
        "# tiny",
        "streaming, one frame a step",
        "uint8 (96, 96, 3); `agent_pos` (2,), [0.0, 0.0] to [512.0, 512.0]",
        "(2,), [0.0, 0.0] to [512.0, 512.0]: x, y; 10 a second",
        'gym.make("IRASim/World-v0", world="path/of/this/directory")',
        "Not measured yet: `irasim bench quality`",
    ):
        assert part in card
    (copy / "README.md").write_text("measured")
    WorldModel.from_pretrained(copy).save_pretrained(copy)
    assert (copy / "README.md").read_text() == "measured"
    world = table_world()
    world.save_pretrained(tmp_path / "chunk")
    assert "chunk, up to 3 frames at once" in (tmp_path / "chunk/README.md").read_text()


def test_a_loaded_worlds_card_goes_with_it_while_it_is_true(copy, tmp_path):
    (copy / "README.md").write_bytes(b"measured \xff")  # whatever is in it
    world = WorldModel.from_pretrained(copy)
    world.save_pretrained(tmp_path / "same")
    assert (tmp_path / "same/README.md").read_bytes() == b"measured \xff"
    other = WorldModel.from_pretrained(copy)
    other.config = dataclasses.replace(other.config, termination_threshold=0.9)
    other.save_pretrained(tmp_path / "config")
    assert "Not measured yet" in (tmp_path / "config/README.md").read_text()
    with torch.no_grad():
        next(iter(world.parameters())).add_(1)
    world.save_pretrained(tmp_path / "weights")
    assert "Not measured yet" in (tmp_path / "weights/README.md").read_text()
    (copy / "README.md").unlink()
    assert WorldModel.from_pretrained(copy).card is None


def test_missing_config_key(copy):
    data = json.loads((copy / "config.json").read_text())
    del data["fps"]
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="fps"):
        WorldModel.from_pretrained(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "starts.safetensors"])
def test_truncated_file(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name} is not the file.*truncated or altered"):
        WorldModel.from_pretrained(copy)


def test_altered_weights(copy):
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="truncated or altered"):
        WorldModel.from_pretrained(copy)


def test_missing_weights(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        WorldModel.from_pretrained(copy)


def test_config_that_does_not_fit_the_weights(copy):
    data = json.loads((copy / "config.json").read_text())
    data["denoiser"]["depth"] = 3
    (copy / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"does not fit config\.json"):
        WorldModel.from_pretrained(copy)
