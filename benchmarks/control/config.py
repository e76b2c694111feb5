"""What the benchmarks of policies and planners are asked for. Free of torch: --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from policies.rl.config import LearningConfig
from world_model.config import DEFAULT_WORLD
from world_model.config_fields import check_least

FIRST_TEST_SEED = 2_000_000  # training.data.collect's range of seeds for the split "test"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where policies are played, from where, and how long."""

    world: str = DEFAULT_WORLD
    """World to play in: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/policies")
    """Directory for the report and for each played episode (truth.jsonl, world.jsonl); the same
    command again goes on where it stopped."""
    episodes: int = 100
    """Episodes of each policy in the world; 0 for none."""
    truth_episodes: int | None = None
    """Episodes of each policy in the ground truth (default: as many); 0 for none."""
    truth: Path | None = None
    """truth.jsonl of an earlier run to take episodes from and to add to (default: OUT's own): the
    ground truth is the same for each world."""
    max_steps: int | None = None
    """Longest episode (default: the world's time limit)."""
    batch: int = 16
    """Episodes played at once in the world."""
    starts: Literal["fresh", "world"] | None = None
    """Start from fresh resets of the ground truth, or from the world's own clips (default: fresh
    where there is a ground truth)."""
    first_seed: int = 2_500_000
    """Seed of the first fresh start, the others follow; training uses none from 2,000,000 on."""
    warm_up: int = 10
    """Steps before a fresh start, in which nothing is done."""
    ends: Literal["head", "judge"] = "head"
    """What ends an episode in the world and rewards it: its head, or the judge of frames (for
    worlds without a head, or with one that is wrong)."""
    judge: str | None = None
    """Import path of the judge of frames (default: that of the world's task, if it has one)."""
    seed: int = 0
    """Of the policies, of the world's noise, and of the intervals."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def __post_init__(self):
        check_least(self, episodes=0, truth_episodes=0, batch=1, warm_up=1, max_steps=1)
        if self.first_seed < FIRST_TEST_SEED:
            raise ValueError(
                f"first_seed is {self.first_seed}, expected at least {FIRST_TEST_SEED}: lower "
                "ones belong to the splits for training and validation"
            )


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(RunConfig):
    """Play policies in a learned world and in its ground truth, from the same starts: success and
    return with intervals."""

    policy: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-p"])]
    """Policies: "module:name" of a factory (env, seed) -> policy or of a callable observation ->
    action, or a Stable-Baselines3 model (.zip). What they act on is a dictionary of pixels and
    the world's low-dimensional observations; a model may take the pixels alone."""
    algorithm: str | None = None
    """Algorithm of the models, as PPO (default: found in each file)."""
    trust_pickle: bool = False
    """Unpickle the models as Stable-Baselines3 does, which runs code that they may contain."""

    def __post_init__(self):
        super().__post_init__()
        if not self.policy or len(set(self.policy)) != len(self.policy):
            raise ValueError(f"policy is {self.policy}, expected different policies, at least one")


@dataclass(frozen=True, kw_only=True)
class RankingConfig(RunConfig):
    """Play a family of policies in a learned world and in its ground truth, and tell whether the
    world keeps their order."""

    family: str | None = None
    """Family of policies: the name of a task, or a module with FAMILY, a tuple of names of
    factories in it (default: that of the world's task)."""
    policies: tuple[str, ...] = ()
    """Only these of the family (default: all)."""


@dataclass(frozen=True, kw_only=True)
class PlanningConfig:
    """Measure what a planner's decision costs in a learned world."""

    world: str = DEFAULT_WORLD
    """World to plan in: a shipped name, a directory, or a Hub id."""
    out: Path | None = None
    """Directory for planning.json; nothing is written without it."""
    candidates: int = 64
    """K, action sequences tried."""
    horizon: int = 16
    """H, actions looked ahead."""
    iterations: int = 1
    """Rounds of trying K sequences in a decision."""
    envs: int = 1
    """B, environments decided for at once."""
    max_rows: tuple[int, ...] = (16, 64)
    """Candidates rolled out at once; each is measured, the fastest is told."""
    imagine: Literal["frames", "states"] = "frames"
    """What is imagined of each candidate: frames, in latents, or states alone."""
    precisions: tuple[Literal["float32", "bf16"], ...] = ("float32", "bf16")
    """Of the world; each is measured. What is predicted alone is in float32."""
    repeats: int = 3
    """Decisions timed of each; the median is told."""
    threads: int = 2
    """Threads of the processor."""
    seed: int = 0
    """Of starts, noise and candidates."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def __post_init__(self):
        check_least(self, candidates=1, horizon=1, iterations=1, envs=1, repeats=1, threads=1)
        if not self.max_rows or min(self.max_rows) < 1:
            raise ValueError(f"max_rows is {self.max_rows}, expected numbers of at least 1")


@dataclass(frozen=True, kw_only=True)
class ReinforcementConfig(LearningConfig):
    """Learn in the world and in its simulator; compare in the simulator."""

    out: Path = Path("runs/reinforcement")
    """Directory for reinforcement.json, the starts, and the runs: learned/SEED, real/SEED."""
    real: Path | None = None
    """Where the runs in the simulator are, or shall be; default: out/real. They can be used again
    for another world."""
    steps: int = 10_000
    """Environment steps to learn from, in both places."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs in each place."""
    device: str | None = None
    """Of the world: cpu or cuda; the GPU where there is one."""

    def __post_init__(self):
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}, expected at least one, all different")

    @property
    def starts_dir(self) -> Path:
        """Where the starts are kept, with the runs in the simulator."""
        return self.real or self.out / "real"
