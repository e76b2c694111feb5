"""Rollouts that go on from step to step, along recorded episodes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from accelerate import Accelerator

from tests.training.test_train import config_for, data
from training.streaming.objective import before
from training.streaming.self_rollout import SelfRollout
from training.train import prepare

__all__ = ["data"]  # a fixture


def make(data, tmp_path, count=3):
    trainer, world, _ = prepare(config_for(data, tmp_path), Accelerator(cpu=True))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # something moves
        world.denoiser.to_change.weight.normal_(std=0.02, generator=generator)
    return trainer.store, world, SelfRollout(world, trainer.store, 0, torch.arange(count), 8)


def test_a_walk_is_the_worlds_own_rollout_with_states_from_the_record(data, tmp_path):
    store, world, rows = make(data, tmp_path)
    begins = rows.at.clone()
    left = store.last[begins] - begins
    clips, made = rows.walk(4)
    index, _, before = store.window(begins, 4)
    assert torch.equal(clips.frames, store.frames[index])
    for row in range(len(begins)):
        state = world.start(clips.frames[row : row + 1, :1], clips.actions[row : row + 1, 1:1], [0])
        assert torch.equal(made[row, :1], state.latents)
        earlier = before[row]
        for t in range(1, min(4, int(left[row]) + 1)):
            now = index[row, t - 1]
            known = rows.states[torch.stack((earlier, now))][None]
            world.conditioner.recall_(state.memory, *known.unbind(1))
            shown = rows.states[torch.stack((now, index[row, t]))][None]
            world.advance(state, clips.actions[row : row + 1, t], shown)
            torch.testing.assert_close(made[row, t], state.latents[0], rtol=1e-4, atol=1e-4)
            earlier = now


def test_rows_go_on_where_they_were_until_their_episode_ends(data, tmp_path):
    store, _, rows = make(data, tmp_path)
    walks, restarts = 30, 0
    _, last = rows.walk(4)
    for _ in range(walks):
        at, over = rows.at.clone(), rows.at == store.last[rows.at]
        samples = rows.samples.clone()
        rows.begin_anew()
        _, made = rows.walk(4)
        assert torch.equal(made[~over, 0], last[~over, -1])
        assert torch.equal(rows.samples, samples + 8 * over)
        assert bool((rows.at[~over] > at[~over]).all())
        restarts += int(over.sum())
        last = made
    assert restarts > 10
    assert len(set(rows.samples.tolist())) == 3


@pytest.mark.parametrize("smeared", [True, False])
def test_own_frames_are_inputs_and_recorded_ones_targets(data, tmp_path, smeared):
    """In frames that are drawn already, and as the frames before; damage comes on top."""
    config = config_for(data, tmp_path, self_rollout_from=0.0)
    trainer, world, _ = prepare(config, Accelerator(cpu=True))
    parts = [torch.arange(config.batch_clips)]
    assert int(trainer._begin(parts)) == int(trainer._batch(parts, 0).supervised.sum())
    batch = trainer._batch(parts, 0)
    made, smear = batch.inputs, batch.smear
    assert not torch.equal(made, batch.latents)
    assert smear is not None
    made = made + 0.5 * torch.rand(made.shape, generator=torch.Generator().manual_seed(0))
    batch = replace(batch, inputs=made, smear=smear if smeared else None)
    seen: list[torch.Tensor] = []
    world.denoiser.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    losses = trainer.objective(batch)
    noisy, previous, levels = seen[:3]
    clean = levels == 0
    haze = smear.haze.expand_as(made) if smeared else torch.zeros_like(made)
    torch.testing.assert_close((noisy + previous)[clean], (made + haze)[clean], atol=1e-5, rtol=0)
    own = before(made)
    expected = smear(own, batch.latents) if smeared else own
    torch.testing.assert_close(previous, expected, atol=1e-5, rtol=0)
    # Fresh weights draw no change, so the loss is that of the change that is wanted.
    wanted = (batch.latents - previous).square().flatten(2).mean(-1)
    expected = (wanted * batch.supervised).sum()
    torch.testing.assert_close(losses.denoiser, expected, rtol=1e-4, atol=1e-6)


def test_rows_begin_anew_under_bf16_and_with_a_codec(data, tmp_path, monkeypatch):
    """What is written into a row has the type that the row had."""
    config = config_for(
        data, tmp_path, self_rollout_from=0.0, codec="autoencoder_tiny", codec_width=8, patch=2
    )
    trainer, _, _ = prepare(config, Accelerator(cpu=True))
    half = partial(torch.autocast, "cpu", torch.bfloat16)
    monkeypatch.setattr(trainer.accelerator, "autocast", half)
    for _ in range(12):
        trainer.train_step()
    [rows] = trainer.self_rollouts
    assert bool((rows.samples >= config.batch_clips).any())  # some have begun anew
    assert rows.state.latents.dtype == torch.float32
