"""`irasim evaluate policy` and `irasim bench ranking`, in miniature, and what they keep."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

from benchmarks.control.policy_log import EpisodeRecord, PolicyLog
from benchmarks.control.policy_ranking import RankingConfig
from benchmarks.control.policy_ranking import main as rank
from benchmarks.control.policy_runs import RunConfig, judged_outcomes, summarize
from benchmarks.line_log import whole_lines
from benchmarks.policy_evaluation import PolicyConfig, evaluate_policies, main
from benchmarks.pusht.success_detector import CoverageDetection, Verdict

WANDER = "policies.pusht_family:wander"


def record(start: int, **changes) -> EpisodeRecord:
    kept = EpisodeRecord(policy="p", start=start, limit=3, rewards=(0.25, 0.5, 0.25), ended=False)
    return dataclasses.replace(kept, **changes)


def small(tiny_world, out, **changes) -> RunConfig:
    kept = RunConfig(
        world=str(tiny_world), out=out, episodes=3, max_steps=4, batch=2, warm_up=3, device="cpu"
    )
    return dataclasses.replace(kept, **changes)


def hold(observation):
    return observation["agent_pos"].astype(np.float32)


class BlindDetector:
    """Never sees anything; ends each episode at its second step."""

    def __init__(self):
        self.steps = 0

    def __repr__(self):
        return "BlindDetector()"

    def __call__(self, frames):
        return CoverageDetection(
            verdict=Verdict.UNDECIDABLE, step=None, coverage=float("nan"), unreadable=1.0
        )

    def reward(self, frames, action):
        self.steps += 1
        return 0.25, self.steps >= 2


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_policies_are_played_in_both_and_reported(tiny_world, tmp_path):
    settings = dataclasses.asdict(small(tiny_world, tmp_path))
    results = main(PolicyConfig(**settings, policy=(WANDER,)))
    written = json.loads((tmp_path / "policies.json").read_text())
    assert WANDER in (tmp_path / "policies.md").read_text()
    for place in ("world", "truth"):
        measured = results["policies"][WANDER][place]
        assert measured["episodes"] == 3
        assert written["policies"][WANDER][place]["success"]["of"] == 3
        low, high = measured["return"]["interval"]
        assert low <= measured["return"]["mean"] <= high
    assert written["versions"]["torch"]
    assert written["config"]["seed"] == 0
    truth = lines(tmp_path / "truth.jsonl")[1:]
    assert [one["start"] for one in truth] == [0, 1, 2]
    assert all(len(one["rewards"]) == one["limit"] == 4 for one in truth)


def test_a_run_that_stopped_goes_on_and_gives_what_an_unbroken_one_does(tiny_world, tmp_path):
    whole = evaluate_policies({"w": WANDER}, small(tiny_world, tmp_path / "whole"))
    broken = small(tiny_world, tmp_path / "broken")
    evaluate_policies({"w": WANDER}, dataclasses.replace(broken, episodes=1))
    for name in ("truth", "world"):
        path = broken.out / f"{name}.jsonl"
        with path.open("a") as file:
            file.write('{"policy": "w", "sta')  # stopped while writing
    before = (broken.out / "truth.jsonl").read_text().splitlines()[:2]
    resumed = evaluate_policies({"w": WANDER}, broken)
    assert resumed["policies"] == whole["policies"]
    after = (broken.out / "truth.jsonl").read_text().splitlines()
    assert after[:2] == before
    assert len(after) == 4


def test_a_folder_by_a_logs_name_is_refused(tmp_path):
    (tmp_path / "world.jsonl").mkdir()
    with pytest.raises(ValueError, match="cannot be read.*move it away"):
        whole_lines(tmp_path / "world.jsonl")


def test_nothing_is_played_twice(tiny_world, tmp_path):
    calls = []

    def counted(observation):
        calls.append(1)
        return hold(observation)

    config = small(tiny_world, tmp_path)
    evaluate_policies({"counted": counted}, config)
    assert calls
    calls.clear()
    evaluate_policies({"counted": counted}, config)
    assert not calls


def test_the_ground_truth_may_come_from_an_earlier_run(tiny_world, tmp_path):
    first = small(tiny_world, tmp_path / "first")
    evaluate_policies({"hold": hold}, first)
    calls = []

    def counted(observation):
        calls.append(1)
        return hold(observation)

    second = small(
        tiny_world, tmp_path / "second", truth=first.out / "truth.jsonl", episodes=1,
        truth_episodes=3,
    )  # fmt: skip
    results = evaluate_policies({"hold": counted}, second)
    assert results["policies"]["hold"]["truth"]["episodes"] == 3
    assert results["policies"]["hold"]["world"]["episodes"] == 1
    assert len(calls) <= 4  # the world's episode alone
    assert not (second.out / "truth.jsonl").exists()


def test_episodes_of_other_settings_are_not_mixed(tiny_world, tmp_path):
    config = small(tiny_world, tmp_path, episodes=1)
    evaluate_policies({"hold": hold}, config)
    with pytest.raises(ValueError, match="warm_up 3, now 2"):
        evaluate_policies({"hold": hold}, dataclasses.replace(config, warm_up=2))


def test_longer_episodes_serve_a_shorter_time_limit_but_not_the_reverse(tiny_world, tmp_path):
    calls = []

    def counted(observation):
        calls.append(1)
        return hold(observation)

    config = small(tiny_world, tmp_path, episodes=0, truth_episodes=1)
    evaluate_policies({"p": counted}, config)
    assert len(calls) == 4
    shorter = evaluate_policies({"p": counted}, dataclasses.replace(config, max_steps=2))
    assert len(calls) == 4
    assert shorter["policies"]["p"]["truth"]["mean_steps"] == 2
    longer = evaluate_policies({"p": counted}, dataclasses.replace(config, max_steps=6))
    assert len(calls) == 10
    assert longer["policies"]["p"]["truth"]["mean_steps"] == 6


def test_an_episode_is_cut_as_it_had_been_under_a_shorter_limit():
    solved = record(0, ended=True, verdict="success", judged_step=2)
    cut = solved.cut(2)
    assert (cut.rewards, cut.ended, cut.verdict) == ((0.25, 0.5), False, "failure")
    assert solved.cut(3).ended
    assert solved.cut(9).rewards == solved.rewards


def test_the_detector_may_end_episodes_and_undecidable_ones_are_counted(tiny_world, tmp_path):
    config = small(
        tiny_world,
        tmp_path,
        episodes=2,
        batch=1,
        truth_episodes=0,
        ends="detector",
        success_detector="tests.benchmarks.test_policy_evaluation:BlindDetector",
    )
    measured = evaluate_policies({"hold": hold}, config)["policies"]["hold"]
    assert "truth" not in measured
    judged = measured["world"]["judge"]
    assert judged["undecidable"] == 2
    assert judged["success"]["rate"] is None
    assert judged["bounds"] == [0, 1]
    assert measured["world"]["success"]["count"] == 2  # it ended them
    assert measured["world"]["mean_steps"] == 1.5
    assert measured["world"]["return"]["mean"] == pytest.approx(0.375)


def test_a_world_that_cannot_be_judged_or_started_says_so(tiny_world, tmp_path):
    with pytest.raises(ValueError, match="has 4 starts"):
        evaluate_policies(
            {"hold": hold}, small(tiny_world, tmp_path / "a", starts="world", episodes=5)
        )
    with pytest.raises(ValueError, match="cannot be imported"):
        evaluate_policies(
            {"hold": hold}, small(tiny_world, tmp_path / "b", success_detector="no.such:detector")
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_seed": 100}, "belong to the splits"),
        ({"episodes": -1}, "episodes is -1"),
        ({"batch": 0}, "batch is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**changes)


def test_a_summary_counts_what_head_and_judge_say():
    episodes = [
        record(0, ended=True, verdict="success"),
        record(1, ended=True, verdict="failure"),
        record(2, verdict="failure"),
        record(3, verdict="undecidable"),
    ]
    summary = summarize(episodes, seed=0)
    assert summary["success"]["rate"] == 0.5
    judge = summary["judge"]
    assert judge["undecidable"] == 1
    assert judge["success"]["rate"] == pytest.approx(1 / 3)
    assert judge["agrees"]["rate"] == pytest.approx(2 / 3)
    assert judge["bounds"] == [0.25, 0.5]
    low, high = judge["success"]["interval"]
    assert 0 < low < 1 / 3 < high < 1
    np.testing.assert_array_equal(judged_outcomes(episodes), [1, 0, 0, np.nan])


def test_a_log_keeps_what_it_was_given(tmp_path):
    path = tmp_path / "log.jsonl"
    log = PolicyLog(path, {"seed": 1})
    log.add(record(2, verdict="undecidable"))
    again = PolicyLog(path, {"seed": 1})
    assert again.missing("p", range(4), 3) == [0, 1, 3]
    assert again.missing("p", range(4), 4) == [0, 1, 2, 3]
    assert again.episodes("p", range(4), 3) == [record(2, verdict="undecidable")]
    with pytest.raises(ValueError, match="seed 1, now 2"):
        PolicyLog(path, {"seed": 2})
    path.write_text("no json\n")
    with pytest.raises(ValueError, match="no log of played episodes"):
        PolicyLog(path, {"seed": 1})


@pytest.mark.slow_suite
def test_a_family_is_ranked(tiny_world, tmp_path):
    settings = dataclasses.asdict(small(tiny_world, tmp_path))
    results = rank(RankingConfig(**settings, policies=("trembling_16", "wander", "expert_2")))
    assert list(results["policies"]) == ["expert_2", "trembling_16", "wander"]
    for score in ("success", "return", "best_reward"):
        for name in ("pearson", "spearman", "mmrv"):
            assert set(results["agreement"][score][name]) == {"value", "low", "high", "method"}
    written = json.loads((tmp_path / "ranking.json").read_text())
    assert written["agreement"].keys() == results["agreement"].keys()
    assert "MMRV" in (tmp_path / "ranking.md").read_text()
    picture = cv2.imread(str(tmp_path / "scatter.png"))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_the_ground_truth_alone_may_be_played_beforehand(tiny_world, tmp_path):
    settings = dataclasses.asdict(small(tiny_world, tmp_path, episodes=0, truth_episodes=2))
    results = rank(RankingConfig(**settings, policies=("wander", "expert_2")))
    assert "agreement" not in results
    assert len(lines(tmp_path / "truth.jsonl")) == 5
    assert not (tmp_path / "world.jsonl").exists()


def test_wrong_families_are_refused(tiny_world, tmp_path):
    settings = dataclasses.asdict(small(tiny_world, tmp_path))
    with pytest.raises(ValueError, match="family 'pushy'"):
        rank(RankingConfig(**settings, family="pushy"))
    with pytest.raises(ValueError, match="'wanderer' is not of the family"):
        rank(RankingConfig(**settings, policies=("wanderer", "expert")))
    with pytest.raises(ValueError, match="at least 2"):
        rank(RankingConfig(**settings, policies=("expert",)))
