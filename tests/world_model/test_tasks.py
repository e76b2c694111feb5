"""Tasks are found by name and by environment, whatever else is installed."""

import dataclasses
import importlib
import subprocess
import sys
import warnings

import pytest

from tests.conftest import TINY_CONFIG
from tests.installed_tasks import install
from tests.simulators import TASKS, needs
from world_model import tasks
from world_model.tasks import (
    PARTS,
    Task,
    all_tasks,
    find_task,
    load_task,
    need_task,
    task_names,
    task_of,
    task_packages,
)

PUSHT_ENV = "gym_pusht:gym_pusht/PushT-v0"
OTHER = Task(name="other", env_id="Other-v0", packages=("other-simulator",))
SAME_ENVIRONMENT = Task(name="same", env_id="elsewhere:gym_pusht/PushT-v0")
NO_TASK = "a string"


def here(name: str) -> str:
    return f"{__name__}:{name}"


@pytest.fixture
def bring(monkeypatch, tmp_path):
    """Installs a package with tasks."""

    def bring(package: str, **brought: str) -> None:
        install(monkeypatch, tmp_path / package, package, brought)

    return bring


def test_the_task_that_ships_is_found():
    task = load_task("pusht")
    assert "pusht" in task_names()
    assert find_task(PUSHT_ENV) is find_task("gym_pusht/PushT-v0") is task_of(TINY_CONFIG) is task
    assert need_task(TINY_CONFIG, "this test") is task
    assert task.place == "agent_pos"


@pytest.mark.parametrize("name", TASKS)
def test_each_part_that_a_task_names_is_there(name):
    task = load_task(name)
    needs(name)
    named = [part for part in PARTS if getattr(task, part) is not None]
    assert {"recorder", "success_detector", "measure"} <= set(named)
    assert all(task.load(part) for part in named)
    family = importlib.import_module(str(task.family))
    assert len(family.FAMILY) >= 8
    assert all(callable(getattr(family, policy)) for policy in family.FAMILY)


def test_another_package_brings_a_task(bring):
    assert find_task("Other-v0") is None
    bring("other-package", other=here("OTHER"))
    assert load_task("other") is find_task("module:Other-v0") is OTHER
    assert {"gym-pusht", "other-simulator"} <= set(task_packages())


def test_an_unknown_task_is_refused_with_those_there(bring):
    bring("other-package", other=here("OTHER"))
    with pytest.raises(
        ValueError, match="no task 'none' is installed; expected one of other, pusht, tabletop"
    ):
        load_task("none")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("broken", "no_such_module.task:TASK", "ModuleNotFoundError: No module named"),
        ("broken", here("MISSING"), "AttributeError"),
        ("broken", "tests.world_model.task_that_fails:TASK", "RuntimeError: the author's mistake"),
        ("broken", here("NO_TASK"), "is 'a string', expected a world_model.tasks.Task named"),
        ("broken", here("OTHER"), "is a Task named 'other', expected"),
    ],
)
def test_a_broken_task_is_named_and_breaks_no_other(name, value, reason, bring):
    bring("broken-package", **{name: value})
    with pytest.raises(ValueError, match=f"'broken' of broken-package .*{reason}"):
        load_task(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_task(PUSHT_ENV) is load_task("pusht")  # and nobody is bothered
    with pytest.warns(UserWarning, match=f"'broken' of broken-package .*{reason}"):
        assert find_task("Unknown-v0") is None  # it may have been that one
    with pytest.warns(UserWarning, match="repair that package, or uninstall it"):
        assert load_task("pusht") in all_tasks()


def test_an_install_that_is_older_than_its_tasks_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(tasks, "entry_points", lambda group: ())
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(UserWarning, match="run pip install -e"):
        assert find_task(PUSHT_ENV) is None


def test_two_of_one_name_are_refused_when_asked_for(bring):
    bring("first-package", other=here("OTHER"))
    bring("second-package", other=here("OTHER"))
    with pytest.raises(ValueError, match=r"second-package .* and first-package .*uninstall"):
        load_task("other")
    assert load_task("pusht")


def test_two_of_one_environment_are_refused(bring):
    bring("same-package", same=here("SAME_ENVIRONMENT"))
    with pytest.raises(ValueError, match="environment of the tasks pusht and same; uninstall"):
        find_task(PUSHT_ENV)


def test_what_needs_a_task_says_why_there_is_none():
    config = dataclasses.replace(TINY_CONFIG, ground_truth=None)
    assert task_of(config) is None
    with pytest.raises(
        ValueError, match="this test needs a task, and world 'tiny' names no ground"
    ):
        need_task(config, "this test")


def test_parts_that_are_missing_or_cannot_be_had_are_named():
    with pytest.raises(ValueError, match="task 'other' has no success_detector"):
        OTHER.load("success_detector")
    task = dataclasses.replace(
        OTHER, success_detector="no_such_module:Detector", extra="other[simulator]"
    )
    with pytest.raises(
        ValueError, match=r"success_detector of task 'other'.*pip install 'other\[simulator\]'"
    ):
        task.load("success_detector")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"success_detector": "no_colon"}, "success_detector is 'no_colon', expected module:name"),
        ({"poses": ("block",)}, "poses block are not among hidden"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"place_reading": "dot"}, "place_reading is 'dot', but there is no measure"),
    ],
)
def test_impossible_tasks_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(OTHER, **changes)


def test_asking_for_a_task_loads_nothing_heavy():
    code = (
        "import sys\nfrom world_model.tasks import load_task\nload_task('pusht')\n"
        "print({'torch', 'numpy', 'gymnasium'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
