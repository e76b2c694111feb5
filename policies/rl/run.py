"""The directory of a reinforcement-learning run: whose it is, its checkpoint, how it goes on.

A checkpoint is all that the rest depends on: the networks and their optimisers (policy.zip) and,
for SAC, the replay buffer. Each part of a run, from one checkpoint to the next, begins new episodes
and is seeded by the run's seed and the steps so far, so that it does not matter whether the process
is still the same. Stable-Baselines3 reads its files with pickle: load your own only.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecEnv

from world_model.io.whole_files import write_whole

POLICY, CONFIG = "policy.zip", "config.json"
PACKAGES = ("irasim-env", "torch", "numpy", "gymnasium", "stable-baselines3")


def claim(directory: Path, settings: dict[str, Any]) -> None:
    """Make a directory a run's own, or find that it is already.

    Raises:
        ValueError: it holds a run with other settings, or a damaged one.
    """
    settings = json.loads(json.dumps(settings, default=str))
    path = directory / CONFIG
    if path.is_file():
        try:
            found = json.loads(path.read_text())["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: is damaged ({type(error).__name__}: {error}); restore it, or give "
                "another --out"
            ) from error
        differ = [name for name in settings if found.get(name) != settings[name]]
        if differ:
            name = differ[0]
            raise ValueError(
                f"{directory} holds a run with {name} {found.get(name)!r}, asked for is "
                f"{settings[name]!r}; give another --out, or delete it"
            )
        return
    directory.mkdir(parents=True, exist_ok=True)
    content = {"settings": settings, "versions": {name: version(name) for name in PACKAGES}}
    write_whole(path, json.dumps(content, indent=2) + "\n")


def is_begun(directory: Path) -> bool:
    """Whether there is a checkpoint."""
    return (directory / POLICY).is_file()


def begin_part(model: SAC | PPO, envs: VecEnv, seed: int) -> None:
    """Begin new episodes, all random numbers seeded by (seed, steps so far)."""
    part = np.random.SeedSequence([seed, model.num_timesteps]).generate_state(1)[0]
    model.set_env(envs, force_reset=True)
    # Stable-Baselines3 draws from global generators; this seeds them, and the environments.
    model.set_random_seed(int(part) % 2**31)


def save(directory: Path, model: SAC | PPO) -> None:
    """Write a checkpoint; the policy last, which makes it one, and only then drop the older."""
    buffer = _buffer(directory, model.num_timesteps)
    if isinstance(model, SAC):
        model.save_replay_buffer(buffer)
    temporary = directory / "unfinished.zip"
    model.save(temporary)
    temporary.replace(directory / POLICY)
    for other in directory.glob(_buffer(directory, "*").name):
        if other != buffer:
            other.unlink()


def load(directory: Path, algorithm: str) -> SAC | PPO:
    """Read a checkpoint."""
    if algorithm == "ppo":
        return PPO.load(directory / POLICY, device="cpu")
    model = SAC.load(directory / POLICY, device="cpu")
    model.load_replay_buffer(_buffer(directory, model.num_timesteps))
    return model


def _buffer(directory: Path, steps: int | str) -> Path:
    return directory / f"replay_buffer_{steps}.pkl"
