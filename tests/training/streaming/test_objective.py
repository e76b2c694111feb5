"""What a batch tells the denoiser, how its past is damaged, and what its errors cost."""

import pytest
import torch

from tests.training.test_train import accelerator, config_for, data
from training.streaming.objective import Smear, before, frame_error, make_batch, scaled_states
from training.train import prepare
from world_model.streaming.states.conditioner import UNSURE_SCALE
from world_model.streaming.states.dynamics import CHANGE_SCALE

__all__ = ["accelerator", "data"]  # fixtures


def test_previous_is_the_frame_before(data, tmp_path, accelerator):
    trainer, world, _ = prepare(config_for(data, tmp_path), accelerator)
    clips = trainer.store.sample(0, torch.arange(2), 7)
    batch = make_batch(world, clips, 0, torch.arange(2), 0)
    previous = before(batch.latents)
    assert torch.equal(previous[:, 1:], batch.latents[:, :-1])
    assert torch.equal(previous[:, 0], batch.latents[:, 0])


def test_own_rollouts_of_a_fresh_model_repeat_the_first_frame(data, tmp_path, accelerator):
    """Fresh weights predict no change, so k rounds deep `previous` is the frame k + 1 before."""
    trainer, world, _ = prepare(config_for(data, tmp_path), accelerator)
    clips = trainer.store.sample(0, torch.arange(8), 7)
    batch = make_batch(world, clips, 0, torch.arange(8), 3)
    previous = trainer.objective.roll(batch, trainer.objective.conditioning(batch))
    assert batch.rounds.unique().tolist() == [0, 1, 2, 3]
    for b, rounds in enumerate(batch.rounds.tolist()):
        for t in range(1, 7):
            source = max(0, t - 1 - rounds)
            assert torch.equal(previous[b, t], batch.latents[b, source]), (b, t)


def test_a_control_holds_the_states_before_its_frame(data, tmp_path, accelerator):
    """The actions that lead to frames t and t - 1, the state at t - 1, its change from t - 2."""
    trainer, world, _ = prepare(config_for(data, tmp_path), accelerator)
    assert world.config.states is not None
    store = trainer.store
    begins = torch.tensor([0, 2])  # an episode's first frame, and one inside it
    clips = store.clips(begins, 4)
    batch = make_batch(world, clips, 0, torch.arange(2), 0)
    state = scaled_states(world, store.states)["place"]
    exact = torch.cat((batch.state[:, :1], state[begins[:, None] + torch.arange(4)]), dim=1)
    control = world.conditioner.clip_control(batch.actions, batch.action_before, batch.acted, exact)
    actions, last, change, last_actions = control.values.split(2, dim=-1)
    assert torch.equal(actions, batch.actions)
    assert torch.equal(last_actions[:, 2:], actions[:, 1:-1])
    assert torch.equal(last_actions[0, 1], actions[0, 1])  # none before: the same again
    assert torch.equal(last_actions[1, 1], world.scale_actions(store.actions[2]))
    for b, begin in enumerate(begins.tolist()):
        assert torch.equal(last[b, 1:], state[begin : begin + 3])
        torch.testing.assert_close(
            change[b, 2:], CHANGE_SCALE * state[begin : begin + 4].diff(dim=0)[:2]
        )
    # One frame before the clip: there is none at an episode's beginning, where nothing moved yet.
    torch.testing.assert_close(batch.state[:, 0], state[[0, 1]], rtol=0, atol=6 * UNSURE_SCALE)


def test_frames_are_drawn_around_recorded_states(data, tmp_path, accelerator):
    """Not around predicted ones, which are a little off: so what they are costs nothing here."""
    trainer, world, _ = prepare(config_for(data, tmp_path), accelerator)
    samples = torch.arange(4)
    clips = trainer.store.sample(0, samples, 7)
    batch = make_batch(world, clips, 0, samples, 2)
    assert torch.equal(batch.wanted, scaled_states(world, clips.states)["place"])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in (world.denoiser.to_change, world.conditioner.at_token.out):
            module.weight.normal_(std=0.02, generator=generator)
        losses = trainer.objective(batch)
        world.conditioner.dynamics.bias += 0.5
        assert trainer.objective(batch) == losses
        batch.wanted.add_(0.01)
        assert trainer.objective(batch).denoiser != losses.denoiser


def test_smear_damages_some_frames_but_no_clips_first_and_is_counted(data, tmp_path, accelerator):
    trainer, world, _ = prepare(config_for(data, tmp_path), accelerator)
    samples = torch.arange(16)
    clips = trainer.store.sample(0, samples, 7)
    batch = make_batch(world, clips, 0, samples, 0, smeared=True)
    assert batch.smear is not None
    damaged = batch.smear(batch.latents, batch.latents)
    changed = ((damaged - batch.smear.haze - batch.latents).abs() > 1e-5).flatten(2).any(-1)
    assert not changed[:, 0].any()
    assert 0.2 < changed[:, 1:].float().mean() < 0.8
    hazy = (batch.smear.haze != 0).flatten(1).any(-1)  # of a clip all frames or none
    assert 0.2 < hazy.float().mean() < 0.8
    one = make_batch(
        world, trainer.store.sample(0, samples[5:6], 7), 0, samples[5:6], 0, smeared=True
    )
    assert one.smear is not None
    torch.testing.assert_close(one.smear(one.latents, one.latents)[0], damaged[5])


def test_what_an_error_of_a_frame_costs():
    error = torch.zeros(1, 1, 1, 4, 4)
    error[..., 1, 1] = -0.5  # one cell of 16, off from four neighbours
    assert frame_error(error, 0, 0).item() == pytest.approx(0.25 / 16)
    assert frame_error(error, 1, 0).item() == pytest.approx(0.25 / 16 + 4 * 0.25 / 12)
    assert frame_error(error, 0, 1).item() == pytest.approx((0.25 + 0.5) / 16)


def test_traces_come_from_their_moment_and_place():
    latents = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(1, 2, 3, 4, 4)
    smear = Smear(
        share=torch.ones(1, 2, 1, 4, 4),
        moment=torch.tensor([[1, 0]]),
        aside=torch.tensor([[[0, 0], [1, -1]]]),
        speckle=torch.zeros_like(latents),
        haze=torch.zeros(1, 1, 3, 4, 4),
    )
    traces = smear(torch.zeros_like(latents), latents)
    assert torch.equal(traces[0, 0], latents[0, 1])
    assert torch.equal(traces[0, 1], latents[0, 0].roll((-1, 1), dims=(-2, -1)))
