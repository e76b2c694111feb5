"""Windows keep the time contract, and half of them are the expert's."""

import shutil

import numpy as np
import pytest

from benchmarks.prediction.windows import choose_episodes, count_by_policy, ending, opening
from training.data.episodes import read_episode


def test_half_of_the_episodes_are_the_experts(episodes):
    chosen = choose_episodes(episodes, "test", 4, num_context=4)
    windows = [opening(read_episode(episodes, "test", i), 4, 8) for i in chosen]
    assert count_by_policy(windows) == {"expert": 2, "play": 1, "random": 1}
    # All there are: the experts' half is filled with others.
    assert len(choose_episodes(episodes, "test", 6, num_context=4)) == 6


def test_short_episodes_are_left_out_and_too_few_are_refused(episodes):
    assert "000004" not in choose_episodes(episodes, "test", 5, num_context=6)
    with pytest.raises(ValueError, match=r"has 5 test episodes .* are 6: ask for fewer"):
        choose_episodes(episodes, "test", 6, num_context=6)
    with pytest.raises(ValueError, match="irasim collect --split val"):
        choose_episodes(episodes, "val", 1, num_context=4)


def test_data_that_were_converted_are_not_to_be_collected(episodes, tmp_path):
    """A real robot is not recorded by a command."""
    shutil.copytree(episodes, tmp_path / "data")
    (tmp_path / "data/convert.json").write_text("{}")
    with pytest.raises(ValueError, match="or convert again with --val N into another") as told:
        choose_episodes(tmp_path / "data", "val", 1, num_context=4)
    assert "collect" not in str(told.value)


def test_windows_hold_what_the_episode_holds(episodes):
    episode = read_episode(episodes, "test", "000000")  # 14 actions, the last ends it
    first = opening(episode, 4, 8)
    assert first.num_context == 4
    assert first.num_predicted == 8
    assert first.end is None
    assert len(first.replay) == 3
    assert np.array_equal(first.future, episode.frames[4:12])
    assert np.array_equal(first.future_actions, episode.actions[3:11])
    assert np.array_equal(first.context_actions, episode.actions[:3])
    assert np.array_equal(first.rewards, episode.rewards[3:11])
    assert np.array_equal(first.states["agent_pos"], episode.states["agent_pos"][4:12])

    last = ending(episode, 4, 8)
    assert last.end == 8
    assert np.array_equal(last.frames, episode.frames[3:15])
    assert np.array_equal(last.actions, episode.actions[3:14])
    assert np.array_equal(last.replay, episode.actions[:6])
    assert np.array_equal(last.rewards, episode.rewards[6:14])
    # An episode that is shorter than the window is all of it.
    whole = ending(episode, 4, 63)
    assert whole.num_predicted == 11
    assert np.array_equal(whole.frames, episode.frames)
