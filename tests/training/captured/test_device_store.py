"""Episodes in a device's memory, to which more are added."""

import numpy as np
import pytest
import torch

from tests.training.recorded import episode
from training.captured.device_store import DeviceStore, StoreShape
from training.captured.recorders import states_of


def store_of(*lengths: int, room: int = 60) -> DeviceStore:
    episodes = [episode(seed, length) for seed, length in enumerate(lengths)]
    store = DeviceStore(StoreShape.of(episodes[0], room), torch.device("cpu"))
    for arrays in episodes:
        assert store.append(arrays)
    return store


def test_clips_hold_what_was_recorded():
    store = store_of(9, 5)
    second = episode(1, 5)
    clips = store.clips(torch.tensor([10 + 2]), 6)  # from the second episode's third frame on
    valid = clips.valid[0]
    assert valid.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_array_equal(clips.frames[0, :4], second["frames"][2:])
    np.testing.assert_array_equal(clips.actions[0, :4], second["actions"][1:])
    np.testing.assert_allclose(clips.rewards[0, :4], second["rewards"][1:], rtol=1e-6)
    assert clips.ended[0].tolist() == [False, False, False, True, True, True]
    states = states_of(second)["agent_pos"]
    np.testing.assert_allclose(clips.states["agent_pos"][0, :4], states[2:], rtol=1e-6)
    np.testing.assert_allclose(clips.states_before["agent_pos"][0], states[1], rtol=1e-6)
    first = store.clips(torch.tensor([10]), 2)
    assert first.first.all()
    assert first.rewards[0, 0].isnan()


def test_clips_begin_anywhere_but_at_an_episodes_last_frame():
    store = store_of(9, 5)
    samples = torch.arange(4000)
    begins = store.pick(torch.zeros_like(samples), samples)
    assert set(begins.tolist()) == set(range(15)) - {9, 15}


def test_what_is_added_later_is_drawn_without_a_change_of_memory():
    store = store_of(9)
    pointers = {name: getattr(store, name).data_ptr() for name in ("frames", "clip_starts")}
    samples = torch.arange(2000)
    assert store.pick(torch.zeros_like(samples), samples).max() < 9
    assert store.append(episode(5, 20))
    assert store.pick(torch.zeros_like(samples), samples).max() == 10 + 19
    assert pointers == {name: getattr(store, name).data_ptr() for name in pointers}


def test_what_does_not_fit_is_left_out_whole():
    store = store_of(9, room=12)
    assert not store.append(episode(1, 5))
    assert (store.num_frames, store.num_episodes) == (10, 1)
    assert store.filled().frames.shape[0] == 10


def test_of_two_clips_one_is_drawn_by_its_loss():
    store = store_of(20)
    samples = torch.arange(4000)
    seeds = torch.zeros_like(samples)
    begins = torch.arange(20)
    store.note(begins, torch.where(begins == 7, 5.0, 1.0))
    drawn = store.pick(seeds, samples)
    uniform, hardest = drawn[samples % 2 == 0], drawn[samples % 2 == 1]
    # The hardest of four: it wins where it is among them, 1 - (19 / 20)^4 = 0.185.
    assert (hardest == 7).float().mean().item() == pytest.approx(0.185, abs=0.03)
    assert (uniform == 7).float().mean().item() == pytest.approx(0.05, abs=0.02)
    store.note(torch.tensor([7]), torch.tensor([0.0]))
    assert store.losses[7].item() == pytest.approx(0.7 * 5.0)


def test_clips_that_were_never_seen_come_first():
    store = store_of(20)
    store.note(torch.arange(10), torch.ones(10))
    samples = torch.arange(1, 2001, 2)
    drawn = store.pick(torch.zeros_like(samples), samples)
    assert (drawn >= 10).float().mean() > 0.9


def test_the_filled_part_is_a_store_in_the_same_memory():
    store = store_of(9, 5)
    filled = store.filled()
    assert len(filled.frames) == 16
    assert filled.frames.data_ptr() == store.frames.data_ptr()
    assert filled.offsets.tolist() == [0, 10, 16]
    assert filled.num_episodes == 2
    clips = filled.sample(0, torch.arange(8), 4)
    assert clips.frames.shape == (8, 4, 24, 24, 3)
