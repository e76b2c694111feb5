"""What `irasim plan` is asked for. Free of torch: --help is quick."""

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
    """cpu or cuda; the GPU where there is one."""
    imagine: Literal["frames", "states"] = "frames"
    """What a learned model imagines of each candidate: frames, in latents, or the states that it
    predicts alone, in a hundredth of the time."""
    max_rows: int = 256
    """Candidates tried at once in the learned world: less takes less memory."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the learned world; bf16 is faster, and candidates are only compared with each other."""
    workers: int = 1
    """Candidates tried at once in the real simulator, each in a process."""

    def __post_init__(self) -> None:
        check_least(self, max_rows=1, workers=1)


@dataclass(frozen=True, kw_only=True)
class PlanConfig(ModelConfig):
    """Plan in a learned world or in the real simulator, and say how well it went: success, how far
    the goal is reached, decision time."""

    world: str = DEFAULT_WORLD
    """World: a shipped name, a directory, or a Hub id. It also names the real simulator."""
    env: Literal["learned", "real"] = "real"
    """Where plans are carried out."""
    model: Literal["learned", "real"] = "learned"
    """What candidates are tried in; the real simulator only for plans carried out there."""
    planner: Literal["cem", "icem", "mppi", "best"] = "icem"
    """cem, icem, mppi, or best: the best of K plans that the task's base policy proposes (real
    simulator only)."""
    candidates: int = 64
    """K, action sequences tried in an iteration."""
    horizon: int = 16
    """H, actions looked ahead; best has its own, that of the proposals."""
    iterations: int = 3
    """Rounds of trying and narrowing; best has one."""
    std: float = 0.3
    """Spread of the first candidates, a share of half the actions' range."""
    objective: Literal["sum", "final", "max"] = "sum"
    """What makes a candidate good: its rewards' sum, the last or the highest."""
    executed: int | None = None
    """Actions carried out before planning anew; by default half of the horizon, for best all of a
    proposal."""
    episodes: int = 10
    """Number of episodes."""
    max_steps: int | None = None
    """Longest episode; by default the world's time limit."""
    seed: int = 0
    """Of the first episode; the others follow it."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Directory for plan.json; nothing is written without it."""

    def __post_init__(self):
        super().__post_init__()
        check_least(self, episodes=1, max_steps=1, executed=1)
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")
        if self.env == "learned" and self.model == "real":
            raise ValueError(
                "a learned world has no place in the real simulator, so that cannot be the model "
                "of plans carried out in it; use --env real, or --model learned"
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
