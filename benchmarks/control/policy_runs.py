"""Plays policies in a world and in its ground truth, and sums up: for `evaluate` and `ranking`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks import report
from benchmarks.control.config import RunConfig
from benchmarks.control.fresh_starts import record_starts
from benchmarks.control.policy_log import EpisodeRecord, PolicyLog
from benchmarks.metrics.frames import bootstrap_interval, wilson_interval
from benchmarks.report import interval, number, table
from irasim_env.env import WorldEnv
from irasim_env.ground_truth import GroundTruth
from irasim_env.snapshot import fingerprint
from policies.actors import episodes
from policies.actors.actors import import_policy, load_actor
from policies.actors.episodes import PlayedEpisode
from world_model.progress import progress_bar
from world_model.tasks import task_of

PLACES = ("truth", "world")
REWARD_DIGITS = 5  # kept of each reward


@dataclass(frozen=True, kw_only=True)
class PolicyToRun:
    """A policy and how to load it."""

    name: str
    source: str | Callable[..., Any]
    """As `policies.actors.load_actor` takes it."""
    algorithm: str | None = None
    trust_pickle: bool = False


class PolicyRuns:
    """A world with its starts, its success detector and the episodes played so far.

    Args:
        config: What to play.

    Raises:
        ValueError: a world, detector, start or earlier run does not fit; the message says which.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        self.world = report.open_world(config)
        self.device = str(self.world.device)
        truth = self.world.config.ground_truth
        max_steps = config.max_steps or self.world.config.max_episode_steps
        if max_steps is None:
            raise ValueError(
                f"world {self.world.config.name!r} has no time limit; set one with --max-steps"
            )
        self.max_steps = max_steps
        task = task_of(self.world.config)
        chosen = config.success_detector or (task.success_detector if task else None)
        self.detector = _load_detector(chosen)
        if config.ends == "detector" and not hasattr(self.detector, "reward"):
            raise ValueError(
                f"the success detector is {self.detector!r}, which cannot reward steps; name one "
                "that can (--success-detector module:factory), or let the head decide (--ends head)"
            )
        num_truth = config.episodes if config.truth_episodes is None else config.truth_episodes
        self.starts = {"world": range(config.episodes), "truth": range(num_truth if truth else 0)}
        kind = config.starts or ("fresh" if truth else "world")
        self._set_starts(kind)
        self._check_truth(kind)
        played: dict[str, Any] = {"starts": kind, "seed": config.seed}
        if kind == "fresh":
            played |= {"first_seed": config.first_seed, "warm_up": config.warm_up}
        # Under the names that logs have had from the first version on, so that those go on.
        here = {
            "world": fingerprint(self.world),
            "ends": "judge" if config.ends == "detector" else config.ends,
            "judge": repr(self.detector).replace("SuccessDetector(", "Judge("),
        }
        self.logs: dict[str, PolicyLog] = {}
        if self.starts["world"]:
            self.logs["world"] = PolicyLog(config.out / "world.jsonl", played | here)
        if self.starts["truth"]:
            there = {"env_id": truth.env_id, "env_kwargs": truth.kwargs} if truth else {}
            if kind == "world":
                there["world"] = here["world"]
            path = config.truth or config.out / "truth.jsonl"
            self.logs["truth"] = PolicyLog(path, played | there)

    def _set_starts(self, kind: str) -> None:
        """Give the world the starts of the episodes."""
        count = max(map(len, self.starts.values()))
        if not count:
            raise ValueError(
                "no episodes were asked for, in the world or in a ground truth: raise --episodes"
            )
        if kind == "fresh":
            seeds = range(self.config.first_seed, self.config.first_seed + count)
            self.world.starts = record_starts(self.world.config, seeds, self.config.warm_up)
        elif count > len(self.world.starts):
            raise ValueError(
                f"{count} episodes are requested, but world {self.world.config.name!r} has "
                f"{len(self.world.starts)} starts; lower --episodes or use --starts fresh"
            )

    def _check_truth(self, kind: str) -> None:
        """Leave out the real environment where it cannot be used, and report that."""
        starts = [self.world.starts[start] for start in self.starts["truth"]]
        if self.world.config.ground_truth is None:
            print(f"world {self.world.config.name!r} names no simulator: policies play in it alone")
        elif kind == "world" and any(s.seed is None or s.replay is None for s in starts):
            print(
                "the world's starts were recorded without a seed of the simulator's reset, so it "
                "cannot be put there: policies play in the world alone (--starts fresh records "
                "others)"
            )
            self.starts["truth"] = range(0)

    def play(self, policy: PolicyToRun) -> None:
        """Play what is missing of a policy's episodes, the ground truth first."""
        for place, log in sorted(self.logs.items()):
            missing = log.missing(policy.name, self.starts[place], self.max_steps)
            if not missing:
                continue
            label = f"{policy.name} in the {'simulator' if place == 'truth' else 'world'}"
            for episode in progress_bar(
                self._play(place, policy, missing), total=len(missing), desc=label
            ):
                log.add(self._record(place, policy.name, episode))

    def _play(
        self, place: str, policy: PolicyToRun, starts: Sequence[int]
    ) -> Iterator[PlayedEpisode]:
        """Play some starts in a place, each as it finishes."""
        if place == "world":
            env: gym.Env = WorldEnv(self.world, obs_type=episodes.observation_type(self.world))
            truth = None
        else:
            truth = GroundTruth(self.world.config)
            env = truth.env
        try:
            actor = load_actor(
                policy.source,
                env,
                algorithm=policy.algorithm,
                device=self.device,
                trust_pickle=policy.trust_pickle,
            )
            if truth is None:
                reward_fn = self.detector.reward if self.config.ends == "detector" else None
                yield from episodes.play_in_world(
                    self.world,
                    actor,
                    starts,
                    max_steps=self.max_steps,
                    batch=self.config.batch,
                    seed=self.config.seed,
                    reward_fn=reward_fn,
                )
            else:
                yield from episodes.play_in_truth(
                    self.world,
                    truth,
                    actor,
                    starts,
                    max_steps=self.max_steps,
                    seed=self.config.seed,
                )
        finally:
            env.close()

    def _record(self, place: str, policy: str, episode: PlayedEpisode) -> EpisodeRecord:
        verdict = {}
        if place == "world" and self.detector is not None:
            detected = self.detector(episode.frames)
            verdict = {"verdict": str(detected.verdict), "judged_step": detected.step}
        return EpisodeRecord(
            policy=policy,
            start=episode.start,
            limit=self.max_steps,
            rewards=tuple(round(reward, REWARD_DIGITS) for reward in episode.rewards),
            ended=episode.ended,
            **verdict,
        )

    def episodes(self, place: str, name: str) -> list[EpisodeRecord]:
        """A policy's episodes in a place."""
        return self.logs[place].episodes(name, self.starts[place], self.max_steps)

    def summaries(self, names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """Of each policy by name, what was measured in each place."""
        return {
            name: {
                place: summarize(self.episodes(place, name), self.config.seed)
                for place in self.logs
            }
            for name in names
        }

    def about(self, command: str) -> dict[str, Any]:
        """What a report says of where and how this was measured."""
        return {
            **report.heading(command, self.config, self.device, self.world),
            "max_steps": self.max_steps,
            "judge": repr(self.detector),
        }


def summarize(episodes: Sequence[EpisodeRecord], seed: int) -> dict[str, Any]:
    """Success, return and the success detector's view of some episodes, with 95 % intervals."""
    count = len(episodes)
    successes = sum(one.ended for one in episodes)
    summary: dict[str, Any] = {
        "episodes": count,
        "success": _rate(successes, count),
        "return": _mean([sum(one.rewards) for one in episodes], seed),
        "best_reward": _mean([max(one.rewards) for one in episodes], seed),
        "last_reward": _mean([one.rewards[-1] for one in episodes], seed),
        "mean_steps": float(np.mean([one.steps for one in episodes])) if count else None,
    }
    judged = [one for one in episodes if one.verdict is not None]
    if judged:
        decided = [one for one in judged if one.verdict != "undecidable"]
        solved = sum(one.verdict == "success" for one in decided)
        summary["judge"] = {
            "undecidable": len(judged) - len(decided),
            "success": _rate(solved, len(decided)),
            # What the rate would be if all undecidable episodes were failures, or successes.
            "bounds": [solved / len(judged), (solved + len(judged) - len(decided)) / len(judged)],
            "agrees": _rate(
                sum(one.ended == (one.verdict == "success") for one in decided),
                len(decided),
            ),
        }
    return summary


def judged_outcomes(episodes: Sequence[EpisodeRecord]) -> np.ndarray:
    """1 for success and 0 for failure by the success detector, NaN where undecidable, (n,)."""
    values = {"success": 1.0, "failure": 0.0, "undecidable": np.nan}
    return np.array([values[one.verdict or "undecidable"] for one in episodes])


def summary_table(summaries: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Policies as printed, in Markdown; the world's columns after the simulator's."""
    header = ["policy", "in", "episodes", "success", "95 %", "return", "95 %", "highest reward"]
    header += ["success by frames", "95 %", "undecidable", "head and frames agree"]
    rows = []
    for name, places in summaries.items():
        for place in PLACES:
            if place not in places:
                continue
            at = places[place]
            row = [name, "simulator" if place == "truth" else "world", str(at["episodes"])]
            row += [number(at["success"]["rate"]), interval(at["success"]["interval"])]
            row += [number(at["return"]["mean"], 1), interval(at["return"]["interval"], 1)]
            row += [number(at["best_reward"]["mean"])]
            detected = at.get("judge")
            if detected is None:
                row += ["-"] * 4
            else:
                row += [
                    number(detected["success"]["rate"]),
                    interval(detected["success"]["interval"]),
                ]
                row += [str(detected["undecidable"]), number(detected["agrees"]["rate"])]
            rows.append(row)
    return table(header, rows)


def _load_detector(path: str | None) -> Any:
    """The success detector that an import path's factory makes."""
    if path is None:
        return None
    return import_policy(path, "success detector")()


def _rate(k: int, n: int) -> dict[str, Any]:
    return {"count": k, "of": n, "rate": k / n if n else None, "interval": wilson_interval(k, n)}


def _mean(values: list[float], seed: int) -> dict[str, Any]:
    mean = sum(values) / len(values) if values else None
    return {"mean": mean, "interval": bootstrap_interval(values, seed)}
