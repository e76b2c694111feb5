"""Samples chunks of frames, and videos chunk by chunk, from denoisers that predict noise.

Frame 0 of a chunk is given and stays clean. Schedulers are diffusers'.

B batch, T frames a chunk, A action, C channels, h w latent size (or pixels, for VDM).
"""

import math
import warnings
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from world_model.chunk.diffusion import BETA_END, BETA_START, NUM_TRAIN_STEPS, Denoiser
from world_model.runtime.check_inputs import check_finite

Sampler = Literal["pndm", "ddpm", "ddim", "dpm-solver++"]


@torch.no_grad()
def sample_chunk(
    denoiser: Denoiser,
    first: Tensor,
    actions: Tensor,
    *,
    noise: Tensor,
    sampler: Sampler = "pndm",
    num_steps: int = 50,
    guidance: float = 1.0,
    generator: torch.Generator | list[torch.Generator] | None = None,
) -> Tensor:
    """Samples the frames that follow a given one under actions.

    The denoiser runs as many frames as `noise` has. Fewer actions than that takes are padded by
    repeating the first of them, as the reference does at the end of an episode; the frames that
    belong to the padding are sampled and thrown away.

    Args:
        denoiser: Predicts noise; a module must be in eval mode.
        first: (B, 1, C, h, w), the frame before actions[:, 0]. It is put back after every step.
        actions: (B, K, A) as the model was trained (scaled), 1 <= K <= T - 1.
        noise: (B, T, C, h, w) standard normal; frame 0 of it is not used.
        sampler: "pndm" is the reference's (arXiv 2202.09778, with Runge-Kutta steps first: 50
            steps make 59 network evaluations). The others evaluate once a step: "ddim"
            (2010.02502), "dpm-solver++" (2211.01095, second order) and "ddpm" (2006.11239), which
            draws noise at every step and uses the learned variance if there is one.
        num_steps: Denoising steps.
        guidance: Classifier-free guidance (2207.12598): 1 is the conditional prediction alone;
            any other value also evaluates the denoiser without actions.
        generator: Stream of ddpm's draws, or a list of one for each batch item; without it the
            same noise gives the same frames.

    Returns:
        (B, K + 1, C, h, w), the given frame first.

    Raises:
        ValueError: The denoiser is in training mode, a shape or setting is wrong, or a number is
            not finite. Tensors on a CUDA device are not checked, which would wait for it.
    """
    check_guidance(guidance)
    check_chunk(denoiser, first, actions, noise)
    padded = pad_actions(actions, noise.shape[1] - 1)

    def predict(latents: Tensor, time: int) -> Tensor:
        t = torch.full((len(latents),), time, device=latents.device)
        output = denoiser(latents, t, padded)
        if guidance == 1:
            return output
        return guide(output, denoiser(latents, t, None), guidance, channels=latents.shape[2])

    latents = run_sampler(
        predict, first, noise, sampler=sampler, num_steps=num_steps, generator=generator
    )
    return latents[:, : actions.shape[1] + 1]


def run_sampler(
    predict: Callable[[Tensor, int], Tensor],
    first: Tensor,
    noise: Tensor,
    *,
    sampler: Sampler,
    num_steps: int,
    generator: torch.Generator | list[torch.Generator] | None = None,
) -> Tensor:
    """All steps of a sampler, frame 0 put back after each.

    Times and coefficients stay on the host, as the kernels' constants: nothing waits for the device
    and nothing depends on values there, so that all steps can be captured in one CUDA graph ("ddpm"
    cannot, as it draws noise).

    Args:
        predict: The denoiser's output (B, T, C or 2C, h, w) of latents (B, T, C, h, w) at a time.
        first: (B, 1, C, h, w).
        noise: (B, T, C, h, w).
        sampler: See `sample_chunk`; `num_steps` and `generator` too.

    Returns:
        (B, T, C, h, w).
    """
    scheduler = _scheduler(sampler, num_steps)
    if generator is None and sampler == "ddpm":
        generator = torch.Generator(noise.device).manual_seed(0)
    latents = torch.cat([first, noise[:, 1:]], dim=1)
    for step in scheduler.timesteps:  # on the host
        output = predict(latents, int(step))
        if sampler == "ddpm":
            assert generator is not None
            latents = _ddpm_step(scheduler, output, step, latents, generator)
        else:
            eps = output[:, :, : latents.shape[2]]
            latents = scheduler.step(eps, step, latents, return_dict=False)[0]
        latents = torch.cat([first, latents[:, 1:]], dim=1)
    return latents


def guide(output: Tensor, unconditional: Tensor, guidance: float, channels: int) -> Tensor:
    """A denoiser's output, its noise pushed away from what it predicts without actions.

    Args:
        output: (B, T, C or 2C, h, w).
        unconditional: Alike; of its channels only the noise is used.
        guidance: Weight of the difference; 1 changes nothing.
        channels: C.
    """
    eps, free = output[:, :, :channels], unconditional[:, :, :channels]
    return torch.cat([free + guidance * (eps - free), output[:, :, channels:]], dim=2)


def sample_chunks(
    denoiser: Denoiser,
    first: Tensor,
    actions: Tensor,
    *,
    noise: Callable[[int], Tensor],
    **sampling: Any,
) -> Iterator[Tensor]:
    """Samples a video of any length chunk by chunk, each from the last frame of the one before.

    Args:
        denoiser: As in `sample_chunk`.
        first: (B, 1, C, h, w).
        actions: (B, N, A) for any N >= 1; a shorter last chunk is padded as in `sample_chunk`.
        noise: Gives the noise (B, T, C, h, w) of the chunk of an index, counted from 0.
        sampling: `sampler`, `num_steps`, `guidance` and `generator` of `sample_chunk`.

    Yields:
        The new frames of each chunk, (B, K, C, h, w) with K <= T - 1.
    """
    start = index = 0
    while start < actions.shape[1]:
        chunk_noise = noise(index)
        chunk_actions = actions[:, start : start + chunk_noise.shape[1] - 1]
        chunk = sample_chunk(denoiser, first, chunk_actions, noise=chunk_noise, **sampling)
        yield chunk[:, 1:]
        first = chunk[:, -1:]
        start += chunk_actions.shape[1]
        index += 1


def sample_video(
    denoiser: Denoiser,
    first: Tensor,
    actions: Tensor,
    *,
    noise: Callable[[int], Tensor],
    **sampling: Any,
) -> Tensor:
    """Samples a whole video (B, N + 1, C, h, w), the given frame first; see `sample_chunks`."""
    chunks = sample_chunks(denoiser, first, actions, noise=noise, **sampling)
    return torch.cat([first, *chunks], dim=1)


def pad_actions(actions: Tensor, num_actions: int) -> Tensor:
    """Lengthens (B, K, A) to (B, num_actions, A) by repeating the first action at the end."""
    missing = num_actions - actions.shape[1]
    return torch.cat([actions, actions[:, :1].expand(-1, missing, -1)], dim=1)


def network_evaluations(sampler: Sampler, num_steps: int) -> int:
    """Passes through the denoiser that a chunk takes, each twice with guidance.

    Raises:
        ValueError: no such sampler, or a number of steps that it does not take.
    """
    if sampler not in get_args(Sampler):
        raise ValueError(f"no sampler {sampler!r}, expected one of {', '.join(get_args(Sampler))}")
    fewest = 4 if sampler == "pndm" else 1  # PNDM is of order 4
    whole = isinstance(num_steps, Integral) and not isinstance(num_steps, bool)
    if not whole or not fewest <= num_steps <= NUM_TRAIN_STEPS:
        raise ValueError(
            f"num_steps is {num_steps!r}, {sampler} takes {fewest} to {NUM_TRAIN_STEPS}"
        )
    # The first three steps of PNDM are Runge-Kutta's, of four evaluations.
    return num_steps + 9 if sampler == "pndm" else num_steps


def sampling_times(sampler: Sampler, num_steps: int) -> list[int]:
    """The diffusion time of each network evaluation, in order; PNDM comes to some of them twice."""
    return _scheduler(sampler, num_steps).timesteps.tolist()


def _scheduler(sampler: Sampler, num_steps: int) -> Any:
    """One of diffusers' schedulers, over the reference's betas and with its spacing of times.

    Ready for `num_steps` steps; its times and coefficients are on the host.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler

    network_evaluations(sampler, num_steps)  # refuses what there is not
    common = {
        "num_train_timesteps": NUM_TRAIN_STEPS,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": "linear",
        "timestep_spacing": "linspace",
    }
    match sampler:
        case "pndm":
            scheduler = PNDMScheduler(**common, steps_offset=0)
        case "ddpm":
            scheduler = DDPMScheduler(**common, clip_sample=False, variance_type="learned_range")
        case "ddim":
            scheduler = DDIMScheduler(**common, clip_sample=False)
        case "dpm-solver++":
            scheduler = DPMSolverMultistepScheduler(**common)
    with warnings.catch_warnings():
        # DPM-Solver's scheduler calls numpy in a way that numpy 2 warns about.
        warnings.filterwarnings("ignore", message="__array__ implementation")
        scheduler.set_timesteps(num_steps)
    return scheduler


def _ddpm_step(
    scheduler: Any,
    output: Tensor,
    step: Tensor,
    latents: Tensor,
    generator: torch.Generator | list[torch.Generator],
) -> Tensor:
    """One ancestral step, with the predicted variance if the output has one."""
    if output.shape[2] == latents.shape[2]:
        # The fixed (posterior) variance is the lower end, -1, of the learned range.
        output = torch.cat([output, -torch.ones_like(output)], dim=2)
    # The scheduler wants channels second.
    stepped = scheduler.step(
        output.transpose(1, 2), step, latents.transpose(1, 2), generator, return_dict=False
    )[0]
    return stepped.transpose(1, 2)


def check_guidance(guidance: float) -> None:
    """Raise ValueError unless guidance is a finite number."""
    number = isinstance(guidance, Real) and not isinstance(guidance, bool)
    if not number or not math.isfinite(guidance):
        raise ValueError(
            f"guidance is {guidance!r}, expected a finite number; 1 is the conditional prediction "
            "alone"
        )


def check_chunk(denoiser: Denoiser, first: Tensor, actions: Tensor, noise: Tensor) -> None:
    """Refuses what does not fit together; see `sample_chunk`.

    Raises:
        ValueError: The denoiser is in training mode, a shape is wrong, or a number in host memory
            is not finite.
    """
    if isinstance(denoiser, nn.Module) and denoiser.training:
        raise ValueError("the denoiser is in training mode, which drops actions: call eval() first")
    if noise.ndim != 5:
        raise ValueError(f"noise has shape {tuple(noise.shape)}, expected (B, T, C, h, w)")
    batch, frames, *frame_shape = noise.shape
    if first.shape != (batch, 1, *frame_shape):
        raise ValueError(
            f"first has shape {tuple(first.shape)}, noise {tuple(noise.shape)}: expected "
            "(B, 1, C, h, w) and (B, T, C, h, w) of the same B, C, h, w"
        )
    if actions.ndim != 3 or len(actions) != batch or not 1 <= actions.shape[1] < frames:
        raise ValueError(
            f"actions have shape {tuple(actions.shape)}, expected (B, K, A) with B = {batch} and "
            f"1 <= K <= T - 1 = {frames - 1}; sample_video takes any number"
        )
    cure = "expected finite numbers"
    check_finite("first", first, f"{cure}; check what encoded the frame")
    check_finite("actions", actions, f"{cure}; look for a division by zero in what chose them")
    check_finite("noise", noise[:, 1:], f"{cure}, standard normal")
