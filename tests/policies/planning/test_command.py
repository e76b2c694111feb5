"""`irasim plan`, and Push-T's base policy as the source of proposals."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from irasim_env import console
from policies.planning import BestOf, BestOfConfig
from policies.planning.command import PlanConfig
from policies.planning.episode import run_episode
from policies.planning.scene import RealScene
from policies.pusht.proposals import SKILL, Pusher, SkillConfig, propose
from policies.pusht.push_planner import true_state
from policies.pusht.push_proposals import Pushes
from tests.conftest import TINY_CONFIG

SMALL = "--episodes 2 --max-steps 3 --candidates 3 --horizon 2 --iterations 2".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("planner", "env"), [("cem", "learned"), ("mppi", "learned"), ("icem", "real")]
)
def test_plans_in_a_learned_world(tiny_world: Path, tmp_path: Path, planner, env, capsys):
    where = ["--world", str(tiny_world), "--env", env, "--planner", planner, "--device", "cpu"]
    console.run(["plan", *where, *SMALL, "--out", str(tmp_path)])
    results = json.loads((tmp_path / "plan.json").read_text())
    assert results["trials"] == 2
    assert results["resolved"] == {"horizon": 2, "executed": 1, "max_steps": 3}
    assert results["decisions"] == sum(one["decisions"] for one in results["episodes"])
    assert [one["seed"] for one in results["episodes"]] == [0, 1]
    assert all(one["steps"] == 3 or one["success"] for one in results["episodes"])
    assert ("final_coverage" in results) == (env == "real")
    printed = capsys.readouterr().out
    assert "(Wilson)" in printed
    assert "decision" in printed


def test_the_same_command_gives_the_same_episodes(tiny_world: Path, tmp_path: Path):
    outcomes = []
    for name in ("first", "again"):
        console.run(
            [
                "plan",
                "--world",
                str(tiny_world),
                "--device",
                "cpu",
                *SMALL,
                "--out",
                str(tmp_path / name),
            ]
        )
        episodes = json.loads((tmp_path / name / "plan.json").read_text())["episodes"]
        for episode in episodes:
            del episode["decision_seconds"]
        outcomes.append(episodes)
    assert outcomes[0] == outcomes[1]


def test_planning_in_the_simulator_gets_nearer_than_the_policy_alone(tmp_path: Path):
    coverage = {}
    for count in (1, 6):
        out = tmp_path / str(count)
        arguments = ["--candidates", str(count), "--out", str(out), "--seed", "20"]
        arguments += ["--episodes", "1", "--max-steps", "90", "--objective", "final"]
        console.run(["plan", "--env", "real", "--model", "real", "--planner", "best", *arguments])
        results = json.loads((out / "plan.json").read_text())
        coverage[count] = results["final_coverage"]
        assert results["resolved"]["executed"] is None
    assert coverage[6] > coverage[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "learned", "model": "real"}, "cannot be set to the state"),
        ({"env": "learned", "planner": "best"}, "use --env real"),
        ({"model": "real", "imagine": "states"}, "leave it out"),
        ({"episodes": 0}, "episodes is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_mistakes_are_told(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        PlanConfig(**settings)


def running(seed: int) -> gym.Env:
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="state", max_episode_steps=-1)
    env.reset(seed=seed)
    return env


def test_few_proposals_are_the_first_of_many():
    env = running(3)
    few, many = (propose(*true_state(env), count, seed=3, decision=2) for count in (2, 6))
    for a, b in zip(few, many, strict=False):
        np.testing.assert_array_equal(a, b)
    other = propose(*true_state(env), 2, seed=3, decision=3)
    assert any(
        a.shape != b.shape or not np.array_equal(a, b) for a, b in zip(few, other, strict=True)
    )
    assert all(1 <= len(p) <= SKILL.longest and p.dtype == np.float32 for p in many)
    assert all((p >= 0).all() and (p <= 512).all() for p in many)
    env.close()


def test_best_of_one_is_the_base_policy():
    scene = RealScene(TINY_CONFIG, None)
    planner = BestOf(
        (0, 0),
        (512, 512),
        Pushes(envs=[scene.env]),
        BestOfConfig(num_candidates=1, horizon=SKILL.longest),
    )

    def no_model(state, actions):
        raise AssertionError("asked")

    result = run_episode(scene, planner, no_model, seed=12, max_steps=80)
    planned = scene.experience.actions
    scene.close()
    env = running(12)
    policy, taken, info = Pusher(env, 12), [], {}
    while len(taken) < result.steps:
        taken.append(policy(None))
        info = env.step(taken[-1])[4]
    env.close()
    np.testing.assert_array_equal(planned, np.stack(taken))
    assert result.finals["final_coverage"] == info["coverage"]
    assert result.finals["final_iou"] == pytest.approx(info["coverage"] / (2 - info["coverage"]))
    assert result.decisions > 1


def test_skill_is_checked():
    with pytest.raises(ValueError, match="num_candidates is 0, expected at least 1"):
        SkillConfig(num_candidates=0)
