"""What `irasim bench pusht-planning` is asked for. Free of torch: --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from policies.planning.config import ModelConfig
from world_model.config_fields import check_least

# Names of models that are no learned world.
REAL = "real"


BASE = "base"


# Seeds that no training or evaluation data is recorded with (training/data/collect.py's splits).
FIRST_SEED = 5_000_000


@dataclass(frozen=True, kw_only=True)
class PushTPlanningConfig(ModelConfig):
    """IRASim's Push-T planning experiment. Can be stopped and goes on."""

    world: tuple[str, ...] = ()
    """Learned worlds to plan in, as P=path: P is the number of the base policy's rollouts that were
    added to its training, path a shipped name, a directory or a Hub id; as in 0=pusht
    500=runs/p500/world."""
    real: bool = True
    """Also plan with the real simulator as the model."""
    candidates: tuple[int, ...] = (1, 5, 10, 50)
    """K, proposals ranked at a decision; 1 is the base policy alone."""
    trials: int = 100
    """Trials of each row."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory of trials.jsonl, table.md and pusht_planning.json."""
    max_steps: int = 300
    """Longest episode."""
    seed: int = FIRST_SEED
    """Of the first trial; the others follow it."""
    rank: Literal["nearness", "coverage"] = "nearness"
    """What ranks proposals at their end: how near the T's corners are to where they belong (read
    from the predicted frame, or as predicted, or the simulator's state), or the model's own reward,
    which is coverage. By coverage a T that lies on its goal the wrong way round stays there."""
    budget_minutes: float | None = None
    """Stop after so long, between two trials; the same command goes on."""

    def __post_init__(self):
        super().__post_init__()
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
