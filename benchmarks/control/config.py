"""Options of the benchmarks of policies and planners. Free of torch, so that --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from policies.planning.config import ModelConfig
from policies.rl.config import LearningConfig
from training.jobs.config import OnCluster
from world_model.config import DEFAULT_WORLD
from world_model.config_fields import check_least
from world_model.renamed import renamed

FIRST_TEST_SEED = 2_000_000  # training.data.collect's range of seeds for the split "test"


@renamed(judge="success_detector")
@dataclass(frozen=True, kw_only=True)
class RunConfig(OnCluster):
    """Where policies are played, from where, and how long."""

    world: str = DEFAULT_WORLD
    """World to play in: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/policies")
    """Directory for the report and the played episodes (truth.jsonl, world.jsonl). The same command
    run again continues where it stopped."""
    episodes: int = 100
    """Episodes per policy in the world; 0 for none."""
    truth_episodes: int | None = None
    """Episodes per policy in the real environment (default: as in the world); 0 for none."""
    truth: Path | None = None
    """truth.jsonl of an earlier run, to reuse and extend (default: the one in --out): episodes in
    the real environment are the same whichever world they are compared with."""
    max_steps: int | None = None
    """Longest episode, in steps (default: the world's time limit)."""
    batch: int = 16
    """Episodes played at once in the world."""
    starts: Literal["fresh", "world"] | None = None
    """Start from resets of the real environment (fresh), or from clips stored in the world
    (default: fresh, if the world names a real environment)."""
    first_seed: int = 2_500_000
    """Seed of the first fresh start; the others count up from it. Training uses none from 2,000,000
    on."""
    warm_up: int = 10
    """Steps without any movement before a fresh start."""
    ends: Literal["head", "detector", "judge"] = "head"
    """What ends and rewards episodes in the world: its head, or the success detector, which reads
    frames (for worlds without a head, or with one that is wrong). judge is deprecated for
    detector."""
    success_detector: str | None = None
    """Import path of the success detector (default: that of the world's task, if it has one)."""
    seed: int = 0
    """Seed of the policies, the world's noise and the intervals."""
    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""
    ray: str | None = None
    """Address of a Ray cluster to play on instead of this machine (auto, HOST:PORT or
    ray://HOST:PORT)."""
    ray_workers: int | None = None
    """Number of workers in the cluster (default: for the world one per GPU if the cluster has GPUs,
    else one per core, as for the simulator)."""

    def __post_init__(self):
        self.check_cluster()
        if self.ends == "judge":  # the older name
            object.__setattr__(self, "ends", "detector")
        check_least(self, episodes=0, truth_episodes=0, batch=1, warm_up=1, max_steps=1)
        if self.first_seed < FIRST_TEST_SEED:
            raise ValueError(
                f"first_seed is {self.first_seed}, expected at least {FIRST_TEST_SEED}: lower "
                "ones belong to the splits for training and validation"
            )


@renamed()
@dataclass(frozen=True, kw_only=True)
class PolicyConfig(RunConfig):
    """Play policies in a learned world and in its real environment from the same starts, and report
    success and return with intervals."""

    policy: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-p"])]
    """Policies: each either "module:name" of a factory (env, seed) -> policy or of a callable
    observation -> action, or a Stable-Baselines3 model (.zip). Observations are a dictionary of
    pixels and the world's low-dimensional observations; a model may take the pixels alone."""
    algorithm: str | None = None
    """Algorithm of the Stable-Baselines3 models, such as PPO (default: found from each file)."""
    trust_pickle: bool = False
    """Unpickle the models as Stable-Baselines3 does, which runs any code that they contain."""

    def __post_init__(self):
        super().__post_init__()
        if not self.policy or len(set(self.policy)) != len(self.policy):
            raise ValueError(f"policy is {self.policy}, expected different policies, at least one")


@renamed()
@dataclass(frozen=True, kw_only=True)
class RankingConfig(RunConfig):
    """Play a family of policies in a learned world and in its real environment, and report whether
    the world ranks them in the same order."""

    family: str | None = None
    """Family of policies: the name of a task, or a module with FAMILY, a tuple of names of
    factories in it (default: that of the world's task)."""
    policies: tuple[str, ...] = ()
    """Play only these policies of the family (default: all)."""


@dataclass(frozen=True, kw_only=True)
class PlanningConfig:
    """Measure what a planner's decision costs in a learned world."""

    world: str = DEFAULT_WORLD
    """World to plan in: a shipped name, a directory, or a Hub id."""
    out: Path | None = None
    """Directory for planning.json; nothing is written without it."""
    candidates: int = 64
    """K, the number of action sequences tried."""
    horizon: int = 16
    """H, the number of actions planned ahead."""
    iterations: int = 1
    """Rounds of trying K sequences in a decision."""
    envs: int = 1
    """B, the number of environments planned for at once."""
    max_rows: tuple[int, ...] = (16, 64)
    """Numbers of candidates rolled out at once; each is measured, the fastest is reported."""
    imagine: Literal["frames", "states"] = "frames"
    """What is predicted for each candidate: frames (in latent space), or states alone."""
    precisions: tuple[Literal["float32", "bf16"], ...] = ("float32", "bf16")
    """Precisions of the world, each of which is measured. States alone are predicted in float32."""
    repeats: int = 3
    """Decisions timed for each setting; the median is reported."""
    threads: int = 2
    """CPU threads."""
    seed: int = 0
    """Seed of starts, noise and candidates."""
    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""

    def __post_init__(self):
        check_least(self, candidates=1, horizon=1, iterations=1, envs=1, repeats=1, threads=1)
        if not self.max_rows or min(self.max_rows) < 1:
            raise ValueError(f"max_rows is {self.max_rows}, expected numbers of at least 1")


@dataclass(frozen=True, kw_only=True)
class BestOfBenchConfig(ModelConfig):
    """Carry out the best of K plans in the simulator, as the world ranks them, and compare with
    those of the base policy alone. A run that was stopped can be continued."""

    world: str = DEFAULT_WORLD
    """World to plan in: a shipped name, a directory, or a Hub id; its task's proposals are
    ranked."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/best_of")
    """Directory for trials.jsonl and best_of.json."""
    candidates: tuple[int, ...] = (1, 10)
    """K, the number of proposals ranked at a decision; 1 is the base policy alone, which the
    others are compared with."""
    trials: int = 60
    """Number of episodes for each K; the same starts, and the same proposals as long as the same
    ones are chosen."""
    objective: Literal["sum", "final", "max"] = "sum"
    """Score of a proposal: the sum of its predicted rewards, the final one, or the highest."""
    max_steps: int | None = None
    """Longest episode, in steps (default: the world's time limit)."""
    seed: int = 5_000_000
    """Seed of the first trial; the others count up from it. Training and evaluation use none from
    here on."""

    def __post_init__(self):
        super().__post_init__()
        check_least(self, trials=1, max_steps=1)
        if min(self.candidates, default=0) < 1 or len(set(self.candidates)) < len(self.candidates):
            raise ValueError(
                f"candidates is {self.candidates}, expected numbers of at least 1, each once"
            )


@dataclass(frozen=True, kw_only=True)
class ReinforcementConfig(LearningConfig):
    """Train policies in the world and in its simulator, and compare them in the simulator."""

    out: Path = Path("runs/reinforcement")
    """Directory for reinforcement.json, the starts, and the runs: learned/SEED, real/SEED."""
    real: Path | None = None
    """Directory of the runs in the simulator (default: OUT/real). They can be reused for another
    world."""
    steps: int = 10_000
    """Environment steps to train for, both in the world and in the simulator."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, each of which gives a run in the world and one in the simulator."""
    device: str | None = None
    """Device of the world, cpu or cuda (default: the GPU, if there is one)."""

    def __post_init__(self):
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}, expected at least one, all different")

    @property
    def starts_dir(self) -> Path:
        """Where the starts are kept, with the runs in the simulator."""
        return self.real or self.out / "real"
