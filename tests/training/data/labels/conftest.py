"""A labelled scene, fitted once for all tests."""

import numpy as np
import pytest

from tests.training.data.labels.synthetic import make_episode
from training.data.episodes import Episode
from training.data.labels.background import noise_between
from training.data.labels.scene import Scene, fit_scene

SEEN, NEW = range(7), range(20, 24)


@pytest.fixture(scope="session")
def episodes() -> list[Episode]:
    """Those that the scene is fitted to."""
    return [make_episode(i) for i in SEEN]


@pytest.fixture(scope="session")
def new_episodes() -> list[Episode]:
    """Others."""
    return [make_episode(i) for i in NEW]


@pytest.fixture(scope="session")
def scene(episodes: list[Episode]) -> Scene:
    frames = np.concatenate([episode.frames for episode in episodes])
    joints = np.concatenate([episode.states["joints"] for episode in episodes])
    return fit_scene(frames, joints, ("joints",), noise=noise_between(episodes[0].frames))
