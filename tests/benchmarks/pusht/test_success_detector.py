"""The success detector against the simulator that drew them."""

import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

import gymnasium as gym

from benchmarks.pusht.success_detector import (
    GOAL,
    PushTSuccessDetector,
    Verdict,
    coverage,
    goal_visible,
)
from policies.pusht.reading import read_t
from policies.pusht.recorders import expert


@pytest.fixture(scope="module")
def solved() -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames and true coverages of episodes that an expert solves."""
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels", max_episode_steps=300)
    episodes = []
    for seed in (2_600_000, 2_600_001, 2_600_003):
        observation, _ = env.reset(seed=seed)
        policy, frames, covered, over = expert(env, seed), [], [], False
        while not over:
            observation, _, terminated, truncated, info = env.step(policy(observation))
            frames.append(observation)
            covered.append(info["coverage"])
            over = terminated or truncated
        assert terminated
        episodes.append((np.stack(frames), np.array(covered)))
    env.close()
    return episodes


def test_coverage_read_from_frames_is_the_simulators(solved):
    for frames, covered in solved:
        chosen = np.linspace(0, len(frames) - 1, 12).astype(int)
        read = [coverage(read_t(frames[t]), 96) for t in chosen]
        errors = np.abs(np.array(read) - covered[chosen])
        assert np.median(errors) < 0.015
        assert np.max(errors) < 0.06


def test_coverage_of_the_goals_own_pose_is_whole_and_falls_with_distance():
    pixels = np.array([96 / 512, 96 / 512, 1])
    goal = np.array([GOAL.x, GOAL.y, GOAL.angle])
    assert coverage(goal * pixels, 96) == 1
    near = coverage((goal + [3, 0, 0]) * pixels, 96)
    far = coverage((goal + [40, 0, 0]) * pixels, 96)
    assert 0.9 < near < 0.99
    assert far < 0.5
    assert coverage((goal + [300, 0, 0]) * pixels, 96) == 0
    assert np.isnan(coverage(np.full(3, np.nan), 96))


def test_a_solved_episode_is_seen_to_be(solved):
    """Within what reading errors allow: the simulator stops just past 0.95."""
    verdicts = [PushTSuccessDetector()(frames) for frames, _ in solved]
    assert [one.verdict for one in verdicts].count(Verdict.SUCCESS) >= 2
    for one, (frames, _) in zip(verdicts, solved, strict=True):
        assert one.coverage > 0.92
        if one.verdict is Verdict.SUCCESS:
            assert one.step is not None
            assert one.step > len(frames) - 30


def test_an_episode_cut_before_its_end_is_a_failure(solved):
    for frames, covered in solved:
        early = frames[: np.argmax(covered > 0.85)]
        judged = PushTSuccessDetector()(early)
        assert judged.verdict is Verdict.FAILURE
        assert judged.step is None
        assert judged.coverage < 0.9


def test_frames_without_a_readable_t_are_undecidable(solved):
    frames = solved[0][0].copy()
    frames[len(frames) // 3 :] = 255
    judged = PushTSuccessDetector()(frames)
    assert judged.verdict is Verdict.UNDECIDABLE
    assert judged.unreadable > 0.2
    blank = PushTSuccessDetector()(np.full((5, 96, 96, 3), 255, np.uint8))
    assert blank.verdict is Verdict.UNDECIDABLE
    assert np.isnan(blank.coverage)


def test_success_that_was_seen_stays_one_whatever_follows(solved):
    detect = PushTSuccessDetector()
    frames = next(frames for frames, _ in solved if detect(frames).verdict is Verdict.SUCCESS)
    followed = np.concatenate([frames, np.full((200, 96, 96, 3), 255, np.uint8)])
    assert detect(followed) == detect(frames)


def test_the_goal_is_seen_unless_covered(solved):
    frames, covered = solved[0]
    assert goal_visible(frames[covered == 0][:1])[0] > 0.7
    assert goal_visible(frames[-1:])[0] < 0.3


def test_the_detector_rewards_as_the_simulator_does(solved):
    for frames, covered in solved:
        t = len(frames) // 2
        reward, over = PushTSuccessDetector().reward(frames[t - 1 : t + 1], np.zeros(2))
        assert reward == pytest.approx(min(covered[t] / 0.95, 1), abs=0.05)
        assert not over
    assert PushTSuccessDetector().reward(np.full((2, 96, 96, 3), 255, np.uint8), np.zeros(2)) == (
        0.0,
        False,
    )


def test_what_is_no_episode_is_refused(solved):
    with pytest.raises(ValueError, match="expected"):
        PushTSuccessDetector()(solved[0][0][0])
