"""Positions read from frames against the simulator's own."""

from typing import NamedTuple

import numpy as np
import pytest

from policies.pusht.reading import disc_error, pose_error, read_disc, read_t, t_iou

SCALE = 96 / 512


class Scenes(NamedTuple):
    """Frames with what the simulator says is in them, in pixels and radians."""

    frames: np.ndarray  # (N, 96, 96, 3)
    discs: np.ndarray  # (N, 2)
    poses: np.ndarray  # (N, 3)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """What 20 episodes look like when the disc is sent at the T from anywhere."""
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
    env = gymnasium.make("gym_pusht/PushT-v0", obs_type="pixels_agent_pos").unwrapped
    rng = np.random.default_rng(0)
    frames, discs, poses = [], [], []
    for seed in range(20):
        _, info = env.reset(seed=seed)
        for _ in range(6):
            target = info["block_pose"][:2] + rng.normal(0, 60, 2)
            obs, _, _, _, info = env.step(target.clip(20, 492))
            if (np.abs(info["block_pose"][:2] - 256) < 200).all():  # else it may be out of sight
                frames.append(obs["pixels"])
                discs.append(obs["agent_pos"] * SCALE)
                poses.append(info["block_pose"] * [SCALE, SCALE, 1])
    env.close()
    return Scenes(np.stack(frames), np.stack(discs), np.stack(poses))


def _blurred(frames: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def test_reads_the_disc_where_the_simulator_has_it(scenes):
    errors = disc_error(read_disc(scenes.frames), scenes.discs)
    assert len(errors) > 60
    assert not np.isnan(errors).any()
    assert np.median(errors) < 0.3
    assert errors.max() < 1


def test_reads_the_pose_of_the_t_as_the_simulator_has_it(scenes):
    distance, degrees = pose_error(read_t(scenes.frames), scenes.poses)
    assert np.median(distance) < 0.3
    assert np.median(degrees) < 0.5
    assert np.nanmax(distance) < 2
    assert np.nanmax(degrees) < 4
    assert np.isnan(distance).mean() < 0.02


def test_reads_blurred_frames(scenes):
    frames = _blurred(scenes.frames[::3], 1.2)
    discs = disc_error(read_disc(frames), scenes.discs[::3])
    distance, degrees = pose_error(read_t(frames), scenes.poses[::3])
    assert np.isnan(discs).mean() < 0.05
    assert np.isnan(distance).mean() < 0.05
    assert np.nanmedian(discs) < 0.5
    assert np.nanmedian(distance) < 1
    assert np.nanmedian(degrees) < 2


def test_what_is_not_there_is_unreadable(scenes):
    blank = np.full((96, 96, 3), 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    smeared = _blurred(scenes.frames[:1], 9)[0]
    for frame in (blank, noise, smeared):
        assert np.isnan(read_disc(frame)).all()
        assert np.isnan(read_t(frame)).all()


def test_two_discs_are_undecided(scenes):
    frame = scenes.frames[0].copy()
    x, y = (int(v) for v in scenes.discs[0])
    disc = frame[y - 3 : y + 4, x - 3 : x + 4].copy()
    assert not np.isnan(read_disc(frame)).any()
    elsewhere = (x + 48) % 80 + 5
    frame[y - 3 : y + 4, elsewhere - 3 : elsewhere + 4] = disc
    assert np.isnan(read_disc(frame)).all()


def test_a_faded_second_disc_leaves_it_undecided_and_a_haze_does_not(scenes):
    frame, x = scenes.frames[0].copy(), int(scenes.discs[0][0])
    y = int(scenes.discs[0][1])
    disc = frame[y - 3 : y + 4, x - 3 : x + 4].astype(float)
    hazy = frame.copy()
    free = (frame == 255).all(-1)
    hazy[free] = (245, 248, 255)  # a twentieth of the disc's blue, all over
    np.testing.assert_allclose(read_disc(hazy), read_disc(frame), atol=0.3)
    elsewhere = (x + 48) % 80 + 5
    ghost = frame[y - 3 : y + 4, elsewhere - 3 : elsewhere + 4].astype(float)
    frame[y - 3 : y + 4, elsewhere - 3 : elsewhere + 4] = (0.2 * ghost + 0.8 * disc).astype(
        np.uint8
    )
    assert np.isnan(read_disc(frame)).all()


def test_overlap_is_one_with_itself_and_falls_with_distance(scenes):
    frames = scenes.frames[:8]
    assert t_iou(frames, frames) == pytest.approx(1)
    one = t_iou(np.roll(frames, 1, axis=-2), frames)
    three = t_iou(np.roll(frames, 3, axis=-2), frames)
    assert (one > three).all()
    assert (three > 0.2).all()
    # A T six pixels wide in both arms, moved by one: about four fifths remain.
    assert 0.6 < np.median(one) < 0.9
    assert (t_iou(_blurred(frames, 3), frames) < 0.9).all()


def test_overlap_counts_a_missing_t_as_none_and_two_as_nothing_to_compare(scenes):
    blank = np.full((96, 96, 3), 255, np.uint8)
    assert t_iou(blank, scenes.frames[0]) == 0
    assert np.isnan(t_iou(blank, blank))


def test_overlap_looks_through_the_disc(scenes):
    import cv2

    for frame, pose in zip(scenes.frames[:6], scenes.poses, strict=False):
        covered = frame.copy()
        joint = pose[:2] + 30 * SCALE * np.array([-np.sin(pose[2]), np.cos(pose[2])])
        # Paint a disc of the disc's size and colour over the middle of the T.
        cv2.circle(covered, tuple(int(v) for v in joint), 3, (78, 126, 255), -1)
        assert t_iou(covered, frame) > 0.9


@pytest.mark.parametrize(
    ("frames", "cure"),
    [
        (np.zeros((96, 96, 3), np.float32), "uint8"),
        (np.zeros((3, 96, 96), np.uint8), r"\(..., height, width, 3\)"),
        (np.zeros((2, 96, 128, 3), np.uint8), "square"),
        (np.zeros((32, 32, 3), np.uint8), "at least 48"),
    ],
)
def test_wrong_frames_are_refused(frames, cure):
    for read in (read_disc, read_t):
        with pytest.raises(ValueError, match=cure):
            read(frames)


def test_frames_of_different_shapes_are_refused(scenes):
    with pytest.raises(ValueError, match="compare like with like"):
        t_iou(scenes.frames[:2], scenes.frames[:3])


def test_no_frames_have_no_readings():
    none = np.empty((0, 96, 96, 3), np.uint8)
    assert read_disc(none).shape == (0, 2)
    assert read_t(none).shape == (0, 3)
    assert t_iou(none, none).shape == (0,)
