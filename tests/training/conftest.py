"""Fixtures: data to train chunk models on, and a labelled scene, fitted once for all tests.

What reads videos is imported by them, so that tests beside them run where nothing does.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from training.data.episodes import Episode
    from training.data.labels.scene import Scene

SEEN, NEW = range(7), range(20, 24)


@pytest.fixture(scope="session")
def chunk_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes with direct actions, see `write_dataset`."""
    from tests.training.chunk_runs import write_dataset

    root = tmp_path_factory.mktemp("direct")
    write_dataset(root, "direct")
    return root


@pytest.fixture(scope="session")
def episodes() -> "list[Episode]":
    """Those that the scene is fitted to."""
    from tests.training.data.labels.synthetic import make_episode

    return [make_episode(i) for i in SEEN]


@pytest.fixture(scope="session")
def new_episodes() -> "list[Episode]":
    """Others."""
    from tests.training.data.labels.synthetic import make_episode

    return [make_episode(i) for i in NEW]


@pytest.fixture(scope="session")
def scene(episodes: "list[Episode]") -> "Scene":
    """Of bodies, background and robot."""
    from training.data.labels.background import noise_between
    from training.data.labels.scene import fit_scene

    frames = np.concatenate([episode.frames for episode in episodes])
    joints = np.concatenate([episode.states["joints"] for episode in episodes])
    return fit_scene(frames, joints, ("joints",), noise=noise_between(episodes[0].frames))
