"""Draws chunks in a way that is set up once: sampler, precision, eager or as one CUDA graph.

B batch, T frames a chunk, K actions, A action, C channels, h w latent size, S times, D width.
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from world_model.chunk.irasim import Block, IRASim
from world_model.chunk.sampling import check_chunk, guide, pad_actions, run_sampler, sampling_times
from world_model.chunk.unet3d import UNet3D
from world_model.runtime.precision import Precision, in_own_precision

if TYPE_CHECKING:
    from world_model.chunk.config import ChunkSamplerConfig


class ChunkSampler:
    """As `sample_chunk`, for many chunks of one denoiser.

    The denoiser's weights are read where they lie: make another sampler after they have moved, or,
    in bf16, after they have changed.

    Args:
        denoiser: In eval mode.
        config: Sampler, steps and guidance.
        precision: float32 is the reference's, strict in convolutions too (no TF32). bf16: matrix
            products, attention and activations in bfloat16; the noise schedule, the latents
            between steps, embeddings, adaLN parameters and a transformer's last layer in float32.
        graph: All steps as one CUDA graph, captured when a number of chunks comes first. Eager is
            the same function, kernel by kernel.
        tabulate: Compute a transformer's adaLN parameters of all steps in one go. Equal up to
            rounding; takes 6 B T D numbers a step and spatial block.

    Raises:
        ValueError: A graph of "ddpm", which draws noise at every step, or a table of a U-Net.
    """

    def __init__(
        self,
        denoiser: IRASim | UNet3D,
        config: "ChunkSamplerConfig",
        *,
        precision: Precision = "float32",
        graph: bool = False,
        tabulate: bool = False,
    ):
        if precision not in ("float32", "bf16"):
            raise ValueError(f"precision is {precision!r}, expected float32 or bf16")
        if graph and config.name == "ddpm":
            raise ValueError(
                "sampler ddpm draws noise at every step, which a CUDA graph cannot; take "
                "dpm-solver++, ddim or pndm, or graph=False"
            )
        if tabulate and not isinstance(denoiser, IRASim):
            raise ValueError(
                f"tabulate is True for a {type(denoiser).__name__}, which has no adaLN parameters; "
                "only IRASim's transformer has"
            )
        self.config, self.precision = config, precision
        self._given = denoiser
        in_bf16 = precision == "bf16"
        self._autocast = in_bf16 and isinstance(denoiser, UNet3D)
        self._denoiser = (
            half_precision(denoiser) if in_bf16 and isinstance(denoiser, IRASim) else denoiser
        )
        self._times: Tensor | None = None
        if tabulate:
            times = sorted(set(sampling_times(config.name, config.num_steps)))
            self._position = {time: position for position, time in enumerate(times)}
            self._times = torch.tensor(times, device=denoiser.null_action.device)
        self._captured = None
        if graph:
            from world_model.runtime.cuda_graph import CapturedFunctions, weakly

            # One call makes many passes through the network: it has met all kernels.
            sample = weakly(self._sample)
            self._captured = CapturedFunctions(sample, warm_up=1, name="the chunk sampler")

    @property
    def device(self) -> torch.device:
        return self._given.null_action.device

    @in_own_precision
    def __call__(
        self,
        first: Tensor,
        actions: Tensor,
        noise: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Tensor:
        """Samples the frames that follow a given one; see `sample_chunk`.

        Args:
            first: float32 (B, 1, C, h, w).
            actions: float32 (B, K, A), scaled, 1 <= K <= T - 1.
            noise: float32 (B, T, C, h, w).
            generator: Of ddpm's draws.

        Returns:
            float32 (B, K + 1, C, h, w), the given frame first.
        """
        check_chunk(self._given, first, actions, noise)
        for name, tensor in (("first", first), ("actions", actions), ("noise", noise)):
            if tensor.dtype != torch.float32:
                raise ValueError(f"{name} is {tensor.dtype}, expected torch.float32")
        padded = pad_actions(actions, noise.shape[1] - 1)
        if self._captured is None:
            latents = self._sample(first, padded, noise, generator)
        else:
            latents = self._captured(first=first, actions=padded, noise=noise)
            assert isinstance(latents, Tensor)
        return latents[:, : actions.shape[1] + 1]

    def _sample(
        self,
        first: Tensor,
        actions: Tensor,
        noise: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Tensor:
        """The whole of a chunk: what is captured. Nothing in it waits for the device."""
        config = self.config
        context = torch.autocast(first.device.type, torch.bfloat16) if self._autocast else None
        with context or nullcontext():
            conditional = self._predictor(actions)
            unconditional = None if config.guidance == 1 else self._predictor(None)

            def predict(latents: Tensor, time: int) -> Tensor:
                output = conditional(latents, time)
                if unconditional is None:
                    return output
                free = unconditional(latents, time)
                return guide(output, free, config.guidance, channels=latents.shape[2])

            return run_sampler(
                predict,
                first,
                noise,
                sampler=config.name,
                num_steps=config.num_steps,
                generator=generator,
            )

    def _predictor(self, actions: Tensor | None) -> Callable[[Tensor, int], Tensor]:
        """The denoiser under actions: latents (B, T, C, h, w) and a time to its output."""
        denoiser = self._denoiser
        if self._times is not None:
            assert isinstance(denoiser, IRASim)
            table = denoiser.modulation_table(self._times, actions)

            def look_up(latents: Tensor, time: int) -> Tensor:
                step = self._position[time]
                return denoiser.denoise(latents, [parameters[step] for parameters in table])

            return look_up
        return lambda latents, time: denoiser(
            latents, torch.full((len(latents),), time, device=latents.device), actions
        )


def half_precision(denoiser: IRASim) -> IRASim:
    """The denoiser with the layers that take the time in bfloat16: patches, attention and MLPs.

    Embeddings, adaLN and the last layer are the given one's own, in its precision.
    """
    blocks = [block for block in denoiser.blocks if isinstance(block, Block)]
    inner: list[nn.Module] = [layer for block in blocks for layer in (block.attn, block.mlp)]
    heavy = {id(p) for layer in (denoiser.patch_embedding, *inner) for p in layer.parameters()}
    tensors = chain(denoiser.parameters(), denoiser.buffers())
    shared = {id(tensor): tensor for tensor in tensors if id(tensor) not in heavy}
    halved = copy.deepcopy(denoiser, shared)
    for block in halved.blocks:
        assert isinstance(block, Block)
        block.attn.to(torch.bfloat16)
        block.mlp.to(torch.bfloat16)
    halved.patch_embedding.to(torch.bfloat16)
    return halved
