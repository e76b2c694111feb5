"""Features read from frames are where the simulator says that things are."""

import gymnasium as gym
import numpy as np
import pytest

from policies.pusht.features import NUM_FEATURES, pusht_features

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
T_CENTROID = 285 / 7  # from the T's origin along its stem, simulator units


@pytest.fixture(scope="module")
def scenes():
    """Frames, disc positions, poses of the block (x, y, angle) and coverage of 60 scenes."""
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels_agent_pos")
    rows = []
    for seed in range(60):
        obs, _ = env.reset(seed=seed)
        inner = env.unwrapped
        pose = (*inner.block.position, inner.block.angle)
        rows.append((obs["pixels"], obs["agent_pos"], pose, inner._get_coverage()))
    env.close()
    return [np.array(column) for column in zip(*rows, strict=True)]


def test_they_say_where_disc_and_t_are(scenes):
    frames, discs, poses, coverage = scenes
    features = pusht_features(frames, discs)
    assert features.shape == (60, NUM_FEATURES)
    assert features.dtype == np.float32
    np.testing.assert_allclose((features[:, :2] + 1) * 256, discs, atol=1e-3)
    stem = np.stack((-np.sin(poses[:, 2]), np.cos(poses[:, 2])), -1)
    centroid = poses[:, :2] + T_CENTROID * stem
    distance = np.linalg.norm((features[:, 2:4] + 1) * 256 - centroid, axis=1)
    assert np.median(distance) < 2
    assert np.quantile(distance, 0.9) < 5
    np.testing.assert_allclose(
        features[:, 4:6], 2 * (features[:, 2:4] - features[:, :2]), atol=1e-4
    )
    turn = np.arctan2(features[:, 7], features[:, 6]) - np.arctan2(stem[:, 1], stem[:, 0])
    degrees = np.degrees(np.abs((turn + np.pi) % (2 * np.pi) - np.pi))
    assert np.median(degrees) < 3
    assert np.quantile(degrees, 0.9) < 10
    assert np.corrcoef(features[:, 9], coverage)[0, 1] < -0.9  # what is bare is not covered


def test_an_empty_frame_has_finite_features():
    blank = np.full((2, 96, 96, 3), 255, np.uint8)
    features = pusht_features(blank, np.array([[0.0, 0.0], [512.0, 512.0]]))
    assert np.isfinite(features).all()
    assert (features[:, 8:] == 0).all()
