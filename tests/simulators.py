"""Simulators of the tasks that ship, as tests ask for them."""

from typing import Any

import gymnasium as gym
import pytest

from world_model.tasks import Task, all_tasks

# What a task's extra installs; without it its tests are skipped.
NEEDED = {"pusht": "gym_pusht", "tabletop": "mujoco"}
TASKS = sorted(NEEDED)
# Those whose simulator is ours, so that all that we promise holds for it.
OURS = sorted(task.name for task in all_tasks() if task.simulator is not None)


def simulator(task: Task, **settings: Any) -> gym.Env:
    """A task's simulator, as episodes are recorded from it."""
    pytest.importorskip(NEEDED[task.name], reason=f"needs pip install '{task.extra}'")
    return gym.make(task.env_id, **{**task.env_kwargs, **settings})
