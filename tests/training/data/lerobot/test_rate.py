"""A lower frame rate keeps the time contract: what led from each kept frame to the next is kept."""

import numpy as np
import pytest

from training.data.lerobot.convert import ConvertConfig
from training.data.lerobot.rate import (
    Commands,
    count_transitions,
    merge_actions,
    merge_outcomes,
    step_for,
)

pytest.importorskip("pyarrow", reason="needs pip install 'irasim-env[lerobot]'")

from tests.training.data.lerobot.test_sets import convert, episodes
from tests.training.lerobot_sets import actions, feature, make, told


def positions(episode: int, length: int) -> np.ndarray:
    """Where something is at each frame, and where the last row's command takes it: (L + 1, 6)."""
    moved = np.cumsum(actions(episode, length), axis=0, dtype=np.float64)
    return np.concatenate([np.zeros((1, 6)), moved]).astype("f4")


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize("commands", ["absolute", "relative"])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 7])
def test_each_action_leads_to_the_next_kept_frame(tmp_path, version, commands: Commands, step: int):
    """The recorded robot goes where it is told: absolute commands are the next position, relative
    ones the way there. At any rate they must be so from one kept frame to the next, and not from
    any other."""

    def columns(e: int, n: int, a: np.ndarray):
        x = positions(e, n)
        sent = x[1:] if commands == "absolute" else np.diff(x, axis=0)
        return {"action": list(sent), "observation.state": list(x[:-1])}

    source = make(tmp_path / "set", version, columns=columns)
    for index, episode in episodes(
        convert(source, "--fps", str(30 / step), "--commands", commands)
    ).items():
        x = episode.states["state"]
        assert len(episode.frames) == len(x) == len(episode.actions) + 1
        assert told(episode.frames) == [(index, step * k) for k in range(len(x))]
        right = x[1:] if commands == "absolute" else np.diff(x, axis=0)
        np.testing.assert_allclose(episode.actions, right, atol=1e-5)
        assert np.abs(episode.actions[1:] - right[:-1]).max() > 0.5
        assert np.abs(episode.actions[:-1] - right[1:]).max() > 0.5


def test_a_gripper_is_absolute_among_relative_commands(tmp_path):
    source = make(
        tmp_path / "set",
        features=lambda known: {
            **known,
            "action": feature("float32", 6, names=["x", "y", "z", "roll", "pitch", "gripper"]),
        },
    )
    options = ["--fps", "10", "--commands", "relative", "--absolute-components"]
    found = [episodes(convert(source, *options, one))[1].actions for one in ("gripper", "5")]
    a = actions(1, 25)
    for merged in found:
        np.testing.assert_array_equal(merged[:, 5], a[2:24:3, 5])
        np.testing.assert_allclose(merged[:, :5], a[:24, :5].reshape(8, 3, 5).sum(1), atol=1e-6)
    with pytest.raises(ValueError, match="--absolute-components hand: .* 0 to 5, or one of x, y"):
        convert(source, *options, "hand")
    with pytest.raises(ValueError, match="give --commands relative"):
        ConvertConfig(source="set", out=tmp_path / "out", absolute_components=("5",))


def test_what_the_last_rows_did_is_not_lost():
    for length in range(2, 12):
        for step in range(1, length):
            rewards = np.zeros(length)
            rewards[-1] = 1.0
            merged, ended = merge_outcomes(rewards, rewards > 0, step)
            last = np.arange(count_transitions(length, step)) == len(merged) - 1
            np.testing.assert_array_equal(merged, last)
            np.testing.assert_array_equal(ended, last)


def test_dense_rewards_stay_what_so_many_rows_earn():
    """A reward of every row is not counted twice where the last row's is taken in."""
    merged, _ = merge_outcomes(np.full(20, 0.5), np.zeros(20, bool), 3)
    np.testing.assert_allclose(merged, 1.5)
    merged, _ = merge_outcomes(np.linspace(0, 1, 20), np.zeros(20, bool), 1)
    assert merged.max() == 1.0 and merged[-1] == 1.0
    rewards = np.append(np.full(19, 0.25), 0.0)  # the last row did nothing
    np.testing.assert_allclose(merge_outcomes(rewards, np.zeros(20, bool), 1)[0], 0.25)


def test_actions_that_are_merged_are_of_their_own_transition():
    rows = np.arange(10, dtype="f4")[:, None]
    np.testing.assert_array_equal(merge_actions(rows, 1, "relative"), rows[:9])
    np.testing.assert_array_equal(merge_actions(rows, 3, "absolute")[:, 0], [2, 5, 8])
    np.testing.assert_array_equal(merge_actions(rows, 3, "relative")[:, 0], [3, 12, 21])
    assert merge_actions(rows, 3, "relative").dtype == np.float32


@pytest.mark.parametrize(
    ("recorded", "wanted", "step"),
    [(30, None, 1), (30, 30, 1), (30, 10, 3), (29.97, 10, 3), (50, 5, 10), (30, 7.5, 4)],
)
def test_rates_that_can_be_had(recorded: float, wanted: float | None, step: int):
    assert step_for(recorded, wanted) == step


@pytest.mark.parametrize("wanted", [20, 60, 12, 0.0001 + 14])
def test_rates_that_cannot_be_had_are_refused_with_those_that_can(wanted: float):
    with pytest.raises(ValueError, match=r"recorded are 30 .* expected one of 30, 15, 10, 7\.5"):
        step_for(30, wanted)


def test_an_episode_shorter_than_a_step_is_broken(tmp_path):
    source = make(tmp_path / "set", lengths=(20, 3, 15))
    with pytest.raises(ValueError, match="episode 1 has 3 frames, expected 4 or more"):
        convert(source, "--fps", "10")
