"""Scores tell a perfect predictor, and each way of failing, apart."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.prediction import action_controls
from benchmarks.prediction.action_controls import (
    altered_actions,
    replay_ground_truth,
    score_controls,
)
from benchmarks.prediction.frame_scores import frames_table, score_frames, summarise_frames
from benchmarks.prediction.outcome_scores import score_ends, score_observations, score_rewards
from benchmarks.prediction.predict import Prediction, predict
from benchmarks.prediction.windows import Window, ending, opening
from benchmarks.pusht.scores import PushTReadings
from tests.chunk_worlds import table_world
from training.data.episodes import list_episodes, read_episode
from world_model import WorldModel
from world_model.tasks import load_task


@pytest.fixture(scope="module")
def windows(episodes) -> list[Window]:
    """Windows of up to eight predicted frames, of each test episode."""
    read = [read_episode(episodes, "test", i) for i in list_episodes(episodes, "test")]
    return [opening(episode, 4, 8) for episode in read]


def _perfect(window: Window) -> Prediction:
    return Prediction(
        frames=window.future,
        rewards=window.rewards.astype(np.float32),
        terminated=window.terminated,
        states={name: v.astype(np.float32) for name, v in window.states.items()},
    )


def test_perfect_frames_are_capped_and_sharp(windows):
    predictions = [_perfect(window) for window in windows]
    summary = summarise_frames(score_frames(windows, predictions, 10), seed=0)
    assert summary["all"]["psnr"] == 60
    assert summary["all"]["ssim"] == pytest.approx(1)
    assert summary["all"]["sharpness"] == 1
    assert summary["horizon"]["windows"].tolist() == [6, 6, 5, 5, 5, 5, 4, 4]
    assert summary["at"][8]["psnr_gain"] > 20
    assert list(summary["at"]) == [1, 2, 4, 8]
    assert "60.00" in frames_table(summary)


def test_nothing_moves_gains_nothing_and_blur_is_not_sharp(windows):
    import cv2

    still = [
        replace(_perfect(w), frames=np.broadcast_to(w.context[-1], w.future.shape)) for w in windows
    ]
    summary = summarise_frames(score_frames(windows, still, 8), seed=0)
    assert summary["at"][8]["psnr_gain"] == 0
    assert summary["all"]["psnr"] == summary["all"]["psnr_still"]
    blurred = [
        replace(_perfect(w), frames=np.stack([cv2.GaussianBlur(f, (0, 0), 1) for f in w.future]))
        for w in windows
    ]
    assert summarise_frames(score_frames(windows, blurred, 8), seed=0)["all"]["sharpness"] < 0.7


def test_readings_of_perfect_and_of_empty_frames(windows):
    predictions = [_perfect(window) for window in windows]
    at = PushTReadings(load_task("pusht")).score(windows, predictions, (2, 8), seed=0)
    assert [at[2]["frames"], at[8]["frames"]] == [6, 4]
    assert at[8]["disc"]["median_px"] == 0
    assert at[8]["disc"]["median_px_still"] > 1
    assert at[8]["t"]["iou"] == pytest.approx(1)
    assert (at[8]["t"]["median_px"], at[8]["t"]["unreadable"]) == (0, 0)
    empty = [replace(p, frames=np.full_like(p.frames, 255)) for p in predictions]
    at = PushTReadings(load_task("pusht")).score(windows, empty, (8,), seed=0)
    assert at[8]["disc"]["unreadable"] == at[8]["t"]["unreadable"] == 4
    assert at[8]["t"]["iou"] == 0
    assert np.isnan(at[8]["disc"]["median_px"])


def test_readings_of_windows_where_nothing_can_be_read_are_counted(windows):
    blank = [replace(w, frames=np.full_like(w.frames, 255)) for w in windows]
    at = PushTReadings(load_task("pusht")).score(blank, [_perfect(w) for w in blank], (8,), seed=0)
    assert at[8]["disc"]["truth_unreadable"] == at[8]["t"]["truth_unreadable"] == at[8]["frames"]
    assert np.isnan(at[8]["t"]["iou"])
    assert np.isnan(at[8]["disc"]["median_px"])


def test_rewards_beside_the_best_constant(windows):
    predictions = [_perfect(window) for window in windows]
    scores = score_rewards(windows, predictions)
    assert scores["all"]["mae"] == pytest.approx(0, abs=1e-6)
    assert scores["rewarded"]["mae_constant"] > 0.05
    assert scores["rewarded"]["steps"] == sum(np.sum(w.rewards > 0.05) for w in windows)
    constant = [replace(p, rewards=np.zeros_like(p.rewards)) for p in predictions]
    worse = score_rewards(windows, constant)
    mean = np.concatenate([w.rewards for w in windows]).mean()
    assert worse["all"]["mae"] == pytest.approx(mean)
    # A constant of nothing does well on all steps and badly on those that matter.
    assert worse["rewarded"]["mae"] > 2 * worse["all"]["mae"]


def _ended(window: Window, step: int | None, extra: int = 3) -> Prediction:
    terminated = np.zeros(window.num_predicted + extra, bool)
    if step is not None:
        terminated[step - 1 :] = True
    return replace(_perfect(window), terminated=terminated)


def test_ends_within_three_steps_are_hits_and_others_are_not(episodes):
    success = ending(read_episode(episodes, "test", "000000"), 4, 8)  # ends at step 8
    failure = opening(read_episode(episodes, "test", "000001"), 4, 8)
    for step, hit, false in [(8, 1, 0), (5, 1, 0), (11, 1, 0), (4, 0, 1), (None, 0, 0)]:
        scores = score_ends([success], [_ended(success, step)])
        assert (scores["hit"]["count"], scores["false"]["count"]) == (hit, false), step
        assert scores["ended"] == 1
    late = score_ends([success], [_ended(success, 12, extra=6)])
    assert (late["hit"]["count"], late["false"]["count"]) == (0, 0)
    scores = score_ends([success, failure], [_ended(success, 8), _ended(failure, 2)])
    assert (scores["hit"]["rate"], scores["false"]["rate"]) == (1, 0.5)
    assert scores["never"]["hit"]["rate"] == 0
    assert scores["always"] == {
        "hit": {"count": 0, "of": 1, "rate": 0, "interval": scores["never"]["hit"]["interval"]},
        "false": {"count": 2, "of": 2, "rate": 1, "interval": pytest.approx((0.342, 1), abs=1e-3)},
    }


def test_observations_in_their_own_unit(windows):
    predictions = [_perfect(window) for window in windows]
    assert score_observations(windows, predictions)["agent_pos"]["mae"] < 1e-4
    off = [replace(p, states={"agent_pos": p.states["agent_pos"] + 2}) for p in predictions]
    assert score_observations(windows, off)["agent_pos"]["mae"] == pytest.approx(2, abs=1e-4)


def test_altered_actions_are_other_actions_of_the_same_length(windows):
    altered = altered_actions(windows, shifts=(1, 4))
    assert set(altered) == {"shift 1", "shift 4", "shuffle"}
    for index, window in enumerate(windows):
        actions = window.future_actions
        assert np.array_equal(altered["shift 1"][index][:-1], actions[1:])
        assert np.array_equal(altered["shift 1"][index][-1], actions[-1])
        assert altered["shift 4"][index].shape == actions.shape
        assert not np.array_equal(altered["shuffle"][index], actions)
        assert altered["shuffle"][index].shape == actions.shape


def test_the_ground_truth_replays_the_recorded_frames(windows, tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    actions = [window.future_actions for window in windows]
    for window, frames in zip(
        windows, replay_ground_truth(world, windows, actions, "test"), strict=True
    ):
        assert np.array_equal(frames, window.future)
    elsewhere = replace(windows[0], seed=7)
    with pytest.raises(ValueError, match="does not come to the recorded frame"):
        replay_ground_truth(world, [elsewhere], actions[:1], "test")


@pytest.mark.parametrize("kind", ["obeys", "ignores", "a step late"])
def test_controls_tell_who_obeys(kind, windows, tiny_world, monkeypatch):
    """The simulator itself, told the actions, nothing, or the actions a step late."""
    world = WorldModel.from_pretrained(tiny_world)

    def simulate(world, windows, actions, **_):
        if kind == "ignores":
            actions = [window.future_actions for window in windows]
        elif kind == "a step late":
            actions = [
                np.concatenate([window.context_actions[-1:], a[:-1]])
                for window, a in zip(windows, actions, strict=True)
            ]
        frames = replay_ground_truth(world, windows, actions, "fake")
        return [
            replace(_perfect(window), frames=f) for window, f in zip(windows, frames, strict=True)
        ]

    monkeypatch.setattr(action_controls, "predict", simulate)
    windows = [window for window in windows if window.num_predicted > 2]  # one step tells little
    actions = [window.future_actions for window in windows]
    controls = score_controls(
        world,
        windows,
        simulate(world, windows, actions),
        shifts=(1,),
        seeds=[0] * len(windows),
        batch=4,
        replay=True,
    )
    shift, shuffle = controls["shift 1"], controls["shuffle"]
    if kind == "obeys":
        assert shift["nearer"]["rate"] == shuffle["nearer"]["rate"] == 1
        assert shuffle["to_replay"] == 60
        assert shuffle["worse_by"] > 10
        assert shuffle["contrast"] > 20
    elif kind == "ignores":
        assert shift["nearer"]["count"] == shuffle["nearer"]["count"] == 0
        assert shuffle["worse_by"] == 0
        assert shuffle["contrast"] == pytest.approx(0, abs=1e-9)
    else:
        # Told its actions a step early, it does what the original did.
        assert shift["nearer"]["rate"] < 0.5
        assert shift["nearer_by"] < 0
        assert shift["worse_by"] < 0


def test_predictions_do_not_depend_on_the_batch(windows, tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    actions = [window.future_actions for window in windows]
    seeds = list(range(len(windows)))
    many = predict(world, windows, actions, seeds=seeds, batch=4, title="four")
    for index, window in enumerate(windows):
        (one,) = predict(
            world, [window], actions[index : index + 1], seeds=[index], batch=1, title="one"
        )
        assert len(one.frames) == window.num_predicted
        difference = one.frames.astype(int) - many[index].frames
        assert np.abs(difference).max() <= 1
        assert one.rewards == pytest.approx(many[index].rewards, abs=1e-3)


def test_what_a_world_predicts_at_once_is_predicted_at_once(windows):
    """A chunk model that is stepped one action at a time runs a whole chunk for each frame."""
    world = table_world()
    small = [replace(window, frames=window.frames[:, :8, :12]) for window in windows[:2]]
    actions = [(window.future_actions / 5120).astype(np.float32) for window in small]
    made = predict(world, small, actions, seeds=[0, 1], batch=2, title="chunks")
    for index, window in enumerate(small):
        state = world.start(window.context[None], window.context_actions[None], [index])
        whole = world.step_chunk_(state, actions[index][None]).frames[0].numpy()
        assert np.abs(made[index].frames.astype(int) - whole).max() <= 1
    state = world.start(small[0].context[None], small[0].context_actions[None], [0])
    single = [world.step_(state, action[None]).frame[0].numpy() for action in actions[0]]
    assert not np.array_equal(np.stack(single), made[0].frames)
