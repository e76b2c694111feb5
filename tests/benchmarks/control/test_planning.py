"""`irasim bench planning` and `irasim bench pusht-planning` on a tiny world."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from benchmarks.control import planning
from benchmarks.control.config import BestOfBenchConfig
from benchmarks.control.paired_trials import summarise
from benchmarks.pusht import planning as pusht_planning
from benchmarks.pusht import planning_command
from benchmarks.pusht.nearness import GOAL, LearnedNearness
from benchmarks.pusht.planning import PushTPlanningConfig
from benchmarks.speed.flops import count_operations
from irasim_env import console
from policies.pusht.geometry import Pose, pose_of_label
from policies.pusht.nearness import nearness, simulator_nearness
from policies.pusht.proposals import SKILL, SkillConfig
from tests.conftest import TINY_CONFIG
from world_model import RolloutOutput, StreamingWorld, WorldModel


@pytest.mark.slow_suite
def test_a_decision_is_timed_and_compared_with_the_roofline(tiny_world, tmp_path, capsys):
    console.run(
        f"bench planning --world {tiny_world} --out {tmp_path} --candidates 4 --horizon 2 "
        "--max-rows 2 8 --precisions float32 --repeats 1 --threads 1 --device cpu".split()
    )
    results = json.loads((tmp_path / "planning.json").read_text())
    assert [row["at_once"] for row in results["settings"]] == [2, 4]
    for row in results["settings"]:
        flops = row["flops_per_decision"]
        assert flops == pytest.approx(results["settings"][0]["flops_per_decision"], rel=0.02)
        assert row["share_of_products_ceiling"] == pytest.approx(
            flops / row["decision_seconds"] / row["products_ceiling"]
        )
    assert "one large product" in capsys.readouterr().out


@pytest.mark.slow_suite
def test_work_is_counted_where_it_shows(tiny_world, monkeypatch):
    """Not in a graph: its replay shows nothing, its capture everything several times."""
    world = WorldModel.from_pretrained(tiny_world)
    monkeypatch.setattr(type(world), "captures", property(lambda self: self.graph is not False))
    captures = []

    def replay(world, state, action, *, frames):
        captures.append(world.captures)
        return world.predict(state, action, frames=frames)

    monkeypatch.setattr(type(world), "_run", replay)
    counted = []

    def count(call):
        before = len(captures)
        work = count_operations(call)
        counted.extend(captures[before:])
        return work

    monkeypatch.setattr("benchmarks.control.planning.count_operations", count)
    config = planning.PlanningConfig(
        candidates=4, horizon=2, max_rows=(2, 4), precisions=("float32",), repeats=1
    )
    rows = planning.measure(config, world, "cpu")
    assert len(rows) == 2
    assert counted == [False] * 2  # one step a setting
    assert any(captures)


def run(tiny_world: Path, out: Path, trials: int) -> dict:
    arguments = ["--out", str(out), "--world", f"0={tiny_world}", "--trials", str(trials)]
    arguments += ["--candidates", "1", "2", "--max-steps", "5", "--device", "cpu"]
    planning_command.cli(arguments)
    return json.loads((out / "pusht_planning.json").read_text())


def test_the_experiment_goes_on_where_it_was(tiny_world, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pusht_planning, "SKILL", SkillConfig(longest=4))
    first = run(tiny_world, tmp_path, 1)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["base", "0", "real"]
    second = run(tiny_world, tmp_path, 2)
    assert (tmp_path / "trials.jsonl").read_text().splitlines()[:3] == lines
    assert [row["trials"] for row in first["rows"]] == [1, 1, 1]
    assert [(row["model"], row["candidates"]) for row in second["rows"]] == [
        ("base", 1),
        ("0", 2),
        ("real", 2),
    ]
    assert [row["pairs"] for row in second["rows"]] == [2, 2, 2]
    table = (tmp_path / "table.md").read_text()
    assert "|    learned, P = 0 |" in table
    assert "coverage over 0.95" in table
    assert table.strip() in capsys.readouterr().out


def test_states_are_imagined_where_they_are_asked_for(tiny_world, tmp_path, monkeypatch):
    """Trials of the one do not count for the other."""
    monkeypatch.setattr(pusht_planning, "SKILL", SkillConfig(longest=4))
    monkeypatch.setattr(StreamingWorld, "rollout", None)
    arguments = f"--out {tmp_path} --world 0={tiny_world} --trials 1 --candidates 2 --no-real"
    planning_command.cli([*arguments.split(), "--max-steps", "5", "--imagine", "states"])
    [line] = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert json.loads(line)["imagine"] == "states"
    for imagine, found in (("states", 1), ("frames", 0)):
        config = PushTPlanningConfig(
            out=tmp_path,
            world=(f"0={tiny_world}",),
            candidates=(2,),
            trials=1,
            max_steps=5,
            imagine=imagine,
        )
        assert len(pusht_planning._read_trials(config, SkillConfig(longest=4))) == found
    assert "by states" in (tmp_path / "table.md").read_text()


def test_nearness_of_what_is_predicted_is_that_of_its_last_pose(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    actions = 512 * torch.rand(1, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    found = LearnedNearness(world=world, imagine="states", max_rows=2)(state, actions)
    out = world.rollout_states(state, actions)
    for k in range(3):
        ends = out.terminated[0, k].nonzero()
        x, y, cos, sin = out.states["block_pose"][0, k, int(ends[0]) if len(ends) else -1].tolist()
        pose = Pose(x=x, y=y, angle=np.arctan2(sin, cos))
        assert found.reward[0, k, -1].item() == pytest.approx(nearness(pose, GOAL), abs=1e-6)


def test_a_labelled_pose_is_that_of_the_same_outline():
    """`irasim label` gives the centroid, and the longer axis from the heavier end."""
    true = Pose(x=200.0, y=310.0, angle=2.5)
    inside = np.stack(np.meshgrid(np.linspace(-60, 60, 241), np.linspace(0, 120, 241)), -1)
    inside = inside[(abs(inside[..., 0]) < 15) | (inside[..., 1] < 30)]
    seen = true.to_world(inside)
    centroid = seen.mean(0)
    stem = true.to_world(np.array([[0.0, 120.0]]))[0] - centroid  # the lighter end
    label = (*centroid, float(np.arctan2(stem[1], stem[0])))
    found = pose_of_label(*label)
    assert (found.x, found.y) == pytest.approx((true.x, true.y), abs=0.5)
    assert found.angle == pytest.approx(true.angle, abs=1e-6)


def test_a_budget_stops_between_trials(tiny_world: Path, tmp_path: Path):
    planning_command.cli(
        f"--out {tmp_path} --trials 3 --candidates 1 --no-real --max-steps 5 --budget-minutes 0 "
        "--device cpu".split()
    )
    assert json.loads((tmp_path / "pusht_planning.json").read_text())["rows"] == []


def test_differences_are_between_trials_of_one_seed():
    def trial(seed: int, iou: float) -> dict:
        return {
            "seed": seed,
            "success": iou > 0.9,
            "steps": 3,
            "final_coverage": iou,
            "final_iou": iou,
            "decision_seconds": [0.1],
        }

    base = {seed: trial(seed, 0.1 * seed) for seed in range(5)}
    mine = {seed: trial(seed, 0.1 * seed + 0.2) for seed in range(1, 4)}
    row = summarise(mine, base, ("final_iou",), seed=0)
    assert (row["trials"], row["pairs"]) == (3, 3)
    assert row["final_iou"] == pytest.approx(0.4)
    assert row["final_iou_gain"] == pytest.approx(0.2)
    assert row["final_iou_gain_interval"] == pytest.approx((0.2, 0.2))
    assert summarise(mine, {}, ("final_iou",), seed=0)["final_iou_gain_interval"] is None


def test_trials_of_other_weights_do_not_count(tiny_world, tmp_path):
    config = PushTPlanningConfig(out=tmp_path, world=(f"0={tiny_world}",), candidates=(2,))
    key = pusht_planning._row_key(config, SKILL, "0")
    line = {**key, "count": 2, "seed": config.seed}
    for digest, expected in ((key["weights_sha256"], 1), ("0" * 64, 0)):
        (tmp_path / "trials.jsonl").write_text(
            json.dumps({**line, "weights_sha256": digest}) + "\n"
        )
        assert len(pusht_planning._read_trials(config, SKILL)) == expected
    (tmp_path / "trials.jsonl").write_text(json.dumps(line)[:20] + "\n")
    with pytest.raises(ValueError, match="line 1: not whole"):
        pusht_planning._read_trials(config, SKILL)


class Shown:
    """A world whose candidates' frames are real ones of known poses, for reading them."""

    def __init__(self, frames: np.ndarray, ends: np.ndarray):
        self.frames, self.ends = torch.from_numpy(frames), torch.from_numpy(ends)
        self.config = TINY_CONFIG

    def rollout(self, state, actions, *, return_frames: bool) -> RolloutOutput:
        assert return_frames
        shape = self.frames.shape[:3]
        return RolloutOutput(reward=torch.zeros(shape), terminated=self.ends, frames=self.frames)


def test_learned_nearness_reads_the_frame_at_the_end():
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels", max_episode_steps=-1)
    pixels, near = [], []
    for seed in (6, 3, 8):
        pixels.append(env.reset(seed=seed)[0])
        near.append(simulator_nearness(env))
    env.close()
    blank = np.full_like(pixels[0], 255)
    frames = np.stack(
        [[pixels[0], pixels[1]], [pixels[2], pixels[1]], [blank, blank], [pixels[0], pixels[2]]]
    )
    ends = np.array([[False, False], [True, False], [False, False], [False, True]])
    rollout = LearnedNearness(world=Shown(frames[None], ends[None]))
    found = rollout([0], torch.zeros(1, 4, 2, 2))
    assert found.reward.shape == (1, 4, 2)
    expected = [near[1], near[2], 0, near[2]]
    np.testing.assert_allclose(found.reward[0, :, -1], expected, atol=0.01)
    assert len({round(value, 2) for value in near}) == 3
    assert not found.terminated.any()


@pytest.mark.parametrize("world", [("500",), ("x=pusht",), ("1=a", "01=b")])
def test_worlds_are_named_by_their_rollouts(world: tuple[str, ...], tmp_path: Path):
    with pytest.raises(ValueError, match="P"):
        PushTPlanningConfig(out=tmp_path, world=world)


def test_the_best_of_several_plans_is_compared_with_the_base_policy(tiny_world, tmp_path, capsys):
    """A run that is continued runs what is missing alone."""
    command = (
        f"bench best-of --world {tiny_world} --out {tmp_path} --candidates 1 3 --max-steps 4 "
        "--device cpu --imagine states --trials"
    )
    console.run([*command.split(), "1"])
    console.run([*command.split(), "2"])
    results = json.loads((tmp_path / "best_of.json").read_text())
    trials = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [(t["seed"] - 5_000_000, t["count"]) for t in trials] == [(0, 1), (0, 3), (1, 1), (1, 3)]
    base, best = results["rows"]
    assert (base["candidates"], best["candidates"]) == (1, 3)
    assert base["total_reward_gain"] is None
    rewards = [t["total_reward"] for t in trials]
    expected = np.mean([rewards[1] - rewards[0], rewards[3] - rewards[2]])
    assert best["total_reward_gain"] == pytest.approx(expected)
    assert {"success_gain", "final_coverage_gain"} <= best.keys()
    out = capsys.readouterr().out
    assert "over K = 1" in out
    (tmp_path / "trials.jsonl").write_text("{half\n")
    with pytest.raises(ValueError, match="delete that line"):
        console.run([*command.split(), "1"])


def test_best_of_needs_a_task_with_proposals(tmp_path, tiny_world_without_reward):
    with pytest.raises(ValueError, match="candidates is"):
        BestOfBenchConfig(candidates=(0,))
    with pytest.raises(ValueError, match="no reward head"):
        console.run(
            f"bench best-of --world {tiny_world_without_reward} --out {tmp_path} --trials 1".split()
        )
