"""The IRASim transformer and the U-Net baselines: conditioning, dropout, sizes."""

import pytest
import torch

from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim, tiny_unet
from world_model import irasim_config
from world_model.chunk.layers import drop_condition
from world_model.chunk.unet3d_layers import resampling_paddings

KINDS = {
    "frame": lambda **fields: tiny_irasim(conditioning="frame", **fields),
    "video": lambda **fields: tiny_irasim(conditioning="video", **fields),
    "linear frame": lambda **fields: tiny_irasim(action_embedding="linear", **fields),
    "linear video": lambda **fields: tiny_irasim(
        action_embedding="linear", conditioning="video", **fields
    ),
    "unet": tiny_unet,
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def test_actions_are_dropped_in_training_only(kind):
    always = kind(condition_dropout=1.0)
    x, t, actions = chunk_inputs(always)
    with torch.no_grad():
        unconditional = always(x, t, None)
        conditional = always(x, t, actions)
        assert torch.equal(always(x, t, actions), conditional)
        assert not torch.allclose(conditional, unconditional)
        torch.testing.assert_close(always.train()(x, t, actions), unconditional)
        never = kind(condition_dropout=0.0)
        torch.testing.assert_close(never.train()(x, t, actions), conditional)


def test_dropout_follows_the_generator_it_is_given(kind):
    denoiser = kind(condition_dropout=0.5).train()
    x, t, actions = chunk_inputs(denoiser)
    with torch.no_grad():
        runs = [
            denoiser(x, t, actions, generator=torch.Generator().manual_seed(seed))
            for seed in [*range(6), 0]
        ]
    assert torch.equal(runs[0], runs[-1])
    assert any(not torch.equal(runs[0], other) for other in runs[1:-1])


def test_whole_items_are_dropped_at_the_stated_rate():
    embedding = torch.ones(20_000, 3, 2)
    generator = torch.Generator().manual_seed(0)
    dropped = drop_condition(embedding, torch.zeros(1, 2), 0.1, generator)
    per_item = dropped.flatten(1).mean(dim=1)
    assert set(per_item.tolist()) == {0.0, 1.0}
    assert (per_item == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_null_action_is_trained():
    denoiser = tiny_irasim(condition_dropout=1.0).train()
    x, t, actions = chunk_inputs(denoiser)
    denoiser(x, t, actions).square().mean().backward()
    assert denoiser.null_action.grad is not None
    assert denoiser.null_action.grad.abs().sum() > 0


def test_last_layer_sees_the_action_only_when_asked():
    outputs = []
    for final_frame_ada in (False, True):
        denoiser = tiny_irasim(final_frame_ada=final_frame_ada)
        for block in denoiser.blocks:  # gates of zero: nothing but the last layer can see it
            block.modulation.weight.data.zero_()
            block.modulation.bias.data.zero_()
        x, t, actions = chunk_inputs(denoiser)
        with torch.no_grad():
            outputs.append(not torch.allclose(denoiser(x, t, actions), denoiser(x, t, 2 * actions)))
    assert outputs == [False, True]


def test_an_action_reaches_its_own_frame_first():
    denoiser = tiny_irasim(conditioning="frame")
    x, t, actions = chunk_inputs(denoiser)
    denoiser.blocks[1].modulation.weight.data.zero_()  # no attention over time
    denoiser.blocks[1].modulation.bias.data.zero_()
    changed = actions.clone()
    changed[:, 1] += 1
    with torch.no_grad():
        difference = denoiser(x, t, changed) - denoiser(x, t, actions)
    assert [bool(d.abs().max() > 1e-6) for d in difference.unbind(1)] == [False, False, True, False]


def test_learned_sigma_doubles_the_channels():
    denoiser = tiny_irasim(learn_sigma=True)
    x, t, actions = chunk_inputs(denoiser)
    with torch.no_grad():
        assert denoiser(x, t, actions).shape == (2, 4, 8, 4, 6)


def test_fresh_transformer_predicts_zero():
    from world_model import IRASim

    denoiser = IRASim(tiny_irasim().config).eval()
    with torch.no_grad():
        assert denoiser(*chunk_inputs(denoiser)).abs().max() == 0


@pytest.mark.parametrize(
    ("size", "patch", "depth", "width", "heads"),
    [("S", 8, 12, 384, 6), ("B", 4, 12, 768, 12), ("L", 2, 24, 1024, 16), ("XL", 2, 28, 1152, 16)],
)
def test_published_sizes(size, patch, depth, width, heads):
    config = irasim_config(size, patch, latent_size=(32, 40), action_dim=7, action_embedding="mlp")
    assert (config.depth, config.hidden_size, config.num_heads) == (depth, width, heads)
    assert config.grid_size == (32 // patch, 40 // patch)


def test_unknown_published_size_is_refused():
    with pytest.raises(ValueError, match="no IRASim-M/2"):
        irasim_config("M", 2)  # pyright: ignore[reportArgumentType]


def test_paddings_of_the_published_sizes():
    assert resampling_paddings(36, 3) == [1, 2, 1]  # 288 pixels
    for side in (64, 32, 40, 144, 256, 320):
        assert resampling_paddings(side, 3) == [1, 1, 1]


@pytest.mark.parametrize("size", [(8, 8), (12, 8), (36, 16), (20, 12), (4, 6)])
def test_unet_takes_and_returns_any_even_size(size):
    denoiser = tiny_unet()
    x, t, actions = torch.randn(2, 4, 4, *size), torch.tensor([5, 900]), torch.randn(2, 3, 7)
    with torch.no_grad():
        assert denoiser(x, t, actions).shape == x.shape


def test_unet_refuses_odd_sizes():
    with pytest.raises(ValueError, match="side of 9"):
        tiny_unet()(torch.randn(1, 4, 4, 9, 8), torch.tensor([5]), torch.randn(1, 3, 7))


def test_wrong_inputs_are_refused(kind):
    denoiser = kind()
    x, t, actions = chunk_inputs(denoiser)
    with pytest.raises(ValueError, match="4 frames"):
        denoiser(x[:, :3], t, actions[:, :2])
    with pytest.raises(ValueError, match="actions have shape"):
        denoiser(x, t, actions[:, :2])
    with pytest.raises(ValueError, match="actions have shape"):
        denoiser(x, t, actions[:, :, :1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 3}, "even"),
        ({"num_heads": 5}, "num_heads"),
        ({"latent_size": (5, 6)}, "patch_size"),
        ({"num_frames": 1}, "at least 2"),
    ],
)
def test_impossible_configs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        tiny_irasim(**fields)
