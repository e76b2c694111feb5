"""A task that another package brings goes through everything, and no other file knows it.

The toy of tests/toy is registered as an installed package would be, by metadata with an entry
point; the commands are those of docs/tasks.md, which shows its files.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from irasim_env import console
from irasim_env.play import PlayConfig, make_player
from irasim_env.world_controls import controls_of
from tests.installed_tasks import install
from training.streaming.config import preset
from world_model import WorldModel
from world_model.tasks import find_task, load_task, task_names
from world_model.video import read_video

# What all tests here share is made once.
pytestmark = pytest.mark.xdist_group("toy")

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/tasks.md").read_text()
FILES = dict(
    re.findall(r'^```python title="(.*?)"\n(.*?)^```', PAGE, flags=re.MULTILINE | re.DOTALL)
)
COMMANDS = [
    command
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines()
]


def irasim(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `irasim ...` in this process."""
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    console.main()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The directory in which all commands of the page have run, with the toy installed."""
    place = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        install(patch, place / "site", "toy-task", {"toy": "tests.toy.task:TOY"})
        patch.chdir(place)
        patch.setenv("IRASIM_TRACEBACK", "1")  # errors as they are
        for command in COMMANDS:
            irasim(command, patch)
        yield place


def read(path: Path):
    return json.loads(path.read_text())


def test_the_page_shows_the_files_as_they_are():
    assert set(FILES) == {
        f"tests/toy/{name}.py" for name in ("environment", "policies", "reading", "task")
    }
    for name, text in FILES.items():
        assert (ROOT / name).read_text() == text, f"docs/tasks.md: {name} differs from the file"


def test_the_page_names_all_fields():
    table = PAGE[PAGE.index("## What a task may bring") :]
    fields = set(load_task("pusht").__dataclass_fields__) - {"name"}
    assert {name for name in fields if f"`{name}`" not in table} == set()


def test_the_toy_is_found_by_name_and_by_its_environment(toy):
    assert {"pusht", "toy"} <= set(task_names())
    assert find_task("tests.toy.environment:Toy/Dot-v0") is load_task("toy")
    assert "toy" in " ".join(COMMANDS)


def test_a_world_is_trained_from_nothing_by_its_preset(toy):
    world = WorldModel.from_pretrained(toy / "runs/toy/world")
    task, config = load_task("toy"), world.config
    assert config.ground_truth is not None
    assert config.ground_truth.env_id == task.env_id
    assert (config.action_names, config.keys) == (("right", "up"), task.keys)
    assert set(config.observations) == {"place"}
    assert (config.max_episode_steps, config.success_on_termination) == (30, True)
    train = read(toy / "runs/toy/world/train.json")
    assert train["config"]["hidden"] == ["goal"]
    assert train["trained"]["step"] == preset("toy").max_steps == 6
    runs = read(toy / "data/toy/collect.json")["runs"]
    assert [run["config"]["split"] for run in runs] == ["train", "val", "test"]
    assert {run["config"]["policy"] for run in runs} == {"tests.toy.policies:Record"}


def test_it_is_played_by_the_tasks_keys(toy):
    assert len(read_video(toy / "toy.mp4")) == 7
    player = make_player(PlayConfig(world=str(toy / "runs/toy/world"), start=0))
    session = player.session
    for key, action in (("up", (0, 2)), ("left", (-2, 0)), ("down", (0, -2))):
        session.step({key})
        np.testing.assert_array_equal(session.action, action)
    player.close()
    world = WorldModel.from_pretrained(toy / "runs/toy/world")
    assert controls_of(world.config).place == "place"


def test_quality_tells_what_the_task_reads(toy):
    found = read(toy / "out/quality/quality.json")
    (at,) = found["readings"].values()
    assert set(at) == {"frames", "dot"}
    assert at["frames"] == found["frames"]["at"]["4"]["windows"]
    assert at["dot"]["truth_unreadable"] == 0
    assert at["dot"]["median_still"] > 2  # a dot on its way to its goal
    card = (toy / "runs/toy/world/README.md").read_text()
    assert "Readings of the frames by the task" in card
    rows = read(toy / "out/endurance/endurance.json")
    assert set(rows["readings"][0]) == {"step", "dot_read"}  # its action is no place
    assert rows["real_readings"][-1]["dot_read"] == 1


def test_policies_are_evaluated_and_the_family_is_ranked(toy):
    policy = read(toy / "out/policy/policies.json")["policies"]["tests.toy.policies:seek"]
    assert policy["truth"]["success"]["rate"] == 1
    assert policy["world"]["episodes"] == 2
    ranked = read(toy / "out/ranking/ranking.json")["policies"]
    assert list(ranked) == ["wander", "seek"]
    assert ranked["wander"]["truth"]["success"]["rate"] < ranked["seek"]["truth"]["success"]["rate"]


def test_plans_are_carried_out_in_its_simulator(toy):
    plan = read(toy / "out/plan/plan.json")
    assert plan["trials"] == 1
    assert "toy: the dot is within 3 pixels" in plan["success_rule"]


def test_what_it_does_not_bring_is_named_where_it_is_needed(toy, monkeypatch):
    world = "--world runs/toy/world"
    for command, part in ((f"plan {world} --planner best", "proposals"), (f"rl {world}", "rl_")):
        with pytest.raises(ValueError, match=f"task 'toy' has no {part}"):
            irasim(f"irasim {command} --out out/none", monkeypatch)
