"""What measures a task's simulator, its family, and the tabletop's readings."""

import json

import pytest

from benchmarks.control import family
from benchmarks.control.family import FamilyConfig
from benchmarks.speed import simulator
from benchmarks.speed.simulator import SimulatorConfig
from benchmarks.tabletop import readings
from benchmarks.tabletop.readings import POSES, ReadingsConfig
from training.data.collect import CollectConfig
from training.data.collect import main as collect

pytest.importorskip("mujoco", reason="needs pip install 'irasim-env[tabletop]'")


def record(out, hidden):
    collect(
        CollectConfig(
            env_id="irasim_env:IRASim/TabletopSim-v0",
            env_kwargs='{"obs_type": "pixels_effector_pos"}',
            policy="policies.tabletop:pusher",
            hidden=hidden,
            out=out,
            split="test",
            episodes=2,
            workers=0,
        )
    )


def test_the_simulators_rate_is_told_drawn_and_undrawn(tmp_path, capsys):
    simulator.main(SimulatorConfig(task="tabletop", steps=3, repeats=2, out=tmp_path))
    report = json.loads((tmp_path / "simulator.json").read_text())
    assert [row["way"] for row in report["rows"]] == ["drawn", "undrawn"]
    assert all(row["steps_per_core_second"] > 0 for row in report["rows"])
    assert "mujoco" in report["versions"]
    assert "| undrawn |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="steps is 0, expected at least 1"):
        SimulatorConfig(task="tabletop", steps=0)


def test_the_family_is_played_in_the_simulator_alone(tmp_path):
    config = FamilyConfig(task="tabletop", policies=("push",), episodes=2, out=tmp_path)
    assert family.main(config)["policies"]["push"]["success"] == 1
    one = json.loads((tmp_path / "family.json").read_text())["policies"]["push"]
    assert one["success_interval"][0] < 1
    assert one["median_steps_to_success"] < 100
    with pytest.raises(ValueError, match=r"policies nobody are not of the family; expected .*push"):
        family.main(FamilyConfig(task="tabletop", policies=("nobody",)))


def test_readings_are_held_against_hidden_states(tmp_path):
    record(tmp_path / "data", POSES)
    found = readings.main(ReadingsConfig(data=tmp_path / "data", stride=5, out=tmp_path / "out"))
    assert set(found["readings"]) == {"cube", "cylinder", "prism", "cross", "pusher"}
    assert all(one["found"] == 1 and one["median_px"] < 1 for one in found["readings"].values())
    assert sum(found["judge"].values()) == 2
    assert json.loads((tmp_path / "out/readings.json").read_text())["readings"]


def test_episodes_without_hidden_states_name_the_cure(tmp_path):
    record(tmp_path, ())
    with pytest.raises(ValueError, match=r"irasim collect --hidden cube_pose"):
        readings.main(ReadingsConfig(data=tmp_path))
