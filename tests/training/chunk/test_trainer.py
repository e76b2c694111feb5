"""Steps of chunk models' training: every kind of chunk_data, precision, parts and samples."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from tests.training.chunk_runs import config_for, fresh, losses, write_dataset
from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim, tiny_unet
from training.chunk.batches import SampleOrder, load, make_batch
from training.chunk.command import prepare
from training.data.irasim.windows import WindowDataset
from world_model.chunk.reference.checkpoint import save_reference_checkpoint


@pytest.fixture(scope="module")
def arm_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arm")
    write_dataset(root, "arm")
    return root


@pytest.mark.slow_suite
@pytest.mark.parametrize("model", ["frame_ada", "lvdm"])
def test_loss_falls(chunk_data, tmp_path, model):
    curve = losses(fresh(config_for(chunk_data, tmp_path, model=model, rate=5e-3)), 50)
    assert np.mean(curve[-10:]) < 0.7 * np.mean(curve[:5])


@pytest.mark.parametrize("model", ["frame_ada", "lvdm"])
def test_a_checkpoint_is_trained_on_from(chunk_data, tmp_path, model):
    first = fresh(config_for(chunk_data, tmp_path / "first", model=model, seed=1))
    save_reference_checkpoint(first.denoiser, tmp_path / "model.pt")
    config = config_for(chunk_data, tmp_path / "second", model=model, init=tmp_path / "model.pt")
    second = fresh(config)
    for mine, theirs in zip(second.average, first.parameters, strict=True):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_of_another_shape_is_not_trained_on_from(chunk_data, tmp_path):
    first = fresh(config_for(chunk_data, tmp_path / "first", num_heads=2))
    save_reference_checkpoint(first.denoiser, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="another shape .*depth 2, here 4"):
        fresh(
            config_for(
                chunk_data, tmp_path / "second", num_heads=2, depth=4, init=tmp_path / "model.pt"
            )
        )


def test_an_arm_trains(arm_data, tmp_path):
    scale = (20.0,) * 6 + (1.0,)
    config = config_for(arm_data, tmp_path, kind="arm", action_scale=scale, learn_sigma=True)
    trainer = fresh(config)
    assert trainer.denoiser.config.action_dim == 7
    assert trainer.denoiser.config.action_embedding == "mlp"
    assert all(np.isfinite(losses(trainer, 2)))


@pytest.mark.slow_suite
def test_accumulation_and_checkpointed_activations_do_not_change_the_loss(chunk_data, tmp_path):
    for model in ("frame_ada", "lvdm"):
        config = config_for(chunk_data, tmp_path, model=model)
        plain = losses(fresh(config), 4)
        parts = fresh(dataclasses.replace(config, local_batch=1))
        assert parts.num_parts == 4
        np.testing.assert_allclose(losses(parts, 4), plain, rtol=1e-5)
        frugal = fresh(dataclasses.replace(config, activation_checkpointing=True))
        np.testing.assert_allclose(losses(frugal, 4), plain, rtol=1e-5)


def test_checkpointed_activations_are_not_kept(chunk_data, tmp_path):
    def kept(**changes) -> int:
        trainer = fresh(config_for(chunk_data, tmp_path, depth=8, **changes))
        sizes = []

        def note(x: torch.Tensor) -> torch.Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            trainer.train_step()
        return sum(sizes)

    assert kept(activation_checkpointing=True) < 0.3 * kept()


@pytest.fixture
def any_precision():
    """Lets a test change the precision, of which accelerate keeps the first of a process."""
    yield AcceleratorState._reset_state
    AcceleratorState._reset_state()


def test_bf16_trains(chunk_data, tmp_path, any_precision):
    config = config_for(chunk_data, tmp_path, mixed_precision="bf16")
    exact = losses(fresh(config), 3)
    any_precision()
    rounded = losses(prepare(config, Accelerator(cpu=True, mixed_precision="bf16")), 3)
    assert rounded != exact
    np.testing.assert_allclose(rounded, exact, rtol=0.05)


def test_every_epoch_takes_every_window_once_in_another_order():
    order = SampleOrder(50, seed=3)
    epochs = [[order.window(50 * epoch + i) for i in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert SampleOrder(50, seed=3).window(70) == epochs[1][20]
    assert [SampleOrder(50, seed=4).window(i) for i in range(50)] != epochs[0]


def test_a_samples_numbers_do_not_depend_on_its_batch(chunk_data, tmp_path):
    windows = WindowDataset(config_for(chunk_data, tmp_path).data_config("train"))
    device = torch.device("cpu")
    many, one = (
        make_batch(next(iter(load(windows, [keys], workers=0, device=device))), 0, 0.5, device)
        for keys in ([(n, n) for n in range(8)], [(6, 6)])
    )
    for name in ("latents", "actions", "time", "noise", "dropped"):
        assert torch.equal(getattr(many, name)[6], getattr(one, name)[0]), name
    assert 0 < many.dropped.sum() < 8
    assert torch.equal(many.latents[3], windows[3].content)


@pytest.mark.parametrize("make", [tiny_irasim, tiny_unet])
def test_dropped_windows_are_predicted_as_without_actions(make):
    denoiser = make().train()
    x, t, actions = chunk_inputs(denoiser)
    with torch.no_grad():
        mixed = denoiser(x, t, actions, dropped=torch.tensor([True, False]))
        denoiser.eval()
        torch.testing.assert_close(mixed[0], denoiser(x, t, None)[0])
        torch.testing.assert_close(mixed[1], denoiser(x, t, actions)[1])
        assert not torch.allclose(mixed[0], denoiser(x, t, actions)[0])
