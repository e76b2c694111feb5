"""Checkpoints of the reference: what is read from them, what is refused, and export."""

import collections
import os
import sys
import types
import typing
from pathlib import Path

import pytest
import torch

from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim, tiny_unet
from world_model import (
    load_reference_checkpoint,
    lvdm_config,
    save_reference_checkpoint,
    vdm_config,
)
from world_model.chunk.irasim import SIZES

DENOISERS = {
    "frame": lambda: tiny_irasim(),
    "video": lambda: tiny_irasim(conditioning="video"),
    "linear frame": lambda: tiny_irasim(action_embedding="linear", final_frame_ada=True),
    "linear video": lambda: tiny_irasim(action_embedding="linear", conditioning="video"),
    "sigma": lambda: tiny_irasim(learn_sigma=True, patch_size=4, latent_size=(12, 8), depth=4),
    "two frames": lambda: tiny_irasim(num_frames=2, conditioning="video"),
    "other actions": lambda: tiny_irasim(action_dim=3, num_heads=2),
    "lvdm": lambda: tiny_unet(),
    "vdm": lambda: tiny_unet(channels=3, action_dim=2, num_frames=8, dim_mults=(1, 2)),
}


@pytest.fixture
def saved(tmp_path):
    """A saved tiny Frame-Ada, its content, and a function that saves a changed one."""
    path = tmp_path / "0300000.pt"
    save_reference_checkpoint(tiny_irasim(), path)
    content = torch.load(path, weights_only=True)

    def save(**changes) -> Path:
        torch.save(content | changes, path)
        return path

    return types.SimpleNamespace(path=path, content=content, save=save)


@pytest.mark.parametrize("name", DENOISERS)
def test_saved_denoiser_loads_as_it_was(name, tmp_path):
    denoiser = DENOISERS[name]()
    save_reference_checkpoint(denoiser, tmp_path / "model.pt")
    loaded = load_reference_checkpoint(tmp_path / "model.pt")
    assert loaded.config == denoiser.config
    assert not loaded.training
    inputs = chunk_inputs(denoiser)
    with torch.no_grad():
        assert torch.equal(loaded(*inputs), denoiser(*inputs))


def test_saved_weights_have_the_references_names(tmp_path):
    for denoiser, some in (
        (
            tiny_irasim(action_embedding="linear", conditioning="video"),
            "pos_embed temp_embed x_embedder.proj.weight t_embedder.mlp.2.bias mask_emb_fn.weight "
            "embed_arm_state.weight embed_state.bias mlp.fc1.weight blocks.1.attn.qkv.bias "
            "blocks.0.adaLN_modulation.1.weight blocks.1.mlp.fc2.weight final_layer.linear.bias "
            "final_layer.adaLN_modulation.1.weight",
        ),
        (tiny_irasim(), "embed_state.fc1.weight embed_state.fc2.bias"),
        (
            tiny_unet(),
            "null_cond_emb time_mlp.3.weight init_temporal_attn.fn.fn.fn.rotary_emb.freqs "
            "downs.1.0.res_conv.weight downs.2.2.fn.fn.to_out.bias ups.0.3.fn.norm.gamma "
            "mid_spatial_attn.fn.fn.fn.to_qkv.weight mid_block2.mlp.1.weight ups.2.4.bias "
            "final_conv.0.block2.norm.weight final_conv.1.bias",
        ),
    ):
        save_reference_checkpoint(denoiser, tmp_path / "model.pt")
        content = torch.load(tmp_path / "model.pt", weights_only=True)
        assert set(some.split()) <= set(content["ema"])
        assert list(content["model"]) == list(content["ema"])


def test_averaged_weights_are_the_ones_loaded(saved):
    other = {name: torch.zeros_like(value) for name, value in saved.content["ema"].items()}
    loaded = load_reference_checkpoint(saved.save(model=other))
    assert loaded.null_action.abs().sum() > 0


def test_plain_state_dict_loads_with_num_heads(saved):
    torch.save(saved.content["ema"], saved.path)
    assert load_reference_checkpoint(saved.path, num_heads=4).config == tiny_irasim().config
    with pytest.raises(ValueError, match="do not name a published model.*num_heads"):
        load_reference_checkpoint(saved.path)


@pytest.mark.parametrize("num_heads", [-1, 0, 1.5, 4.0, True, "a", [4]])
def test_numbers_of_heads_that_are_none_are_refused(saved, num_heads):
    for content in (saved.content, {"ema": saved.content["ema"]}):
        torch.save(content, saved.path)
        with pytest.raises(ValueError, match="num_heads is .*whole number of at least 1"):
            load_reference_checkpoint(saved.path, num_heads=num_heads)
    with pytest.raises(ValueError, match="num_heads is .*whole number of at least 1"):
        tiny_irasim(num_heads=num_heads)
    with pytest.raises(ValueError, match="num_heads is .*whole number of at least 1"):
        tiny_unet(num_heads=num_heads)


def test_half_precision_weights_become_float32_and_constants_exact(saved):
    half = {name: value.half() for name, value in saved.content["ema"].items()}
    loaded = load_reference_checkpoint(saved.save(ema=half))
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.spatial_position, tiny_irasim().spatial_position)
    assert torch.equal(loaded.null_action, half["mask_emb_fn.weight"].float())


def test_drifted_positions_are_kept(saved):
    weights = saved.content["ema"]
    weights["pos_embed"] = weights["pos_embed"] + 1e-3
    loaded = load_reference_checkpoint(saved.save())
    assert torch.equal(loaded.spatial_position, weights["pos_embed"])


def test_loaded_denoiser_does_not_need_the_file_any_more(saved):
    loaded = load_reference_checkpoint(saved.path)
    saved.path.write_bytes(b"")
    with torch.no_grad():
        assert loaded(*chunk_inputs(loaded)).isfinite().all()


class TestHeads:
    @pytest.fixture
    def published(self, saved, monkeypatch):
        """As if a tiny size had been published, in a file without our additions to `args`."""
        monkeypatch.setitem(SIZES, "S", (2, 32, 4))
        args = saved.content["args"]
        del args["num_heads"], args["action_dim"]
        args["model"] = "IRASim-S/2"
        return saved

    def test_are_read_where_the_settings_fit_the_weights(self, published):
        assert load_reference_checkpoint(published.save()).config.num_heads == 4

    @pytest.mark.parametrize("model", ["IRASim-XL/2", "IRASim-S/4"])
    def test_are_asked_for_where_they_do_not(self, published, model):
        published.content["args"]["model"] = model
        with pytest.raises(ValueError, match=rf"{model}.*depth 2, width 32 and patch 2.*num_heads"):
            load_reference_checkpoint(published.save())
        assert load_reference_checkpoint(published.path, num_heads=8).config.num_heads == 8

    def test_contradicting_the_settings_are_refused(self, published):
        with pytest.raises(ValueError, match="num_heads is 8.*IRASim-S/2.*4 heads"):
            load_reference_checkpoint(published.save(), num_heads=8)

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"num_frames": 16}, "num_frames is 16, the weights are for 4"),
            ({"learn_sigma": True}, "learn_sigma is True"),
            ({"extras": 5}, "extras is 5, the weights are conditioned by frame"),
            ({"latent_size": [8, 3]}, r"latents of \(8, 3\)"),
            ({"latent_size": [6, 4]}, r"latents of \(6, 4\)"),
        ],
    )
    def test_are_asked_for_where_another_size_disagrees(self, published, setting, message):
        published.content["args"].update(setting)
        with pytest.raises(ValueError, match=message):
            load_reference_checkpoint(published.save())
        loaded = load_reference_checkpoint(published.path, num_heads=4)
        assert loaded.config == tiny_irasim().config

    def test_of_a_unet_are_in_its_weights(self, tmp_path):
        save_reference_checkpoint(tiny_unet(), tmp_path / "lvdm.pt")
        assert load_reference_checkpoint(tmp_path / "lvdm.pt", num_heads=8).config.num_heads == 8
        with pytest.raises(ValueError, match="the weights have 8"):
            load_reference_checkpoint(tmp_path / "lvdm.pt", num_heads=4)


@pytest.mark.parametrize(
    "name", ["temp_embed", "final_layer.linear.weight", "x_embedder.proj.weight"]
)
def test_a_weight_of_another_rank_is_named(saved, name):
    weights = saved.content["ema"]
    weights[name] = weights[name].flatten()
    with pytest.raises(ValueError, match=rf"{name}.*dimensions"):
        load_reference_checkpoint(saved.save())


def test_patch_grid_is_read_off_the_positions(saved):
    args = saved.content["args"]
    del args["latent_size"], args["video_size"]
    assert load_reference_checkpoint(saved.save()).config.latent_size == (4, 6)
    saved.content["ema"]["pos_embed"].normal_()
    with pytest.raises(ValueError, match=r"6 patches may be \(2, 12\) or \(4, 6\)"):
        load_reference_checkpoint(saved.save())
    args["video_size"] = [32, 48]
    assert load_reference_checkpoint(saved.save()).config.latent_size == (4, 6)


def test_absent_final_frame_ada_is_false(saved):
    args = saved.content["args"]
    args["final_frame_ada"] = True
    assert load_reference_checkpoint(saved.save()).config.final_frame_ada
    del args["final_frame_ada"]
    assert not load_reference_checkpoint(saved.save()).config.final_frame_ada


def test_conditioning_of_unusual_actions_needs_the_settings(saved):
    save_reference_checkpoint(tiny_irasim(action_dim=6), saved.path)
    content = torch.load(saved.path, weights_only=True)
    del content["args"]["extras"], content["args"]["action_dim"]
    torch.save(content, saved.path)
    with pytest.raises(ValueError, match=r"6 inputs for 4 frames.*args\.extras"):
        load_reference_checkpoint(saved.path)


def test_unet_needs_to_know_how_actions_share_its_input(tmp_path):
    path = tmp_path / "lvdm.pt"
    save_reference_checkpoint(tiny_unet(action_dim=7, num_frames=5), path)
    content = torch.load(path, weights_only=True)
    content["args"] = {}
    torch.save(content, path)
    with pytest.raises(ValueError, match="28 inputs"):
        load_reference_checkpoint(path)
    content["args"] = {"dataset": "languagetable", "num_frames": 15}
    torch.save(content, path)
    assert load_reference_checkpoint(path).config.action_dim == 2


@pytest.mark.parametrize("kind", [tiny_irasim, tiny_unet])
def test_weights_load_strictly(kind, tmp_path):
    path = tmp_path / "model.pt"
    save_reference_checkpoint(kind(), path)
    content = torch.load(path, weights_only=True)

    def refused(change: str):
        torch.save(content, path)
        with pytest.raises(ValueError, match=change):
            load_reference_checkpoint(path)

    weights = content["ema"]
    name = "blocks.0.attn.proj.bias" if kind is tiny_irasim else "downs.0.1.block2.proj.bias"
    bias = weights[name]
    weights[name] = bias[:3]
    refused(rf"{name} has shape \(3,\)")
    del weights[name]
    refused(f"lacks the weight '{name}'")
    weights[name] = bias
    weights["blocks.0.extra"] = bias
    refused("has not: blocks.0.extra")


def test_rotary_copies_that_differ_are_refused(tmp_path):
    path = tmp_path / "lvdm.pt"
    save_reference_checkpoint(tiny_unet(), path)
    content = torch.load(path, weights_only=True)
    name = "downs.1.3.fn.fn.fn.rotary_emb.freqs"
    content["ema"][name] = content["ema"][name] + 1
    torch.save(content, path)
    with pytest.raises(ValueError, match=f"{name} differs"):
        load_reference_checkpoint(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_reference_checkpoint(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="was refused"):
        load_reference_checkpoint(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(ValueError, match="expected a dict"):
        load_reference_checkpoint(path)
    torch.save({"epoch": 3, "weights": {}}, path)
    with pytest.raises(ValueError, match="the keys epoch, weights"):
        load_reference_checkpoint(path)
    torch.save({"ema": {"fc.weight": torch.zeros(3)}, "args": {}}, path)
    with pytest.raises(ValueError, match=r"lacks the weight 'x_embedder.proj.weight'"):
        load_reference_checkpoint(path)


class _RunsCode:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("where", ["args", "ema", "opt"])
@pytest.mark.parametrize("function", [os.system, eval, os.makedirs])
def test_crafted_pickle_is_refused_and_not_run(saved, tmp_path, where, function):
    harm = tmp_path / "harm"
    argument = {
        os.system: f"touch {harm}",
        eval: f"open({str(harm)!r}, 'w')",
        os.makedirs: str(harm),
    }[function]
    saved.save(**{where: _RunsCode(function, argument)})
    with pytest.raises(ValueError, match=r"was refused.*Nothing of it was run"):
        load_reference_checkpoint(saved.path)
    assert not harm.exists()


def test_omegaconf_settings_are_read_without_omegaconf(saved, monkeypatch):
    """Pickles settings as OmegaConf does, through stand-ins that are gone when they are read."""

    def node(path: str, **fields):
        module, _, name = f"omegaconf.{path}".rpartition(".")
        for each in ("omegaconf", module):
            if each not in sys.modules:
                monkeypatch.setitem(sys.modules, each, types.ModuleType(each))
        holder = sys.modules[module]
        if not hasattr(holder, name):
            setattr(holder, name, type(name, (), {"__module__": module}))
        instance = getattr(holder, name)()
        instance.__dict__.update(fields)
        return instance

    def leaf(value):
        kind = {int: "Integer", bool: "Boolean", str: "String", float: "Float"}[type(value)]
        metadata = node("base.Metadata", ref_type=typing.Any, optional=True, flags={})
        return node(f"nodes.{kind}Node", _metadata=metadata, _val=value)

    def listing(values):
        return node("listconfig.ListConfig", _content=[leaf(value) for value in values])

    args = saved.content["args"]
    content = {
        key: listing(value) if isinstance(value, list) else leaf(value)
        for key, value in (args | {"learning_rate": 1e-4, "final_frame_ada": True}).items()
    }
    resolvers = collections.defaultdict(dict, env={})
    metadata = node("base.ContainerMetadata", key_type=typing.Any, resolver_cache=resolvers)
    saved.save(args=node("dictconfig.DictConfig", _metadata=metadata, _content=content))
    monkeypatch.undo()
    assert "omegaconf" not in sys.modules
    loaded = load_reference_checkpoint(saved.path)
    assert loaded.config == tiny_irasim(final_frame_ada=True).config


def test_published_baselines():
    lvdm = lvdm_config(action_dim=7)
    assert (lvdm.channels, lvdm.widths) == (4, [288, 288, 576, 1152, 2304])
    vdm = vdm_config(action_dim=2)
    assert (vdm.channels, vdm.widths, vdm.action_width) == (3, [64, 64, 128, 256, 512], 768)
