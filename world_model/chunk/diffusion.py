"""The diffusion that chunk denoisers are trained on, and their loss.

1000 steps of linear betas from 1e-4 to 0.02 (Ho et al., arXiv 2006.11239); frame 0 of a chunk is
given, stays clean and is not supervised. The learned variance is Improved DDPM's (Nichol and
Dhariwal, arXiv 2102.09672).

B batch, T frames a chunk, A action, C channels, h w latent size (or pixels, for VDM).
"""

import math
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

NUM_TRAIN_STEPS, BETA_START, BETA_END = 1000, 1e-4, 0.02


class Denoiser(Protocol):
    """Predicts noise: x (B, T, C, h, w), t (B,), actions (B, T - 1, A) -> (B, T, C or 2C, h, w).

    Of 2C channels the first C are the noise (learned sigma). Actions None mean unconditional. In
    training mode `generator` is the stream of the condition dropout.
    """

    def __call__(
        self, x: Tensor, t: Tensor, actions: Tensor | None, /, **kwargs: Any
    ) -> Tensor: ...


def noise_prediction_loss(
    denoiser: Denoiser,
    latents: Tensor,
    t: Tensor,
    noise: Tensor,
    actions: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The reference's training loss: mean squared error of the predicted noise after frame 0.

    With learned sigma the variational bound of the reverse step, in bits, is added; it trains the
    variance alone, as the mean in it is detached.

    Args:
        denoiser: Predicts noise.
        latents: (B, T, C, h, w) clean frames.
        t: (B,) integer times, 0 to 999.
        noise: (B, T - 1, C, h, w) standard normal, for frames 1 to T - 1.
        actions: (B, T - 1, A) as the model takes them (scaled).
        generator: Stream of the denoiser's condition dropout; None leaves it to torch's default.

    Returns:
        (B,) losses.

    Raises:
        ValueError: A shape or type is wrong, or a time is out of range. Times on a CUDA device are
            not checked, which would wait for it.
    """
    if noise.shape != latents[:, 1:].shape:
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}, expected that of the frames after the first, "
            f"{tuple(latents[:, 1:].shape)}"
        )
    if t.dtype not in (torch.int64, torch.int32) or t.shape != latents.shape[:1]:
        raise ValueError(f"t is {t.dtype} {tuple(t.shape)}, expected integers ({len(latents)},)")
    if t.device.type == "cpu" and not ((t >= 0) & (t < NUM_TRAIN_STEPS)).all():
        raise ValueError(f"t is {t.tolist()}, expected times from 0 to {NUM_TRAIN_STEPS - 1}")
    clean, channels = latents[:, 1:], latents.shape[2]
    noisy = _at(t, clean, _schedule().signal) * clean + _at(t, clean, _schedule().sigma) * noise
    dropout = {} if generator is None else {"generator": generator}
    output = denoiser(torch.cat([latents[:, :1], noisy], dim=1), t, actions, **dropout)[:, 1:]
    eps = output[:, :, :channels]
    loss = (noise - eps).square().flatten(1).mean(dim=1)
    if output.shape[2] == channels:
        return loss
    return loss + _variance_bound(clean, noisy, t, eps.detach(), output[:, :, channels:])


class _Schedule(NamedTuple):
    """Quantities of each of the 1000 times, float64; the letters are Ho et al.'s."""

    signal: Tensor  # sqrt(alpha bar), scales the clean frame
    sigma: Tensor  # sqrt(1 - alpha bar), scales the noise
    clean_of_noisy: Tensor  # clean = clean_of_noisy noisy - clean_of_noise noise
    clean_of_noise: Tensor
    mean_of_clean: Tensor  # posterior mean = mean_of_clean clean + mean_of_noisy noisy, eq. 7
    mean_of_noisy: Tensor
    log_variance: Tensor  # of the posterior, eq. 7; zero at time 0, so replaced by time 1's there
    log_beta: Tensor


@cache
def _schedule() -> _Schedule:
    beta = torch.linspace(BETA_START, BETA_END, NUM_TRAIN_STEPS, dtype=torch.float64)
    alpha_bar = (1 - beta).cumprod(0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    variance = beta * (1 - before) / (1 - alpha_bar)
    variance[0] = variance[1]
    return _Schedule(
        signal=alpha_bar.sqrt(),
        sigma=(1 - alpha_bar).sqrt(),
        clean_of_noisy=(1 / alpha_bar).sqrt(),
        clean_of_noise=(1 / alpha_bar - 1).sqrt(),
        mean_of_clean=beta * before.sqrt() / (1 - alpha_bar),
        mean_of_noisy=(1 - before) * (1 - beta).sqrt() / (1 - alpha_bar),
        log_variance=variance.log(),
        log_beta=beta.log(),
    )


def _at(t: Tensor, like: Tensor, values: Tensor) -> Tensor:
    """The schedule's values at times (B,), in float32, to broadcast against `like` (B, ...)."""
    return values.to(t.device)[t].float().view(-1, *[1] * (like.ndim - 1))


def _variance_bound(
    clean: Tensor, noisy: Tensor, t: Tensor, eps: Tensor, fraction: Tensor
) -> Tensor:
    """Variational bound of each reverse step in bits a dimension (B,); Nichol and Dhariwal, 3.1.

    Args:
        clean: (B, T - 1, C, h, w).
        noisy: The same at time t.
        t: (B,).
        eps: Predicted noise.
        fraction: Predicted log-variance, -1 for the posterior's, 1 for beta's.
    """
    table = _schedule()

    def at(values: Tensor) -> Tensor:
        return _at(t, clean, values)

    predicted = at(table.clean_of_noisy) * noisy - at(table.clean_of_noise) * eps
    from_noisy = at(table.mean_of_noisy) * noisy
    mean = at(table.mean_of_clean) * predicted + from_noisy
    true_mean = at(table.mean_of_clean) * clean + from_noisy
    weight = (fraction + 1) / 2
    true_log_variance = at(table.log_variance)
    log_variance = weight * at(table.log_beta) + (1 - weight) * true_log_variance
    divergence = 0.5 * (
        log_variance
        - true_log_variance
        - 1
        + (true_log_variance - log_variance).exp()
        + (true_mean - mean).square() * (-log_variance).exp()
    )
    likelihood = _discretised_log_likelihood(clean, mean, 0.5 * log_variance)
    bound = torch.where(t == 0, -_mean(likelihood), _mean(divergence))
    return bound / math.log(2)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(dim=1)


def _discretised_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability of the grey level x is in (256 of them in [-1, 1]) under a Gaussian."""

    def cdf(value: Tensor) -> Tensor:
        # The reference's tanh approximation of the standard normal's.
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))

    inverse_scale = (-log_scale).exp()
    upper = cdf(inverse_scale * (x - mean + 1 / 255))
    lower = cdf(inverse_scale * (x - mean - 1 / 255))
    inside = (upper - lower).clamp(min=1e-12)
    # The outermost levels reach to infinity.
    below = torch.where(x < -0.999, upper.clamp(min=1e-12), inside)
    return torch.where(x > 0.999, (1 - lower).clamp(min=1e-12), below).log()
