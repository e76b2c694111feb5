"""Loads and saves checkpoints of the IRASim reference."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from world_model.chunk.irasim import IRASim
from world_model.chunk.reference.architecture import (
    check_args,
    irasim_args,
    irasim_config_of,
    unet_args,
    unet_config_of,
)
from world_model.chunk.reference.names import reference_names
from world_model.chunk.reference.unpickle import read_reference_file
from world_model.chunk.unet3d import UNet3D
from world_model.config_fields import check_count
from world_model.io.sound_weights import check_stored
from world_model.io.whole_files import whole_file

Denoiser = TypeVar("Denoiser", IRASim, UNet3D)


def load_reference_checkpoint(path: str | Path, num_heads: int | None = None) -> IRASim | UNet3D:
    """Loads a denoiser from a `.pt` file of the reference's trainer: its EMA weights, strictly.

    The architecture is read from the weights and, where they agree, from the settings (`args`)
    saved beside them. The file is mapped, not read whole; the denoiser keeps copies only.

    Args:
        path: The file: a dict with `ema` and `args`, or a plain state dict.
        num_heads: Attention heads of an IRASim transformer, needed where `args.model` does not
            describe the weights, as heads cannot be read off them. Giving it says that the weights
            are right where `args` contradict them.

    Returns:
        The denoiser, an `IRASim` or a `UNet3D` (VDM, LVDM), in float32 on the CPU, in eval mode.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: `num_heads` is no positive integer; the file is unreadable or would run code,
            lacks or adds weights, or does not say what the model is.
    """
    if num_heads is not None:
        check_count("num_heads", num_heads)
    content = read_reference_file(path)
    try:
        args = {} if content.get("args") is None else content["args"]
        weights = _ema_weights(content)
        _check_size(weights, Path(path))
        check_args(args)
        if "null_cond_emb" in weights:
            config = unet_config_of(weights, args, num_heads)
            return _filled(UNet3D, config, weights)
        config = irasim_config_of(weights, args, num_heads)
        return _filled(IRASim, config, weights)
    except KeyError as error:
        raise ValueError(
            f"{path} lacks the weight {error}: it is no IRASim, VDM or LVDM with actions"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error


def save_reference_checkpoint(denoiser: IRASim | UNet3D, path: str | Path) -> None:
    """Saves a denoiser so that the reference runs it, and `load_reference_checkpoint` reads it.

    `model` and `ema` both hold the weights; there is no optimizer state, so the reference can
    evaluate the file but not resume from it. It builds published sizes only, from its own config;
    `args` say what that has to be, and name `num_heads` and `action_dim`, which it ignores.
    """
    state = denoiser.state_dict()
    weights = {
        theirs: state[ours].cpu().contiguous()
        for ours, names in reference_names(denoiser).items()
        for theirs in names
    }
    is_unet = isinstance(denoiser, UNet3D)
    args = unet_args(denoiser.config) if is_unet else irasim_args(denoiser.config)
    # Given an open file, torch does not write its name into it.
    with whole_file(path, durable=True) as temporary, temporary.open("wb") as file:
        torch.save({"model": weights, "ema": weights, "args": args}, file)


def _ema_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    weights = content.get("ema", content)
    if not isinstance(weights, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items()
    ):
        raise ValueError(
            f"it has the keys {', '.join(map(str, content))}; the averaged weights are expected "
            "under 'ema', or a plain state dict"
        )
    return weights


def _check_size(weights: dict[str, Tensor], path: Path) -> None:
    """Raise ValueError unless the file holds every number of the weights."""
    for name, weight in weights.items():
        check_stored(weight, name)
    # A few are there several times over.
    total, there = sum(weight.nbytes for weight in weights.values()), path.stat().st_size
    if total > 2 * there:
        raise ValueError(f"its weights take {total:,} bytes, of which it holds {there:,} at most")


def _filled(kind: type[Denoiser], config: Any, weights: dict[str, Tensor]) -> Denoiser:
    """Builds the denoiser around float32 copies of the weights, without initialising it first."""
    with torch.device("meta"):
        denoiser = kind(config)
    expected, names = denoiser.state_dict(), reference_names(denoiser)
    state: dict[str, Tensor] = {}
    for ours, (first, *copies) in names.items():
        found = weights[first]
        if found.shape != expected[ours].shape:
            raise ValueError(
                f"{first} has shape {tuple(found.shape)}, expected {tuple(expected[ours].shape)}"
            )
        for other in copies:
            if not torch.equal(found, weights[other]):
                raise ValueError(f"{other} differs from {first}, of which it is a copy")
        state[ours] = found.to(torch.float32, copy=True)
    for name, exact in kind.constants(config).items():
        # A file in half precision rounds what the reference computes anew in full.
        precision = torch.finfo(weights[names[name][0]].dtype).eps
        if precision > torch.finfo(torch.float32).eps and torch.allclose(
            state[name], exact, rtol=precision, atol=precision
        ):
            state[name] = exact
    unread = set(weights).difference(*names.values())
    if unread:
        raise ValueError(f"it has weights that this model has not: {', '.join(sorted(unread))}")
    denoiser.load_state_dict(state, strict=True, assign=True)
    return denoiser.eval()
