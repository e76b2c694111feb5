"""The simulator that a world was learned from, put at the points where the world starts."""

import importlib
from typing import Any

import gymnasium as gym
import numpy as np

from irasim_env.actions import simulator_action
from world_model import Start, WorldConfig
from world_model.config import DEFAULT_WORLD
from world_model.observed import (
    STATE,
    as_numbers,
    as_picture,
    choose_picture,
    find_parts,
    read_part,
    read_parts,
    resized,
)
from world_model.tasks import find_task


class GroundTruth:
    """The real simulator beside a learned one.

    It has no time limit of its own: the world that it runs beside keeps the time.

    Args:
        config: Config of the world; its `ground_truth` says which environment to make.

    Raises:
        ValueError: the world names no ground truth.
        gym.error.DependencyNotInstalled: the simulator's package is missing.
    """

    def __init__(self, config: WorldConfig):
        truth = config.ground_truth
        if truth is None:
            raise ValueError(
                f"world {config.name!r} names no ground truth in its config.json, so there is no "
                f"simulator to run beside it; use a world that does, such as {DEFAULT_WORLD!r}"
            )
        self.config = config
        self.frame_shape = (config.height, config.width, 3)
        if ":" in truth.env_id:  # as in "module:Name-v0"
            _import_simulator(truth.env_id)
        self.env = gym.make(
            truth.env_id,
            max_episode_steps=-1,
            disable_env_checker=True,
            **{"render_mode": "rgb_array", **truth.kwargs},
        )
        parts = find_parts(self.env.observation_space)
        self._picture = choose_picture(parts, truth.camera)
        self._resize = truth.resize
        self._frame: np.ndarray | None = None

    @property
    def frame(self) -> np.ndarray:
        """What the simulator shows now, uint8 (H, W, 3).

        Raises:
            gym.error.ResetNeeded: nothing yet.
        """
        if self._frame is None:
            raise gym.error.ResetNeeded("the ground truth has no frame yet; call reset_to(start)")
        return self._frame.copy()

    def reset_to(self, start: Start) -> Any:
        """Put the simulator where a start's last frame is, and observe.

        Setting its pose is not exact in contact, so all actions since its seeded reset are
        replayed.

        Args:
            start: One of the world's starts: `seed`, and `replay` float32 (n, A).

        Returns:
            The simulator's own observation.

        Raises:
            ValueError: the start does not know its actions since the reset.
        """
        if start.replay is None or start.seed is None:
            missing = "replay (the actions since the simulator's reset)"
            if start.seed is None:
                missing = "seed of the simulator's reset"
            raise ValueError(
                f"the start has no {missing}, so the simulator cannot be put there: it was "
                "recorded elsewhere. Use a world whose starts were recorded by `irasim collect`"
            )
        observation, _ = self.env.reset(seed=int(start.seed))
        for action in np.asarray(start.replay):
            observation, *_ = self.env.step(self._own(action))
        self._frame = self._read_frame(observation)
        return observation

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the simulator with an action (A,), as `gym.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(self._own(action))
        self._frame = self._read_frame(observation)
        return observation, float(reward), bool(terminated), bool(truncated), info

    def observations(self, observation: Any) -> dict[str, np.ndarray]:
        """What the world observes besides pictures, in an observation of the simulator's:
        float64 (n,) by name, without what the simulator does not observe."""
        parts = read_parts(observation)
        parts[STATE] = parts.pop("", None)
        names = self.config.observations
        return {name: as_numbers(parts[name]) for name in names if parts.get(name) is not None}

    def close(self) -> None:
        """Close the simulator."""
        self.env.close()

    def _own(self, action: np.ndarray) -> Any:
        """An action (A,) of the world as the simulator takes it."""
        return simulator_action(self.config, self.env.action_space, action)

    def _read_frame(self, observation: Any) -> np.ndarray:
        """The picture within an observation, or a rendered one, in the world's size."""
        if self._picture is None:
            pixels = np.asarray(self.env.render())
        else:
            pixels = as_picture(read_part(observation, self._picture.name), self._picture)
        if self._resize and pixels.dtype == np.uint8 and pixels.ndim == 3:
            pixels = resized(pixels, self.frame_shape[:2])
        if pixels.shape != self.frame_shape or pixels.dtype != np.uint8:
            raise ValueError(
                f"the ground truth shows frames of type {pixels.dtype} and shape {pixels.shape}, "
                f"its world expects uint8 {self.frame_shape}; correct ground_truth.kwargs in the "
                "world's config.json"
            )
        return pixels


def _import_simulator(env_id: str) -> None:
    """Import the module that registers the simulator's id."""
    module = env_id.partition(":")[0]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as missing:
        task = find_task(env_id)
        cure = f"put the folder that holds it on PYTHONPATH, or install what brings {module}"
        if task is not None and task.extra is not None:
            cure = f"run pip install '{task.extra}'"
        raise gym.error.DependencyNotInstalled(
            f"the real simulator needs the module {missing.name!r}, which is not found; {cure}"
        ) from missing
