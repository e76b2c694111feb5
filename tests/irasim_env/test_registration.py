"""Ids, imports and their direction."""

import importlib
import subprocess
import sys

import gymnasium as gym
import pytest

import irasim_env
from tests.installed_tasks import install
from world_model.io.checkpoint import shipped_worlds
from world_model.tasks import Task, load_task, task_names

BROUGHT = Task(
    name="brought",
    env_id="irasim_env:Brought/Dot-v0",
    simulator="tests.toy.environment:Dot",
    max_episode_steps=7,
)
IDS = ("IRASim/PushT-v0", "IRASim/Tabletop-v0", "IRASim/World-v0")


def test_ids_are_registered_by_name_only():
    for env_id in IDS:
        spec = gym.spec(env_id)
        assert isinstance(spec.entry_point, str)
        assert isinstance(spec.vector_entry_point, str)
    assert gym.spec("IRASim/PushT-v0").kwargs == {"world": "pusht"}
    assert gym.spec("IRASim/PushT-v0").max_episode_steps == 300
    assert gym.spec("IRASim/World-v0").max_episode_steps is None


@pytest.mark.parametrize("name", task_names())
def test_a_world_that_a_task_names_comes_with_the_package(name):
    task = load_task(name)
    if task.world_id is not None:
        assert name in shipped_worlds()
        spec = gym.spec(task.world_id)
        assert (spec.kwargs, spec.max_episode_steps) == ({"world": name}, task.max_episode_steps)


def test_import_loads_nothing_heavy():
    heavy = "{'torch', 'pygame', 'mujoco', 'cv2', 'world_model.world'}"
    code = f"import sys, irasim_env; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_twice_does_not_warn(tiny_world):
    importlib.reload(irasim_env)  # a warning is an error here
    gym.make("irasim_env:IRASim/PushT-v0", world=tiny_world).close()


def test_world_v0_asks_for_its_world():
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match=r'no world.*make\("IRASim/World-v0", world="pusht"\)'):
            make("IRASim/World-v0")


def test_the_simulator_that_another_package_brings_is_registered(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "brought-package", {"brought": f"{__name__}:BROUGHT"})
    try:
        importlib.reload(irasim_env)
        with gym.make(BROUGHT.env_id) as env:
            assert env.spec is not None and env.spec.max_episode_steps == 7
            assert type(env.unwrapped).__name__ == "Dot"
    finally:
        gym.registry.pop(BROUGHT.bare_id, None)
