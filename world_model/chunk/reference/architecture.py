"""Reads a denoiser's architecture off a checkpoint of the IRASim reference.

The weights decide. The settings saved beside them (`args`) add what weights cannot tell, and only
where they agree with the weights: the number of heads, how actions share one input layer, whether
the last layer sees the action.
"""

import re
from typing import Any, Literal

from torch import Tensor

from world_model.chunk.irasim import SIZES, IRASimConfig
from world_model.chunk.layers import sincos_table_2d
from world_model.chunk.unet3d import UNet3DConfig
from world_model.config_fields import check_count

Weights = dict[str, Tensor]
Conditioning = Literal["frame", "video"]
# The reference's numbers for the ways of conditioning, and pixels a latent.
EXTRAS: dict[Conditioning, int] = {"frame": 3, "video": 5}
VAE_SCALE = 8
# Actions of an arm with a gripper (RT-1, Bridge) and of Language-Table's end effector.
ARM_ACTION_DIM, TABLE_ACTION_DIM = 7, 2
TABLE_DATASET = "languagetable"
# Fixed position tables drift a little as a running average is taken of them in training.
POSITION_TOLERANCE = 0.05


def check_args(args: Any) -> None:
    """Raise ValueError unless settings are by name, and those that are looked at of their kind."""
    if not isinstance(args, dict):
        raise ValueError(f"args is a {type(args).__name__}, expected settings by name")
    for name in ("num_frames", "action_dim", "num_heads", "extras"):
        if args.get(name) is not None:
            check_count(f"args.{name}", args[name])
    for name in ("latent_size", "video_size"):
        size = args.get(name)
        if size is None:
            continue
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise ValueError(f"args.{name} is {size!r}, expected a height and a width")
        for side in size:
            check_count(f"a side of args.{name}", side)
    for name in ("model", "dataset"):
        if not isinstance(args.get(name, ""), str):
            raise ValueError(f"args.{name} is {args[name]!r}, expected text")


def irasim_config_of(weights: Weights, args: dict[str, Any], num_heads: int | None) -> IRASimConfig:
    """Config of the transformer that has these weights.

    Raises:
        KeyError: A weight is missing.
        ValueError: The heads are not known, or `args` contradict the weights and `num_heads` does
            not say that the weights are right.
    """
    conflicts: list[str] = []
    width, channels, patch, _ = _shape(weights, "x_embedder.proj.weight", 4)
    num_frames = _shape(weights, "temp_embed", 3)[1]
    depth = _num_indexed(weights, "blocks")
    out_channels = _shape(weights, "final_layer.linear.weight", 2)[0] / patch**2
    if out_channels not in (channels, 2 * channels):
        raise ValueError(
            f"the last layer gives {out_channels:g} channels, expected {channels}, or "
            f"{2 * channels} with learned sigma"
        )
    learn_sigma = out_channels == 2 * channels
    for name, actual in (("num_frames", num_frames), ("learn_sigma", learn_sigma)):
        if args.get(name, actual) != actual:
            conflicts.append(f"args.{name} is {args[name]}, the weights are for {actual}")
    conditioning, action_dim = _conditioning(weights, args, num_frames, conflicts)
    latent_size = _latent_size(weights["pos_embed"][0], patch, args, conflicts)
    described_heads = _described_heads(args, depth, width, patch, conflicts)
    if num_heads is None:
        if described_heads is None or conflicts:
            reasons = "; ".join(conflicts) or "args do not name a published model"
            raise ValueError(
                f"args do not describe the weights ({reasons}). The weights do not tell the number "
                f"of heads: give num_heads (published models: {_published_heads()})"
            )
        num_heads = described_heads
    elif not conflicts and described_heads not in (None, num_heads):
        raise ValueError(
            f"num_heads is {num_heads}, but args.model is {args.get('model')}, which has "
            f"{described_heads} heads and fits the weights: leave num_heads out"
        )
    return IRASimConfig(
        latent_size=latent_size,
        hidden_size=width,
        depth=depth,
        num_heads=num_heads,
        action_dim=action_dim,
        action_embedding="linear" if "embed_arm_state.weight" in weights else "mlp",
        conditioning=conditioning,
        final_frame_ada=bool(args.get("final_frame_ada", False)),
        num_frames=num_frames,
        patch_size=patch,
        in_channels=channels,
        learn_sigma=learn_sigma,
    )


def unet_config_of(weights: Weights, args: dict[str, Any], num_heads: int | None) -> UNet3DConfig:
    """Config of the VDM or LVDM that has these weights, its heads among what they tell.

    Raises:
        KeyError: A weight is missing.
        ValueError: `args` contradict the weights, or do not tell how actions share an input.
    """
    dim, channels = _shape(weights, "init_conv.weight", 5)[:2]
    buckets, heads = _shape(weights, "time_rel_pos_bias.relative_attention_bias.weight", 2)
    if num_heads not in (None, heads):
        raise ValueError(f"num_heads is {num_heads}, the weights have {heads}: leave it out")
    widths = [
        _shape(weights, f"downs.{index}.0.block1.proj.weight", 5)[0]
        for index in range(_num_indexed(weights, "downs"))
    ]
    num_inputs = _shape(weights, "embed_state.fc1.weight", 2)[1]
    action_dim = _unet_action_dim(num_inputs, args)
    return UNet3DConfig(
        channels=channels,
        dim=dim,
        action_dim=action_dim,
        dim_mults=tuple(width // dim for width in widths),
        action_width=_shape(weights, "null_cond_emb", 2)[1],
        num_frames=num_inputs // action_dim + 1,
        num_heads=heads,
        num_time_buckets=buckets,
    )


def irasim_args(config: IRASimConfig) -> dict[str, Any]:
    """The reference's settings of a transformer; `num_heads` and `action_dim` are additions."""
    args = {
        "dataset": TABLE_DATASET if config.action_embedding == "linear" else "rt1",
        "extras": EXTRAS[config.conditioning],
        "final_frame_ada": config.final_frame_ada,
        "latent_size": list(config.latent_size),
        "video_size": [VAE_SCALE * side for side in config.latent_size],
        "num_frames": config.num_frames,
        "mask_frame_num": 1,
        "learn_sigma": config.learn_sigma,
        "num_heads": config.num_heads,
        "action_dim": config.action_dim,
    }
    for size, shape in SIZES.items():
        if shape == (config.depth, config.hidden_size, config.num_heads):
            args["model"] = f"IRASim-{size}/{config.patch_size}"
    return args


def unet_args(config: UNet3DConfig) -> dict[str, Any]:
    """The reference's settings of a VDM or LVDM; `action_dim` is an addition."""
    latents = config.channels != 3
    args = {
        "dataset": TABLE_DATASET if config.action_dim == TABLE_ACTION_DIM else "rt1",
        "model": "LVDM" if latents else "VDM",
        "pre_encode": latents,
        "num_frames": config.num_frames,
        "mask_frame_num": 1,
        "learn_sigma": False,
        "action_dim": config.action_dim,
    }
    return args | ({"lvdm_dim": config.dim} if latents else {})


def _num_indexed(weights: Weights, prefix: str) -> int:
    matches = (re.match(rf"{prefix}\.(\d+)\.", name) for name in weights)
    found = {int(match[1]) for match in matches if match}
    if found != set(range(len(found))):
        raise ValueError(
            f"{prefix} are numbered up to {max(found)}, but there are {len(found)} of them"
        )
    return len(found)


def _shape(weights: Weights, name: str, ndim: int) -> tuple[int, ...]:
    """Shape of a weight that has `ndim` dimensions in every model of its kind."""
    shape = tuple(weights[name].shape)
    if len(shape) != ndim:
        raise ValueError(f"{name} has shape {shape}, expected {ndim} dimensions")
    return shape


def _conditioning(
    weights: Weights, args: dict[str, Any], num_frames: int, conflicts: list[str]
) -> tuple[Conditioning, int]:
    """How actions condition the model, and how many numbers an action has."""
    expected = args.get("extras")
    if "embed_arm_state.weight" in weights:
        action_dim = _shape(weights, "embed_arm_state.weight", 2)[1]
        conditioning: Conditioning = "video" if "mlp.fc1.weight" in weights else "frame"
    else:
        num_inputs = _shape(weights, "embed_state.fc1.weight", 2)[1]
        readings: dict[Conditioning, int] = {"frame": num_inputs}
        if num_inputs % (num_frames - 1) == 0:
            readings["video"] = num_inputs // (num_frames - 1)
        usual = args.get("action_dim", ARM_ACTION_DIM)
        fitting: list[Conditioning] = [name for name in readings if readings[name] == usual]
        # With two frames both readings fit; with unusual actions none does: args decide.
        possible: list[Conditioning] = fitting or list(readings)
        named: list[Conditioning] = [name for name in possible if EXTRAS[name] == expected]
        candidates: list[Conditioning] = named or fitting
        if len(candidates) != 1:
            raise ValueError(
                f"the action layer has {num_inputs} inputs for {num_frames} frames, which fits "
                f"{' and '.join(readings)} conditioning; args.extras (3 frame, 5 video) would "
                f"tell, got {expected}"
            )
        conditioning = candidates[0]
        action_dim = readings[conditioning]
    if expected not in (None, EXTRAS[conditioning]):
        conflicts.append(
            f"args.extras is {expected}, the weights are conditioned by {conditioning} "
            f"({EXTRAS[conditioning]})"
        )
    return conditioning, action_dim


def _latent_size(
    positions: Tensor, patch: int, args: dict[str, Any], conflicts: list[str]
) -> tuple[int, int]:
    """Height and width of a latent: of the grid whose position table (N, D) the weights hold."""
    num_patches, num_features = positions.shape
    described = None
    if args.get("latent_size"):
        height, width = args["latent_size"]
        described = (int(height), int(width))
    elif args.get("video_size"):
        height, width = args["video_size"]
        described = (int(height) // VAE_SCALE, int(width) // VAE_SCALE)
    grids = [(n, num_patches // n) for n in range(1, num_patches + 1) if num_patches % n == 0]
    fitting = [(rows * patch, columns * patch) for rows, columns in grids]

    def error(rows: int, columns: int) -> float:
        table = sincos_table_2d(num_features, rows, columns)
        return (table - positions).abs().max().item()

    tabled = [
        size for grid, size in zip(grids, fitting, strict=True) if error(*grid) < POSITION_TOLERANCE
    ]
    # Positions that were trained away from the table still say how many patches there are.
    fitting = tabled or fitting
    if described in fitting:
        return described
    if described:
        conflicts.append(
            f"args.video_size or latent_size gives latents of {described}, the weights have "
            f"{num_patches} patches of {patch}, which is {' or '.join(map(str, fitting))}"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"the size of a latent is not known: {num_patches} patches may be "
            f"{' or '.join(map(str, fitting))}; args.video_size would tell, got "
            f"{args.get('video_size')}"
        )
    return fitting[0]


def _described_heads(
    args: dict[str, Any], depth: int, width: int, patch: int, conflicts: list[str]
) -> int | None:
    """Heads of the published model that `args.model` names, if the weights are its."""
    match = re.fullmatch(r"IRASim-(\w+)/(\d+)", str(args.get("model")))
    if match is None or match[1] not in SIZES:
        return args.get("num_heads")
    named_depth, named_width, heads = SIZES[match[1]]
    if (named_depth, named_width, int(match[2])) == (depth, width, patch):
        return heads
    conflicts.append(
        f"args.model is {match[0]}, of depth {named_depth}, width {named_width} and patch "
        f"{match[2]}; the weights have depth {depth}, width {width} and patch {patch}"
    )
    return None


def _published_heads() -> str:
    return ", ".join(f"{size} {heads}" for size, (_, _, heads) in SIZES.items())


def _unet_action_dim(num_inputs: int, args: dict[str, Any]) -> int:
    """Numbers of an action, where one layer reads those of a whole chunk."""
    candidates = (
        [args["action_dim"]] if "action_dim" in args else [ARM_ACTION_DIM, TABLE_ACTION_DIM]
    )
    if "action_dim" not in args and "dataset" in args:
        by_table = args["dataset"] == TABLE_DATASET
        candidates = [TABLE_ACTION_DIM if by_table else ARM_ACTION_DIM]
    fitting = [size for size in candidates if num_inputs % size == 0]
    if "num_frames" in args:
        fitting = [size for size in fitting if num_inputs == size * (args["num_frames"] - 1)]
    if len(fitting) != 1:
        raise ValueError(
            f"the action layer has {num_inputs} inputs: args have to tell how many actions of how "
            f"many numbers; got dataset {args.get('dataset')}, num_frames {args.get('num_frames')}"
        )
    return fitting[0]
