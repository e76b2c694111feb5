"""Fixtures: held-out Push-T episodes, recorded from the simulator; evaluations of a chunk model."""

from pathlib import Path

import pytest

from tests.benchmarks.evaluations import Files, Run, long, make_files, run, short


@pytest.fixture(scope="session")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six short test episodes of three kinds of policy, two of them of "expert"s that get there."""
    pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
    from dataclasses import replace

    import numpy as np

    from training.data.episodes import Episode, write_episode
    from training.data.record import RandomActions, make_env, record_episode

    root = tmp_path_factory.mktemp("data") / "pusht"
    kwargs = {"obs_type": "pixels_agent_pos"}
    env = make_env("gym_pusht:gym_pusht/PushT-v0", kwargs)
    for index, (kind, steps) in enumerate(
        [("expert", 14), ("random", 12), ("expert", 9), ("play", 12), ("random", 5), ("play", 12)]
    ):
        arrays = record_episode(env, RandomActions(env, index), seed=100 + index, max_steps=steps)
        episode = Episode(
            episode_id=f"{index:06d}",
            seed=100 + index,
            env_id="gym_pusht:gym_pusht/PushT-v0",
            env_kwargs=kwargs,
            policy=kind,
            fps=10.0,
            **arrays,
        )
        if kind == "expert":  # A real success takes a hundred steps: say that this was one.
            terminated = np.arange(steps) == steps - 1
            rewards = np.linspace(0, 1, steps)
            episode = replace(episode, terminated=terminated, rewards=rewards)
        write_episode(root, "test", episode)
    env.close()
    return root


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """What evaluations are given."""
    return make_files(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="session")
def short_run(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The short protocol on one process."""
    out = tmp_path_factory.mktemp("short")
    return out, run(short(files, out))


@pytest.fixture(scope="session")
def long_run(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The long protocol on one process."""
    out = tmp_path_factory.mktemp("long")
    return out, run(long(files, out))
