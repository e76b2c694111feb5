"""Simulators of the tasks that ship, as tests ask for them."""

from ctypes.util import find_library
from typing import Any

import gymnasium as gym
import pytest

from world_model.tasks import Task, all_tasks

# What a task's extra installs; without it its tests are skipped.
NEEDED = {"pusht": "gym_pusht", "tabletop": "mujoco"}
TASKS = sorted(NEEDED)
# Those whose simulator is ours, so that all that we promise holds for it.
OURS = sorted(task.name for task in all_tasks() if task.simulator is not None)


def needs(name: str) -> None:
    """Skip the test where a task's simulator is not installed, or cannot draw."""
    pytest.importorskip(NEEDED[name], reason=f"needs pip install 'irasim-env[{name}]'")
    if NEEDED[name] == "mujoco" and not any(map(find_library, ("EGL", "OSMesa"))):
        pytest.skip(
            "MuJoCo draws by libegl1 or libosmesa6, and neither is here", allow_module_level=True
        )


def simulator(task: Task, **settings: Any) -> gym.Env:
    """A task's simulator, as episodes are recorded from it."""
    needs(task.name)
    return gym.make(task.env_id, **{**task.env_kwargs, **settings})
