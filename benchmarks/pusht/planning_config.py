"""Options of `irasim bench pusht-planning`. Free of torch, so that --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from policies.planning.config import ModelConfig
from training.jobs.config import OnCluster
from world_model.config_fields import check_least

# Names of models that are no learned world.
REAL = "real"


BASE = "base"


# Seeds that no training or evaluation data is recorded with (training/data/collect.py's splits).
FIRST_SEED = 5_000_000


@dataclass(frozen=True, kw_only=True)
class PushTPlanningConfig(ModelConfig, OnCluster):
    """Repeat IRASim's planning experiment on Push-T. A run that was stopped can be continued."""

    world: tuple[str, ...] = ()
    """Learned worlds to plan in, each as P=PATH: P is the number of rollouts of the base policy
    that were added to its training data, PATH a shipped name, a directory or a Hub id; for example
    0=pusht 500=runs/p500/world."""
    real: bool = True
    """Also plan with the real simulator as the model."""
    candidates: tuple[int, ...] = (1, 5, 10, 50)
    """K, the number of proposals ranked at a decision; 1 is the base policy alone."""
    trials: int = 100
    """Number of trials for each row of the table."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory for trials.jsonl, table.md and pusht_planning.json."""
    max_steps: int = 300
    """Longest episode, in steps."""
    seed: int = FIRST_SEED
    """Seed of the first trial; the others count up from it."""
    rank: Literal["nearness", "coverage"] = "nearness"
    """How proposals are ranked by their last frame: by how near the T's corners are to those of the
    goal (nearness: read from the predicted frame, predicted as a state, or from the simulator), or
    by the model's own reward (coverage). Ranked by coverage, a T that covers its goal in the wrong
    orientation is left there."""
    budget_minutes: float | None = None
    """Stop after this many minutes, between two trials; the same command continues the run."""
    ray: str | None = None
    """Address of a Ray cluster to run trials on instead of this machine (auto, HOST:PORT or
    ray://HOST:PORT)."""
    ray_workers: int | None = None
    """Number of workers in the cluster (default: one per GPU if the cluster has GPUs, else one per
    --workers cores)."""

    def __post_init__(self):
        super().__post_init__()
        self.check_cluster()
        check_least(self, trials=1, max_steps=1)
        if not self.candidates or min(self.candidates) < 1:
            raise ValueError(f"candidates is {self.candidates}, expected numbers of at least 1")
        if len(self.worlds) != len(self.world):
            raise ValueError(f"world is {self.world}, expected each P once")

    @property
    def worlds(self) -> dict[str, str]:
        """Paths of the learned worlds by P."""
        found = {}
        for text in self.world:
            rollouts, equals, path = text.partition("=")
            if not (equals and path and rollouts.isdecimal()):
                raise ValueError(
                    f"world is {text!r}, expected P=path, as in 500=runs/p500/world, with P the "
                    "number of rollouts it was trained on in addition"
                )
            found[str(int(rollouts))] = path
        return found

    @property
    def rows(self) -> list[tuple[str, int]]:
        """(model, K) of each row of the table; the base policy first."""
        ranked = sorted({count for count in self.candidates if count > 1})
        base = [(BASE, 1)] if 1 in self.candidates else []
        models = [*self.worlds, *([REAL] if self.real else [])]
        return base + [(model, count) for model in models for count in ranked]
