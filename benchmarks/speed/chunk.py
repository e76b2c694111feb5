"""`irasim bench chunk`: how fast a chunk is sampled, in which precision, captured or not.

The variants of one sampler are timed interleaved in one process, and their latents are compared
with those of the reference's way: float32, eager. Decoding is timed separately.

B chunks at once, T frames a chunk, C channels, h w latent size.
"""

from typing import Any, get_args

import numpy as np
import torch

from benchmarks import report
from benchmarks.speed.chunk_random import draw_inputs, random_denoiser
from benchmarks.speed.chunk_report import tables
from benchmarks.speed.config import BASE, VARIANTS, ChunkSpeedConfig, Precision, Variant
from benchmarks.speed.flops import Operations, count_operations
from benchmarks.speed.interleave import ratio, time_in_turns
from benchmarks.speed.roofline import large_matmul_peak, synchroniser
from world_model import ChunkSamplerConfig, IRASim
from world_model.chunk.sampler import ChunkSampler, half_precision
from world_model.chunk.sampling import network_evaluations
from world_model.codec import AutoencoderCodec
from world_model.config import CodecConfig
from world_model.directories import check_directory


def main(config: ChunkSpeedConfig) -> dict[str, Any]:
    """Measure, print tables, write the report if asked, and return it."""
    device = report.choose_device(config.device)
    if config.out is not None:
        check_directory(config.out)
    if not device.startswith("cuda") and any("graph" in name for name in config.variants or ()):
        raise ValueError(f"variants {config.variants} on {device!r}: graphs need a CUDA device")
    with report.threads(config.threads):
        denoiser = random_denoiser(config, device)
        samplers = [
            ChunkSamplerConfig(name="pndm", num_steps=config.pndm_steps),
            ChunkSamplerConfig(name="dpm-solver++", num_steps=config.few_steps),
        ]
        results = {
            **report.heading("irasim bench chunk", config, device),
            "model": f"IRASim-{config.size}/{config.patch_size}, Frame-Ada, random weights",
            "parameters": sum(parameter.numel() for parameter in denoiser.parameters()),
            "tf32": torch.get_float32_matmul_precision() != "highest",
            "matmul_tflops": {
                name: large_matmul_peak(dtype, device) / 1e12
                for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16))
            },
            "samplers": [measure(config, denoiser, sampler) for sampler in samplers],
            "decode": time_decoding(config, device),
        }
    return report.publish(results, tables(results), config.out, "chunk")


def measure(
    config: ChunkSpeedConfig, denoiser: IRASim, sampler: ChunkSamplerConfig
) -> dict[str, Any]:
    """Time all variants of one sampler."""
    device = denoiser.null_action.device
    names = chosen_variants(config.variants, device.type)
    inputs, finish = draw_inputs(config, str(device)), synchroniser(device)
    samplers = {name: ChunkSampler(denoiser, sampler, **VARIANTS[name]) for name in names}

    def timed(name: Variant):
        def call():
            samplers[name](*inputs)
            finish()

        return call

    seconds = time_in_turns([timed(name) for name in names], config.turns)  # (turns, variants)
    latents = {name: samplers[name](*inputs) for name in names}
    precisions: dict[Precision, None] = {precision_of(name): None for name in names}
    peaks = {
        precision: count_evaluation(denoiser, inputs, precision).products_peak(device)
        for precision in precisions
    }
    eager = {
        tabulate: count_operations(
            lambda tabulate=tabulate: ChunkSampler(denoiser, sampler, tabulate=tabulate)(*inputs)
        ).flops
        for tabulate in sorted({VARIANTS[name].get("tabulate", False) for name in names})
    }
    rows = []
    for index, name in enumerate(names):
        median = float(np.median(seconds[:, index]))
        flops = eager[VARIANTS[name].get("tabulate", False)]
        rows.append(
            {
                "variant": name,
                "precision": precision_of(name),
                "ms_per_chunk": 1000 * median,
                "ms_per_chunk_range": [
                    1000 * float(f(seconds[:, index])) for f in (np.min, np.max)
                ],
                "frames_per_second": config.batch * (config.frames - 1) / median,
                "times_float32": ratio(seconds[:, names.index(BASE)], seconds[:, index]),
                "tflops": flops / median / 1e12,
                "tflop_per_chunk": flops / 1e12,
                "products_ceiling_tflops": peaks[precision_of(name)] / 1e12,
                "psnr_to_float32_db": latent_psnr(latents[name], latents[BASE]),
            }
        )
    return {
        "sampler": sampler.name,
        "num_steps": sampler.num_steps,
        "network_evaluations": network_evaluations(sampler.name, sampler.num_steps),
        "latents_deviation": float(latents[BASE][:, 1:].std()),
        "variants": rows,
    }


def chosen_variants(asked: tuple[Variant, ...] | None, device: str) -> list[Variant]:
    """float32 first, then what was asked for, or what the device has."""
    if asked is None:
        asked = tuple(n for n in get_args(Variant) if device == "cuda" or "graph" not in n)
    return [BASE, *(name for name in dict.fromkeys(asked) if name != BASE)]


def precision_of(variant: Variant) -> Precision:
    """The precision of a variant's matrix products."""
    return VARIANTS[variant].get("precision", "float32")


def count_evaluation(denoiser: IRASim, inputs: Any, precision: Precision) -> Operations:
    """The operations of one pass through the network, adaLN parameters aside."""
    first, actions, noise = inputs
    network = half_precision(denoiser) if precision == "bf16" else denoiser
    latents = torch.cat([first, noise[:, 1:]], dim=1)
    time = torch.tensor([500], device=latents.device)
    table = [parameters[0] for parameters in network.modulation_table(time, actions)]
    return count_operations(lambda: network.denoise(latents, table))


def latent_psnr(made: torch.Tensor, expected: torch.Tensor) -> float | None:
    """dB of the new frames' latents against the range that the expected ones span.

    None where they are equal.
    """
    made, expected = made[:, 1:], expected[:, 1:]
    error = (made - expected).square().mean()
    if not error:
        return None
    return float(10 * torch.log10((expected.max() - expected.min()).square() / error))


def time_decoding(config: ChunkSpeedConfig, device: str) -> list[dict[str, Any]]:
    """Time an autoencoder of SDXL's shape on a chunk's new frames, so many frames at once."""
    if not config.decode_batches:
        return []
    settings = {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    with torch.device(device):
        codec = AutoencoderCodec(CodecConfig(kind="autoencoder_kl", settings=settings)).eval()
    latents = draw_inputs(config, device)[2][:, 1:].flatten(0, 1)
    finish = synchroniser(device)
    rows = []
    for at_once in sorted(set(config.decode_batches)):

        @torch.no_grad()
        def decode(at_once: int = at_once) -> None:
            for part in latents.split(at_once):
                codec.decode(part)
            finish()

        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        seconds = time_in_turns([decode], config.turns)[:, 0]
        peak = torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else None
        rows.append(
            {
                "frames_at_once": min(at_once, len(latents)),
                "ms_per_frame": 1000 * float(np.median(seconds)) / len(latents),
                "peak_cuda_mib": None if peak is None else peak / 2**20,
            }
        )
    return rows
