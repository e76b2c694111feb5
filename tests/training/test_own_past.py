"""Rollouts that go on from step to step, along recorded episodes."""

from dataclasses import replace

import torch
from accelerate import Accelerator

from tests.training.test_train import config_for, data
from training.own_past import OwnPast
from training.train import prepare

__all__ = ["data"]  # a fixture


def make(data, tmp_path, count=3):
    trainer, world, _ = prepare(config_for(data, tmp_path), Accelerator(cpu=True))
    torch.manual_seed(0)
    with torch.no_grad():  # something moves
        world.denoiser.to_change.weight.normal_(std=0.02)
    return trainer.store, world, OwnPast(world, trainer.store, 0, torch.arange(count), 8)


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
            state.past.copy_(rows.states[torch.stack((earlier, now))][None])
            world.advance(state, clips.actions[row : row + 1, t])
            torch.testing.assert_close(made[row, t], state.latents[0], rtol=1e-4, atol=1e-4)
            earlier = now


def test_rows_go_on_where_they_were_until_their_episode_ends(data, tmp_path):
    store, _, rows = make(data, tmp_path)
    walks, restarts = 30, 0
    _, last = rows.walk(4)
    for _ in range(walks):
        at, over = rows.at.clone(), rows.at == store.last[rows.at]
        samples = rows.samples.clone()
        _, made = rows.walk(4)
        assert torch.equal(made[~over, 0], last[~over, -1])
        assert torch.equal(rows.samples, samples + 8 * over)
        assert bool((rows.at[~over] > at[~over]).all())
        restarts += int(over.sum())
        last = made
    assert restarts > 10
    assert len(set(rows.samples.tolist())) == 3


def test_own_frames_are_seen_and_recorded_ones_wanted(data, tmp_path):
    """Training on frames drawn as they were recorded is training on the record, on others not."""
    config = config_for(data, tmp_path, own_past_from=0.0)
    trainer, _, _ = prepare(config, Accelerator(cpu=True))
    samples = torch.arange(config.batch_clips)
    [batch] = trainer._batches(samples)
    assert batch.made is not None
    assert batch.made.shape == batch.latents.shape
    with torch.no_grad():
        loss = trainer.objective(batch).dynamics
        same = trainer.objective(replace(batch, made=batch.latents)).dynamics
        none = trainer.objective(replace(batch, made=None)).dynamics
        off = trainer.objective(replace(batch, made=batch.latents + 0.5)).dynamics
    assert torch.equal(same, none)
    assert off > 2 * none  # what a frame seen differs by from the record is to be taken back
    assert loss != none
