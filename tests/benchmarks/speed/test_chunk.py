"""`irasim bench chunk`: what it measures of a small model, and what it refuses."""

import json

import pytest
import torch

from benchmarks.speed import chunk as chunk_speed
from benchmarks.speed import interleave, roofline
from benchmarks.speed.chunk import ChunkSpeedConfig, chosen_variants, latent_psnr
from benchmarks.speed.chunk_random import draw_inputs, random_denoiser
from irasim_env import console

TINY = {"size": "S", "patch_size": 8, "height": 64, "width": 64, "frames": 3, "device": "cpu"}


@pytest.mark.slow_suite
def test_a_small_model_on_the_processor(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(interleave, "WARM_UP", 0)
    monkeypatch.setattr(roofline, "BUDGET", 0.01)
    arguments = "--size S --patch-size 8 --height 64 --width 64 --frames 3 --pndm-steps 4"
    arguments += " --few-steps 2 --turns 1 --decode-batches 1 2 --threads 1 --device cpu --out"
    console.run(["bench", "chunk", *arguments.split(), str(tmp_path)])
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "chunk.json").read_text())
    assert [s["network_evaluations"] for s in report["samplers"]] == [13, 2]
    for sampler in report["samplers"]:
        float32, table, bf16 = sampler["variants"]
        assert [row["variant"] for row in (float32, table, bf16)] == [
            "float32", "float32-table", "bf16",
        ]  # fmt: skip
        assert float32["psnr_to_float32_db"] is None  # it is compared with itself
        assert float32["times_float32"]["ratio"] == 1
        assert table["psnr_to_float32_db"] is None or table["psnr_to_float32_db"] > 90
        assert 35 < bf16["psnr_to_float32_db"] < 90
        # A chunk's operations are at least those of its weights on each of the three tokens.
        blocks = 12 * (4 + 8) * 384**2
        evaluations = sampler["network_evaluations"]
        assert float32["tflop_per_chunk"] > 2e-12 * 3 * blocks * evaluations
        assert float32["tflops"] == pytest.approx(
            1000 * float32["tflop_per_chunk"] / float32["ms_per_chunk"]
        )
        assert float32["frames_per_second"] == pytest.approx(2000 / float32["ms_per_chunk"])
    assert [row["frames_at_once"] for row in report["decode"]] == [1, 2]
    assert "pndm, 4 steps, 13 network evaluations" in printed
    assert "frames at once" in printed


def test_random_weights_predict_something_of_the_size_of_noise_that_depends_on_all_inputs():
    config = ChunkSpeedConfig(**TINY)
    denoiser = random_denoiser(config, "cpu")
    first, actions, noise = draw_inputs(config, "cpu")
    latents, t = torch.cat([first, noise[:, 1:]], dim=1), torch.tensor([500])
    output = denoiser(latents, t, actions)
    assert output.std().item() == pytest.approx(1, rel=0.01)
    for other in (
        denoiser(latents, t - 100, actions),
        denoiser(latents, t, -actions),
        denoiser(latents.roll(1, 1), t, actions),
    ):
        assert (other - output).std() > 0.01


def test_variants():
    assert chosen_variants(None, "cpu") == ["float32", "float32-table", "bf16"]
    assert chosen_variants(None, "cuda")[-1] == "bf16-graph"
    assert chosen_variants(("bf16", "float32"), "cpu") == ["float32", "bf16"]


def test_psnr_of_latents():
    expected = torch.tensor([9.0, 0.0, 4.0]).view(1, 3, 1, 1, 1)
    assert latent_psnr(expected, expected) is None
    made = expected + torch.tensor([7.0, 0.4, 0.4]).view(1, 3, 1, 1, 1)  # frame 0 is given
    assert latent_psnr(made, expected) == pytest.approx(20)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"turns": 0}, "turns is 0"),
        ({"height": 100}, "height is 100, expected a multiple of 64"),
        ({"decode_batches": (0,)}, "decode_batches are"),
    ],
)
def test_what_cannot_be_measured_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ChunkSpeedConfig(**TINY | fields)


def test_graphs_are_refused_on_a_processor():
    with pytest.raises(ValueError, match="graphs need a CUDA device"):
        chunk_speed.main(ChunkSpeedConfig(**TINY, variants=("bf16-graph",)))
