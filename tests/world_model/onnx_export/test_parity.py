"""An exported step, run by onnxruntime, is the world's own."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from irasim_env import console
from tests.conftest import TINY_CONFIG, make_starts, randomized, without_states
from tests.world_model.anchored.test_world import REFERRING
from tests.world_model.anchored.test_world import made as made_anchored
from tests.world_model.streaming.test_unet import unet_config, unet_world
from world_model import StreamingConfig, WorldModel
from world_model.config import CodecConfig
from world_model.io.checkpoint import find_world
from world_model.streaming.config import SamplerConfig

pytest.importorskip("onnxscript", reason="needs pip install 'irasim-env[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'irasim-env[onnx]'")
pytestmark = pytest.mark.slow_suite  # torch's exporter takes ten seconds and more
STEPS = 64
# Random weights make rounding grow by a tenth each step, torch's own in a batch too.
RANDOM_STEPS = 32


class Exported:
    """An exported world, stepped by onnxruntime on the CPU from what its folder says alone."""

    def __init__(self, folder: Path, index: int, seed: int):
        self.described = json.loads((folder / "world.json").read_text())
        model = folder / self.described["model"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(model, options, providers=providers)
        held = load_file(folder / self.described["starts"][index]["file"])
        self.first = held.pop("frame")
        known = held.pop("check.frame").astype(int)
        self.state = held
        made = self.session.run(["frame"], {"action": held.pop("check.action"), **held})[0]
        assert np.abs(made - known).max() <= 1
        self.state["state.seeds"] = np.array([seed], np.int64)

    def step(self, action: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        results = self.session.run(names, {"action": action, **self.state})
        shown = dict(zip(names, results, strict=True))
        for part in self.described["state"]:
            self.state[part["input"]] = shown.pop(part["output"])
        return shown


def check_parity(world: WorldModel, folder: Path, index: int, steps: int = STEPS) -> int:
    """Step both; the largest difference of a grey level."""
    config, seed = world.config, 5
    exported = Exported(folder, index, seed)
    state = world.begin([exported.described["starts"][index]["start"]], [seed])
    assert (exported.first == state.output.frame[0].numpy()).all()
    rng = np.random.default_rng(0)
    target = rng.uniform(config.action_low, config.action_high)
    worst, changed = 0, False
    for step in range(steps):
        if step % 8 == 0:
            target = rng.uniform(config.action_low, config.action_high)
        action = target.astype(np.float32)
        shown = exported.step(action)
        out = world.step_(state, action[None])
        frame = out.frame[0].numpy()
        assert shown["frame"].dtype == np.uint8 and shown["frame"].shape == frame.shape
        worst = max(worst, int(np.abs(shown["frame"].astype(int) - frame).max()))
        changed |= bool((frame != exported.first).any())
        assert shown["reward"] == pytest.approx(out.reward.item(), abs=1e-3)
        assert shown["terminated"] == out.terminated.item()
        parts = exported.described["states"]
        for name, values in out.states.items():
            first, last = parts["parts"][name]
            np.testing.assert_allclose(shown["states"][first:last], values[0].numpy(), atol=0.1)
    assert changed, "nothing moved, so nothing was compared"
    assert exported.state["state.steps"] == steps
    return worst


def one_pass(config: StreamingConfig) -> StreamingConfig:
    return dataclasses.replace(config, sampler=SamplerConfig(num_steps=1, change_threshold=0.02))


def made(config: StreamingConfig) -> WorldModel:
    return randomized(WorldModel.create(config, make_starts(config)))


def with_autoencoder() -> WorldModel:
    """Of a few channels; it predicts latents, which the autoencoder's decoder draws."""
    settings = {
        "encoder_block_out_channels": [8] * 2,
        "decoder_block_out_channels": [8] * 2,
        "num_encoder_blocks": [1, 1],
        "num_decoder_blocks": [1, 1],
        "latent_channels": 4,
        "upsampling_scaling_factor": 2,
    }
    codec = CodecConfig(kind="autoencoder_tiny", settings=settings, latent_channels=4, downscale=2)
    config = one_pass(without_states(TINY_CONFIG))
    return made(dataclasses.replace(config, codec=codec))


WORLDS = {
    "states, two passes": lambda: made(TINY_CONFIG),
    "no states, one pass": lambda: made(one_pass(without_states(TINY_CONFIG))),
    "an autoencoder": with_autoencoder,
    "a U-Net": lambda: unet_world(unet_config(num_steps=2)),
    "anchored": made_anchored,
    "anchored, references": lambda: made_anchored(REFERRING),
}


def exported(world: str | Path, out: Path, starts: int) -> WorldModel:
    """Export by the command; the world as torch has it."""
    console.run(["export", str(world), "--onnx", str(out), "--starts", str(starts)])
    return WorldModel.from_pretrained(world)


@pytest.mark.parametrize("kind", WORLDS)
def test_a_tiny_world_steps_as_in_torch(kind, tmp_path):
    WORLDS[kind]().save_pretrained(tmp_path / "world")
    world = exported(tmp_path / "world", tmp_path / "out", starts=2)
    assert check_parity(world, tmp_path / "out", index=1, steps=RANDOM_STEPS) <= 1


def test_the_shipped_world_steps_as_in_torch(tmp_path):
    world = exported("pusht", tmp_path / "out", starts=3)
    described = json.loads((tmp_path / "out/world.json").read_text())
    assert [one["start"] for one in described["starts"]] == [0, 1, 2]
    assert described["states"]["parts"] == {"agent_pos": [0, 2], "block_pose": [2, 6]}
    assert check_parity(world, tmp_path / "out", index=2) <= 1
    # Its weights are float16, as in the world's own file.
    own = find_world("pusht") / "model.safetensors"
    assert (tmp_path / "out/step.onnx").stat().st_size < 1.1 * own.stat().st_size


def test_a_world_that_draws_over_a_proxy_steps_as_in_torch(tmp_path):
    world = exported("pusht_video", tmp_path / "out", starts=1)
    assert world.config.states.proxy is not None
    assert check_parity(world, tmp_path / "out", index=0) <= 1
