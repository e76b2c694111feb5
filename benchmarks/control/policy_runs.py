"""Plays policies in a world and in its ground truth, and sums up: for `evaluate` and `ranking`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.control.config import RunConfig
from benchmarks.control.fresh_starts import record_starts
from benchmarks.control.policy_log import EpisodeRecord, PolicyLog
from benchmarks.control.policy_player import EpisodePlayer, EpisodesToPlay, PolicyToRun, worker
from benchmarks.metrics.frames import bootstrap_interval, wilson_interval
from benchmarks.report import interval, number, table
from irasim_env.snapshot import fingerprint
from policies.actors.actors import import_policy
from training.jobs.cluster import Cluster
from world_model.progress import progress_bar
from world_model.tasks import task_of

PLACES = {"truth": "simulator", "world": "world"}


class PolicyRuns:
    """A world with its starts, its success detector and the episodes played so far.

    Args:
        config: What to play.

    Raises:
        ValueError: a world, detector, start or earlier run does not fit; the message says which.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        self.cluster: dict[str, Cluster] | None = None
        if config.ray is None:
            self.world = report.open_world(config)
            self.device = str(self.world.device)
        else:
            # The world goes from this machine's memory to the workers, which may have GPUs.
            self.world = report.open_world(replace(config, device="cpu"))
            there = Cluster(config, config.device)
            self.cluster = {"world": there, "truth": Cluster(config, "cpu")}
            self.device = there.device
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
        self.player = EpisodePlayer(
            world=self.world,
            detector=self.detector,
            max_steps=max_steps,
            batch=config.batch,
            seed=config.seed,
            ends=config.ends,
        )
        played: dict[str, Any] = {"starts": kind, "seed": config.seed}
        if kind == "fresh":
            played |= {"first_seed": config.first_seed, "warm_up": config.warm_up}
        # Under the names that logs have had from the first version on, so that those go on.
        here = {
            "world": fingerprint(self.world, self.device),
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

    def play(self, policies: Sequence[PolicyToRun]) -> None:
        """Play what is missing of the policies' episodes, the ground truth first."""
        if self.cluster is None:
            for policy in policies:
                for place in sorted(self.logs):
                    self._play_here(place, policy)
        else:
            for place in sorted(self.logs):
                self._play_there(self.cluster[place], place, policies)

    def _play_here(self, place: str, policy: PolicyToRun) -> None:
        starts = self._missing(place, policy)
        if not starts:
            return
        played = self.player.play(place, policy, starts)
        label = f"{policy.name} in the {PLACES[place]}"
        for record in progress_bar(played, total=len(starts), desc=label):
            self.logs[place].add(record)

    def _missing(self, place: str, policy: PolicyToRun) -> list[int]:
        return self.logs[place].missing(policy.name, self.starts[place], self.max_steps)

    def _play_there(self, cluster: Cluster, place: str, policies: Sequence[PolicyToRun]) -> None:
        """On a cluster: episodes of the simulator one by one, those of the world in batches."""
        batch = self.config.batch if place == "world" else 1
        jobs = []
        for policy in policies:
            starts = self._missing(place, policy)
            for i in range(0, len(starts), batch):
                part, rows = starts[i : i + batch], min(batch, len(starts))
                jobs.append(EpisodesToPlay(place=place, policy=policy, starts=part, rows=rows))
        if not jobs:
            return
        label = f"{len(policies)} policies in the {PLACES[place]}"
        total = sum(len(job.starts) for job in jobs)
        with progress_bar(total=total, desc=label, unit="episodes") as progress:
            for _, records in cluster.run(partial(worker, self.player, cluster.device), jobs):
                for record in records:
                    self.logs[place].add(record)
                progress.update(len(records))

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
        heading = report.heading(command, self.config, str(self.world.device), self.world)
        if self.cluster is not None:
            heading["hardware"] = str(self.cluster["world"])
        return {
            **heading,
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
            row = [name, PLACES[place], str(at["episodes"])]
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
