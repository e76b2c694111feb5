"""Figures of the IRASim reference, reproduced through the public face."""

import pytest
import torch

from tests.golden import TRANSFORMERS, figures
from world_model import load_reference_checkpoint, noise_prediction_loss, sample_chunk


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.fixture(params=TRANSFORMERS)
def case(request, golden_checkpoints):
    path = golden_checkpoints / f"{request.param}.pt"
    return load_reference_checkpoint(path, num_heads=4), figures(request.param)


def test_noise_prediction_is_the_references(case):
    denoiser, golden = case
    with torch.no_grad():
        eps = denoiser(golden["x"], golden["t"], golden["actions"])
    assert relative_error(eps, golden["eps"]) < 1e-5


def test_loss_is_the_references(case):
    denoiser, golden = case
    with torch.no_grad():
        loss = noise_prediction_loss(
            denoiser, golden["x"], golden["loss_t"], golden["loss_noise"], golden["actions"]
        )
    assert relative_error(loss, golden["loss"]) < 1e-5


@pytest.mark.parametrize("num_steps", [10, 50])
def test_pndm_sampling_is_the_references(case, num_steps):
    denoiser, golden = case
    latents = sample_chunk(
        denoiser,
        golden["x"][:, :1],
        golden["actions"],
        noise=golden[f"pndm{num_steps}_noise"],
        num_steps=num_steps,
    )
    assert relative_error(latents, golden[f"pndm{num_steps}_latents"]) < 1e-5


def test_half_precision_lvdm_is_the_references_with_and_without_actions(golden_checkpoints):
    denoiser = load_reference_checkpoint(golden_checkpoints / "rt1_lvdm.pt")
    golden = figures("rt1_lvdm")
    with torch.no_grad():
        eps = denoiser(golden["x"], golden["t"], golden["actions"])
        unconditional = denoiser(golden["x"], golden["t"], None)
    assert relative_error(eps, golden["eps"]) < 1e-5
    assert relative_error(unconditional, golden["eps_unconditional"]) < 1e-5


def test_heads_are_asked_for_where_the_settings_describe_another_size(golden_checkpoints):
    with pytest.raises(ValueError, match=r"IRASim-XL/2.*depth 4, width 48.*num_heads"):
        load_reference_checkpoint(golden_checkpoints / "rt1_frame_ada.pt")
