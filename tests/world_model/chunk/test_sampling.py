"""Sampling chunks and videos: schedulers, guidance, padding, and the training loss."""

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler

from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim
from world_model import noise_prediction_loss, sample_chunk, sample_chunks, sample_video

SAMPLERS = ("pndm", "ddpm", "ddim", "dpm-solver++")
ALPHA_BAR = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
SPREAD = 0.5


def gaussian_denoiser(x, t, actions):
    """The exact noise prediction for frames of independent values of spread SPREAD."""
    alpha_bar = ALPHA_BAR[t].float().view(-1, 1, 1, 1, 1)
    return x * (1 - alpha_bar).sqrt() / (alpha_bar * SPREAD**2 + 1 - alpha_bar)


@pytest.fixture
def inputs():
    """First frame, actions and noise of a tiny transformer."""
    x, _, actions = chunk_inputs(tiny_irasim())
    return x[:, :1], actions, torch.randn(x.shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("sampler", "tolerance"), [("pndm", 0.06), ("dpm-solver++", 0.06), ("ddim", 0.1), ("ddpm", 0.3)]
)
@pytest.mark.parametrize("num_steps", [20, 50])
def test_samplers_find_the_distribution_the_denoiser_knows(sampler, tolerance, num_steps):
    noise = torch.randn(1, 3, 4, 40, 40, generator=torch.Generator().manual_seed(0))
    first, actions = torch.zeros(1, 1, 4, 40, 40), torch.zeros(1, 2, 1)
    frames = sample_chunk(
        gaussian_denoiser, first, actions, noise=noise, sampler=sampler, num_steps=num_steps
    )[:, 1:]
    assert frames.std().item() == pytest.approx(SPREAD, rel=tolerance)
    if sampler != "ddpm":  # the others only scale the noise
        torch.testing.assert_close(frames, SPREAD * noise[:, 1:], rtol=tolerance, atol=1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_first_frame_is_seen_clean_at_every_step_and_returned(sampler, inputs):
    first, actions, noise = inputs
    denoiser, seen = tiny_irasim(), []

    def watched(x, t, actions):
        seen.append(torch.equal(x[:, :1], first))
        return denoiser(x, t, actions)

    frames = sample_chunk(watched, first, actions, noise=noise, sampler=sampler, num_steps=6)
    assert all(seen)
    assert torch.equal(frames[:, :1], first)
    assert frames.shape == noise.shape


@pytest.mark.parametrize(
    ("sampler", "evaluations"), [("pndm", 59), ("ddpm", 50), ("ddim", 50), ("dpm-solver++", 50)]
)
def test_fifty_steps_make_so_many_network_evaluations(sampler, evaluations, inputs):
    first, actions, noise = inputs
    times = []

    def counted(x, t, actions):
        times.append(t)
        return torch.zeros_like(x)

    sample_chunk(counted, first, actions, noise=noise, sampler=sampler)
    assert len(times) == evaluations
    assert torch.equal(times[0], torch.tensor([999, 999]))


def test_pndm_is_the_references_pipeline(inputs):
    first, actions, noise = inputs
    denoiser = tiny_irasim()
    scheduler = PNDMScheduler(
        beta_start=1e-4, beta_end=0.02, timestep_spacing="linspace", steps_offset=0
    )
    scheduler.set_timesteps(10)
    latents = torch.cat([first, noise[:, 1:]], dim=1)
    with torch.no_grad():
        for t in scheduler.timesteps:
            eps = denoiser(latents, t.expand(2), actions)
            latents = scheduler.step(eps, t, latents, return_dict=False)[0]
            latents = torch.cat([first, latents[:, 1:]], dim=1)
    frames = sample_chunk(denoiser, first, actions, noise=noise, num_steps=10)
    assert torch.equal(frames, latents)


def test_ddpm_without_learned_sigma_is_diffusers_with_the_posterior_variance(inputs):
    first, actions, noise = inputs
    denoiser = tiny_irasim()
    scheduler = DDPMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        clip_sample=False,
        timestep_spacing="linspace",
        variance_type="fixed_small",
    )
    scheduler.set_timesteps(10)
    generator = torch.Generator().manual_seed(7)
    latents = torch.cat([first, noise[:, 1:]], dim=1).transpose(1, 2)
    with torch.no_grad():
        for t in scheduler.timesteps:
            eps = denoiser(latents.transpose(1, 2), t.expand(2), actions).transpose(1, 2)
            latents = scheduler.step(eps, t, latents, generator, return_dict=False)[0]
            latents = torch.cat([first.transpose(1, 2), latents[:, :, 1:]], dim=2)
    frames = sample_chunk(
        denoiser,
        first,
        actions,
        noise=noise,
        sampler="ddpm",
        num_steps=10,
        generator=torch.Generator().manual_seed(7),
    )
    torch.testing.assert_close(frames, latents.transpose(1, 2))


def test_ddpm_uses_the_learned_variance():
    noise = torch.randn(1, 2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    first, actions = torch.zeros(1, 1, 1, 40, 40), torch.zeros(1, 1, 1)
    spreads = []
    for fraction in (-1.0, 1.0):

        def denoiser(x, t, actions, fraction=fraction):
            eps = gaussian_denoiser(x, t, actions)
            return torch.cat([eps, torch.full_like(eps, fraction)], dim=2)

        frames = sample_chunk(denoiser, first, actions, noise=noise, sampler="ddpm", num_steps=10)
        spreads.append(frames[:, 1:].std().item())
    assert spreads[1] > 1.1 * spreads[0]


def test_ddpm_repeats_itself_unless_given_another_stream(inputs):
    first, actions, noise = inputs

    def sample(generator=None):
        return sample_chunk(
            tiny_irasim(),
            first,
            actions,
            noise=noise,
            sampler="ddpm",
            num_steps=5,
            generator=generator,
        )

    assert torch.equal(sample(), sample())
    assert not torch.allclose(sample(), sample(torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("learn_sigma", [False, True])
def test_guidance_leads_away_from_the_unconditional_prediction(learn_sigma, inputs):
    first, actions, noise = inputs
    denoiser = tiny_irasim(learn_sigma=learn_sigma)

    def step(actions, guidance):  # one step of DDIM is linear in the predicted noise
        return sample_chunk(
            lambda x, t, a: denoiser(x, t, None if actions is None else a),
            first,
            torch.zeros(2, 3, 7) if actions is None else actions,
            noise=noise,
            sampler="ddim",
            num_steps=1,
            guidance=guidance,
        )

    with_actions, without = step(actions, 1.0), step(None, 1.0)
    assert not torch.allclose(with_actions, without)
    torch.testing.assert_close(
        step(actions, 3.0), without + 3 * (with_actions - without), rtol=1e-3, atol=1e-2
    )
    torch.testing.assert_close(step(actions, 0.0), without)


def test_without_guidance_the_denoiser_always_sees_the_actions(inputs):
    first, actions, noise = inputs

    def denoiser(x, t, given):
        assert given is not None
        return torch.zeros_like(x)

    sample_chunk(denoiser, first, actions, noise=noise, num_steps=4)


def test_short_chunk_is_padded_with_its_first_action(inputs):
    first, actions, noise = inputs
    short = sample_chunk(tiny_irasim(), first, actions[:, :2], noise=noise, num_steps=5)
    padded = torch.cat([actions[:, :2], actions[:, :1]], dim=1)
    full = sample_chunk(tiny_irasim(), first, padded, noise=noise, num_steps=5)
    assert torch.equal(short, full[:, :3])


@pytest.mark.parametrize("num_actions", [1, 3, 7])
def test_video_goes_chunk_by_chunk_from_the_last_frame(num_actions, inputs):
    first, _, _ = inputs
    actions = torch.randn(2, num_actions, 7, generator=torch.Generator().manual_seed(4))
    denoiser = tiny_irasim()

    def noise(index):
        return torch.randn(2, 4, 4, 4, 6, generator=torch.Generator().manual_seed(index))

    video = sample_video(denoiser, first, actions, noise=noise, sampler="ddim", num_steps=3)
    assert video.shape == (2, num_actions + 1, 4, 4, 6)
    frames, last = [first], first
    for index, start in enumerate(range(0, num_actions, 3)):
        chunk = sample_chunk(
            denoiser,
            last,
            actions[:, start : start + 3],
            noise=noise(index),
            sampler="ddim",
            num_steps=3,
        )
        frames.append(chunk[:, 1:])
        last = chunk[:, -1:]
    assert torch.equal(video, torch.cat(frames, dim=1))


def test_chunks_come_as_they_are_made(inputs):
    first, _, noise = inputs
    asked = []
    chunks = sample_chunks(
        lambda x, t, actions: torch.zeros_like(x),
        first,
        torch.zeros(2, 7, 7),
        noise=lambda index: asked.append(index) or noise,
        num_steps=4,
    )
    assert next(chunks).shape[1] == 3
    assert asked == [0]
    assert [chunk.shape[1] for chunk in chunks] == [3, 1]


def test_wrong_requests_are_refused(inputs):
    first, actions, noise = inputs
    denoiser = tiny_irasim()

    def refused(message, **changes):
        request = {"first": first, "actions": actions, "noise": noise} | changes
        with pytest.raises(ValueError, match=message):
            sample_chunk(denoiser, request.pop("first"), request.pop("actions"), **request)

    refused("no sampler 'euler'.*pndm", sampler="euler")
    refused("num_steps is 3, pndm takes 4", num_steps=3)
    refused("num_steps is 4.5, pndm takes 4", num_steps=4.5)
    for guidance in (math.nan, math.inf, "a", True, None):
        refused("guidance is .*expected a finite number", guidance=guidance)
    for wrong in (math.nan, math.inf):
        refused("first are .*not finite", first=torch.full_like(first, wrong))
        refused("actions are .*not finite", actions=torch.full_like(actions, wrong))
        refused("noise are .*not finite", noise=torch.full_like(noise, wrong))
    refused("noise has shape", noise=noise[0])
    refused("num_steps is 0", num_steps=0, sampler="ddim")
    refused("first has shape", first=first[:, :, :3])
    refused("first has shape", first=noise)
    refused("actions have shape", actions=torch.zeros(2, 4, 7))
    refused("actions have shape", actions=actions[:1])
    denoiser.train()
    refused(r"training mode.*eval\(\)")


class TestLoss:
    def test_is_the_squared_error_of_the_noise_after_frame_zero(self, inputs):
        first, actions, noise = inputs
        latents, t = torch.cat([first, noise[:, :3]], dim=1), torch.tensor([10, 900])
        noise = noise[:, 1:]
        given = []

        def denoiser(x, t, actions):
            given.append(x)
            return torch.cat([torch.full_like(first, 9.0), noise + 0.5], dim=1)

        loss = noise_prediction_loss(denoiser, latents, t, noise, actions)
        torch.testing.assert_close(loss, torch.tensor([0.25, 0.25]))
        alpha_bar = ALPHA_BAR[t].float().view(2, 1, 1, 1, 1)
        noisy = alpha_bar.sqrt() * latents[:, 1:] + (1 - alpha_bar).sqrt() * noise
        torch.testing.assert_close(given[0], torch.cat([first, noisy], dim=1))

    def test_adds_the_bound_of_a_learned_variance(self, inputs):
        """Against the divergence of torch's own normal distributions, in float64."""
        first, actions, noise = inputs
        latents, t = 0.3 * torch.cat([first, noise[:, :3]], dim=1), torch.tensor([20, 700])
        noise = noise[:, 1:]
        error, fraction = 0.1 * torch.ones_like(noise), 0.4

        def denoiser(x, t, actions):
            eps = torch.cat([first, noise + error], dim=1)
            return torch.cat([eps, torch.full_like(eps, fraction)], dim=2)

        loss = noise_prediction_loss(denoiser, latents, t, noise, actions)
        alpha_bar, before = ALPHA_BAR[t], ALPHA_BAR[t - 1]
        beta = 1 - alpha_bar / before
        variance = beta * (1 - before) / (1 - alpha_bar)
        # The posterior's mean moves with the predicted clean frame, that with the noise.
        shift = before.sqrt() * beta / (1 - alpha_bar) * (1 / alpha_bar - 1).sqrt() * 0.1
        weight = (fraction + 1) / 2
        predicted = (weight * beta.log() + (1 - weight) * variance.log()).exp()
        divergence = torch.distributions.kl_divergence(
            torch.distributions.Normal(torch.zeros(2).double(), variance.sqrt()),
            torch.distributions.Normal(shift, predicted.sqrt()),
        )
        expected = 0.1**2 + divergence / math.log(2)
        torch.testing.assert_close(loss, expected.float(), rtol=1e-4, atol=0)

    def test_bound_at_time_zero_is_the_likelihood_of_the_grey_level(self, inputs):
        first, actions, noise = inputs
        latents, t = torch.zeros(2, 4, 4, 4, 6), torch.tensor([0, 0])
        noise = noise[:, 1:]

        def denoiser(x, t, actions):
            eps = torch.cat([first, noise], dim=1)
            return torch.cat([eps, torch.full_like(eps, -1.0)], dim=2)

        loss = noise_prediction_loss(denoiser, latents, t, noise, actions)
        before, alpha_bar = ALPHA_BAR[0], ALPHA_BAR[1]
        scale = math.sqrt((1 - alpha_bar / before) * (1 - before) / (1 - alpha_bar))
        inside = math.erf(1 / 255 / scale / math.sqrt(2))
        assert loss.tolist() == pytest.approx([-math.log2(inside)] * 2, rel=0.05)

    def test_bound_trains_the_variance_alone(self, inputs):
        first, actions, noise = inputs
        latents, t = torch.cat([first, noise[:, :3]], dim=1), torch.tensor([50, 500])
        output = torch.randn(2, 4, 8, 4, 6, requires_grad=True)

        def gradient(with_sigma):
            kept = output if with_sigma else output[:, :, :4]
            loss = noise_prediction_loss(lambda *_: kept, latents, t, noise[:, 1:], actions).sum()
            return torch.autograd.grad(loss, output)[0]

        both, noise_only = gradient(True), gradient(False)
        torch.testing.assert_close(both[:, :, :4], noise_only[:, :, :4])
        assert both[:, 1:, 4:].abs().min() > 0
        assert both[:, :1].abs().max() == 0

    def test_passes_the_dropout_stream_on(self, inputs):
        first, actions, noise = inputs
        latents, t = torch.cat([first, noise[:, :3]], dim=1), torch.tensor([10, 900])
        denoiser = tiny_irasim(condition_dropout=0.5).train()

        def losses(seed):
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                return noise_prediction_loss(
                    denoiser, latents, t, noise[:, 1:], actions, generator=generator
                )

        assert torch.equal(losses(0), losses(0))
        assert any(not torch.equal(losses(0), losses(seed)) for seed in range(1, 6))

    def test_refuses_wrong_shapes(self, inputs):
        first, actions, noise = inputs
        latents = torch.cat([first, noise[:, :3]], dim=1)
        with pytest.raises(ValueError, match="noise has shape"):
            noise_prediction_loss(tiny_irasim(), latents, torch.tensor([1, 2]), noise, actions)
        with pytest.raises(ValueError, match="expected integers"):
            noise_prediction_loss(
                tiny_irasim(), latents, torch.tensor([0.1, 2]), noise[:, 1:], actions
            )

    @pytest.mark.parametrize("wrong", [-1, 1000])
    def test_refuses_times_out_of_range(self, inputs, wrong):
        first, actions, noise = inputs
        latents = torch.cat([first, noise[:, :3]], dim=1)
        with pytest.raises(ValueError, match=r"t is \[1, -?1.*\], expected times from 0 to 999"):
            noise_prediction_loss(
                tiny_irasim(), latents, torch.tensor([1, wrong]), noise[:, 1:], actions
            )
        for dtype in (torch.bool, torch.uint8):  # torch would take them as masks
            with pytest.raises(ValueError, match="expected integers"):
                noise_prediction_loss(
                    tiny_irasim(), latents, torch.ones(2, dtype=dtype), noise[:, 1:], actions
                )
