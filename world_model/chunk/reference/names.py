"""What the IRASim reference calls each of our parameters.

One direction serves both: importing looks up each of our parameters under its reference name,
exporting writes it there.
"""

import re

from world_model.chunk.irasim import IRASim
from world_model.chunk.unet3d import UNet3D

# Substitutions from our names to those of the reference's `models/irasim.py`, applied in order.
IRASIM_SUBSTITUTIONS = (
    (r"^spatial_position$", "pos_embed"),
    (r"^temporal_position$", "temp_embed"),
    (r"^patch_embedding\.", "x_embedder.proj."),
    (r"^time_embedding\.", "t_embedder.mlp."),
    (r"^null_action$", "mask_emb_fn.weight"),
    (r"^final\.", "final_layer."),
    (r"\.modulation\.", ".adaLN_modulation.1."),
    (r"^action_embedding\.per_action\.0\.", "embed_arm_state."),
    (r"^action_embedding\.per_action\.(1\.)?", "embed_state."),
)
# A second MLP reads the linear embeddings of a chunk; an arm's chunk is read by its only one.
CHUNK_MLP_NAMES = {"linear": "mlp.", "mlp": "embed_state."}

# To those of its `baselines/vdm/video_diffusion_pytorch.py`, applied in order.
UNET_SUBSTITUTIONS = (
    (r"^null_action$", "null_cond_emb"),
    (r"^action_embedding\.", "embed_state."),
    (r"^time_bias\.table\.", "time_rel_pos_bias.relative_attention_bias."),
    (r"^time_embedding\.0\.", "time_mlp.1."),
    (r"^time_embedding\.2\.", "time_mlp.3."),
    (r"^first\.", "init_conv."),
    (r"^out\.", "final_conv.1."),
    (r"^final\.", "final_conv.0."),
    (r"^mid(\d)\.", r"mid_block\1."),
    # Attentions lie inside a residual, a pre-norm and, unless they are linear, a reshaping module.
    (r"^(first|mid)_(temporal|spatial)\.norm\.", r"\1_\2_attn.fn.norm."),
    (r"^(first|mid)_(temporal|spatial)\.to_", r"\1_\2_attn.fn.fn.fn.to_"),
    (r"^first_temporal_attn\.", "init_temporal_attn."),
    (r"\.spatial\.norm\.", ".2.fn.norm."),
    (r"\.spatial\.to_", ".2.fn.fn.to_"),
    (r"\.temporal\.norm\.", ".3.fn.norm."),
    (r"\.temporal\.to_", ".3.fn.fn.fn.to_"),
    (r"\.res1\.", ".0."),
    (r"\.res2\.", ".1."),
    (r"\.resample\.", ".4."),
    (r"\.modulation\.", ".mlp.1."),
    (r"\.shortcut\.", ".res_conv."),
)


def reference_names(denoiser: IRASim | UNet3D) -> dict[str, list[str]]:
    """Maps each name in our state dict to its names in the reference's.

    Only the U-Net's rotary frequencies have several: each temporal attention repeats them.
    """
    ours = list(denoiser.state_dict())
    if isinstance(denoiser, IRASim):
        chunk = CHUNK_MLP_NAMES[denoiser.config.action_embedding]
        rules = (*IRASIM_SUBSTITUTIONS, (r"^action_embedding\.per_chunk\.", chunk))
        return {name: [_substitute(name, rules)] for name in ours}
    names = {name: [_substitute(name, UNET_SUBSTITUTIONS)] for name in ours}
    names["rotary_frequencies"] = [
        _substitute(name, UNET_SUBSTITUTIONS).replace("to_qkv.weight", "rotary_emb.freqs")
        for name in ours
        if re.search(r"temporal\.to_qkv\.weight$", name)
    ]
    return names


def _substitute(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
