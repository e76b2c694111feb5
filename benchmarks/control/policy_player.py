"""Plays a policy in a world or in its ground truth, in this process or in a worker's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym

from benchmarks.control.policy_log import EpisodeRecord
from irasim_env.env import WorldEnv
from irasim_env.ground_truth import GroundTruth
from policies.actors import episodes
from policies.actors.actors import load_actor
from policies.actors.episodes import PlayedEpisode
from world_model import WorldModel
from world_model.runtime.check_inputs import find_device

REWARD_DIGITS = 5  # kept of each reward


@dataclass(frozen=True, kw_only=True)
class PolicyToRun:
    """A policy and how to load it."""

    name: str
    source: str | Callable[..., Any]
    """As `policies.actors.load_actor` takes it."""
    algorithm: str | None = None
    trust_pickle: bool = False


@dataclass(frozen=True, kw_only=True)
class EpisodesToPlay:
    """A job of a worker's."""

    place: str
    policy: PolicyToRun
    starts: Sequence[int]
    rows: int
    """Of the world's batch, which is as large for the last starts: its size tells in rounding."""


@dataclass(frozen=True, kw_only=True)
class EpisodePlayer:
    """What the episodes of an evaluation have in common."""

    world: WorldModel
    """With the starts of the episodes."""
    detector: Any
    """The success detector, or None."""
    max_steps: int
    batch: int
    seed: int
    ends: str

    def play(
        self, place: str, policy: PolicyToRun, starts: Sequence[int], rows: int | None = None
    ) -> Iterator[EpisodeRecord]:
        """Play some starts in a place, "world" or "truth", each as it finishes.

        Args:
            place: Where.
            policy: What acts.
            starts: Indices of the world's starts.
            rows: Of the world's batch; None is as many as can be used.
        """
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
                device=str(self.world.device),
                trust_pickle=policy.trust_pickle,
            )
            if truth is None:
                played = episodes.play_in_world(
                    self.world,
                    actor,
                    starts,
                    max_steps=self.max_steps,
                    batch=self.batch,
                    rows=rows,
                    seed=self.seed,
                    reward_fn=self.detector.reward if self.ends == "detector" else None,
                )
            else:
                played = episodes.play_in_truth(
                    self.world,
                    truth,
                    actor,
                    starts,
                    max_steps=self.max_steps,
                    seed=self.seed,
                )
            for episode in played:
                yield self._record(place, policy.name, episode)
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


def worker(player: EpisodePlayer, device: str) -> Callable[[EpisodesToPlay], list[EpisodeRecord]]:
    """What does such jobs on a device, with the world that the player has brought along."""
    there = replace(player, world=player.world.to(find_device(device)))

    def play(job: EpisodesToPlay) -> list[EpisodeRecord]:
        return list(there.play(job.place, job.policy, job.starts, job.rows))

    return play
