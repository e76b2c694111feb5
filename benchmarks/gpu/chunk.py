"""Stage: a chunk of IRASim-XL/2, 256 x 320, 16 frames, random weights.

PNDM-50 as the reference has it, eager in float32, against the captured step in bf16 on the same
noise; and the few-step sampler, decode included and not. `irasim bench chunk` measures more
variants, in more time.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.record import Record, StageSettings
from benchmarks.report import number
from benchmarks.speed import chunk as chunk_speed
from benchmarks.speed import roofline
from benchmarks.speed.chunk import ChunkSpeedConfig, Precision, count_evaluation, latent_psnr
from benchmarks.speed.chunk_random import draw_inputs, random_denoiser
from benchmarks.speed.interleave import time_in_turns
from world_model import ChunkSamplerConfig, IRASim
from world_model.chunk.sampler import ChunkSampler
from world_model.chunk.sampling import network_evaluations

ON_GPU = ChunkSpeedConfig(turns=2, decode_batches=(8,), device="cuda")
SMOKE = ChunkSpeedConfig(
    size="S",
    patch_size=8,
    height=64,
    width=64,
    frames=3,
    pndm_steps=4,
    few_steps=2,
    turns=1,
    decode_batches=(),  # an autoencoder of SDXL's shape is no toy
    device="cpu",
)


def run(settings: StageSettings, record: Record) -> None:
    """The reference's way, then the captured ones."""
    roofline.measure_for(0.3, rehearsal=settings.smoke)
    config = dataclasses.replace(SMOKE if settings.smoke else ON_GPU, seed=settings.seed)
    denoiser = random_denoiser(config, settings.device)
    inputs = draw_inputs(config, settings.device)
    record.figure("parameters", sum(parameter.numel() for parameter in denoiser.parameters()))
    pndm = ChunkSamplerConfig(name="pndm", num_steps=config.pndm_steps)
    few = ChunkSamplerConfig(name="dpm-solver++", num_steps=config.few_steps)
    captures = settings.device == "cuda"
    timed = Timed(denoiser, inputs, config, record)
    # The few-step sampler first: it is quick, and no time limit shall take it.
    fast, _ = timed(few, "bf16", graph=captures)
    half, latents = timed(pndm, "bf16", graph=captures)
    decode = chunk_speed.time_decoding(config, settings.device)
    record.figure("decode", decode)
    frames = config.frames - 1
    if decode:
        seconds = fast + frames * decode[0]["ms_per_frame"] / 1000
        record.figure("few_step_frames_per_second_decoded", frames / seconds)
        record.row("Few steps, decode included", ("frames/s",), (number(frames / seconds, 1),))
    full, expected = timed(pndm, "float32", graph=False)
    psnr = latent_psnr(latents, expected)
    record.figure("psnr_bf16_to_float32_db", psnr)
    record.figure("times_float32", full / half)
    if captures:
        record.target("chunk, captured bf16 over eager float32", full / half, least=8)
        assert psnr is not None, "bf16 gave what float32 gave, to the bit"
        record.target("chunk, PSNR of bf16 to float32 in dB", psnr, least=35)
        rate = frames / seconds if decode else float("nan")
        record.target("frames a second, few-step sampler, decode included", rate, least=16)


class Timed:
    """Times ways to draw one chunk, and notes them."""

    def __init__(
        self,
        denoiser: IRASim,
        inputs: tuple[Tensor, Tensor, Tensor],
        config: ChunkSpeedConfig,
        record: Record,
    ):
        self._denoiser, self._inputs, self._config = denoiser, inputs, config
        self._record = record
        device = inputs[0].device
        self._finish = roofline.synchroniser(device)
        dtypes: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}
        self._best = {
            name: roofline.large_matmul_peak(dtype, device) for name, dtype in dtypes.items()
        }

    def __call__(
        self, sampler: ChunkSamplerConfig, precision: Precision, *, graph: bool
    ) -> tuple[float, Tensor]:
        """Median seconds of a chunk, and its latents."""
        half = precision == "bf16"
        draw = ChunkSampler(
            self._denoiser, sampler, precision=precision, graph=graph, tabulate=half
        )
        made: list[Tensor] = []

        def call() -> None:
            made[:] = [draw(*self._inputs)]
            self._finish()

        # One evaluation, which is counted, warms up; a graph is captured besides.
        work = count_evaluation(self._denoiser, self._inputs, precision)
        turns = self._config.turns
        seconds = float(np.median(time_in_turns([call], turns, warm_up=int(graph))))
        evaluations = network_evaluations(sampler.name, sampler.num_steps)
        rate = evaluations * work.flops / seconds
        frames = self._config.batch * (self._config.frames - 1) / seconds
        name = f"{sampler.name}, {sampler.num_steps} steps, {precision}"
        name += ", captured" if graph else ", eager"
        self._record.figure(
            name,
            {
                "seconds_per_chunk": seconds,
                "frames_per_second": frames,
                "network_evaluations": evaluations,
                "tflops": rate / 1e12,
                "share_of_large_product": rate / self._best[precision],
            },
        )
        self._record.row(
            "Chunks, without decoding",
            ("way", "evaluations", "s/chunk", "frames/s", "TFLOP/s", "of a large product"),
            (name, str(evaluations), number(seconds, 4), number(frames, 2))
            + (number(rate / 1e12, 2), f"{rate / self._best[precision]:.1%}"),
        )
        return seconds, made[0]
