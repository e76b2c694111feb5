"""Options of `irasim plan`. Free of torch, so that --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from world_model.config import DEFAULT_WORLD
from world_model.config_fields import check_least


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """How candidates are tried, in a learned world or in the real simulator."""

    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""
    imagine: Literal["frames", "states"] = "frames"
    """What a learned model predicts for each candidate: frames (in latent space), or states alone,
    which takes a hundredth of the time."""
    max_rows: int = 256
    """Candidates rolled out at once in the learned world; fewer take less memory."""
    precision: Literal["float32", "bf16"] = "float32"
    """Precision of the learned world. bf16 is faster, and enough to compare candidates."""
    workers: int = 1
    """Candidates rolled out at once in the real simulator, each in a process of its own."""

    def __post_init__(self) -> None:
        check_least(self, max_rows=1, workers=1)


@dataclass(frozen=True, kw_only=True)
class PlanConfig(ModelConfig):
    """Plan in a learned world or in the real simulator, and report the outcome: success, how far
    the goal was reached, and the time per decision."""

    world: str = DEFAULT_WORLD
    """World: a shipped name, a directory, or a Hub id. It also determines the real simulator."""
    env: Literal["learned", "real"] = "real"
    """Where plans are carried out."""
    model: Literal["learned", "real"] = "learned"
    """Where candidates are rolled out; the real simulator only if plans are carried out there
    too."""
    planner: Literal["cem", "icem", "mppi", "best"] = "icem"
    """cem, icem, mppi, or best: the best of K plans proposed by the task's base policy (only in the
    real simulator)."""
    candidates: int = 64
    """K, the number of action sequences tried in an iteration."""
    horizon: int = 16
    """H, the number of actions planned ahead; best has that of the proposals."""
    iterations: int = 3
    """Iterations of trying candidates and refitting their distribution; best has one."""
    std: float = 0.3
    """Standard deviation of the first candidates, as a share of half the range of actions."""
    objective: Literal["sum", "final", "max"] = "sum"
    """Score of a candidate: the sum of its rewards, the final one, or the highest."""
    executed: int | None = None
    """Actions carried out before planning again (default: half of the horizon; for best, the whole
    proposal)."""
    episodes: int = 10
    """Number of episodes."""
    max_steps: int | None = None
    """Longest episode, in steps (default: the world's time limit)."""
    seed: int = 0
    """Seed of the first episode; the others count up from it."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Directory for plan.json; nothing is written without it."""

    def __post_init__(self):
        super().__post_init__()
        check_least(self, episodes=1, max_steps=1, executed=1)
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")
        if self.env == "learned" and self.model == "real":
            raise ValueError(
                "the real simulator cannot be set to the state of a learned world, so it cannot be "
                "the model for plans carried out there; use --env real, or --model learned"
            )
        if self.model == "real" and self.imagine == "states":
            raise ValueError(
                "--imagine says what a learned model imagines; leave it out with --model real"
            )
        if self.env == "learned" and self.planner == "best":
            raise ValueError(
                "the plans that best chooses from are made from the real simulator's state; use "
                "--env real, or another planner"
            )

    def without_effect(self) -> dict[str, tuple[str, ...]]:
        """Fields that change nothing here, by what they are for."""
        unused = {}
        if self.planner == "best":
            names = "horizon", "iterations", "std"
            unused["for planners that refit, and best takes plans as they are proposed"] = names
        if self.model == "real":
            unused["for a learned model (--model)"] = "precision", "max_rows"
        else:
            unused["for the real simulator as the model (--model real)"] = ("workers",)
        return unused
