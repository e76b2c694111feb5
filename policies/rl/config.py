"""Options of `irasim rl`. Free of torch, so that --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from world_model import WorldConfig
from world_model.config import DEFAULT_WORLD
from world_model.config_fields import check_least
from world_model.tasks import need_task

Place = Literal["learned", "real"]


@dataclass(frozen=True, kw_only=True)
class LearningConfig:
    """How a policy is trained and checked, in a world or in its simulator."""

    world: str = DEFAULT_WORLD
    """World to train and to check in: a shipped name, a directory, or a Hub id."""
    algorithm: Literal["sac", "ppo"] = "sac"
    """SAC or PPO, by Stable-Baselines3."""
    steps: int = 10_000
    """Environment steps to train for, summed over all environments."""
    num_envs: int = 8
    """Environments stepped at once."""
    updates_per_step: float = 1.0
    """Gradient steps of SAC for each environment step; PPO makes ten passes over each batch."""
    horizon: int = 50
    """Length of an episode, in steps."""
    reach: float | None = None
    """How far from the robot's position an action may set its target, along each axis, in the
    action's units (default: that of the task)."""
    starts: int = 100
    """Number of starts to train from. The task records them, for example from an expert's episodes
    cut near the goal."""
    test_starts: int = 50
    """Number of other starts, for testing."""
    check_starts: int = 8
    """Number of test starts that the checks use."""
    check_every: int = 2_500
    """Steps between checks of whether the policy exploits errors of the world; each also saves a
    checkpoint."""
    uncertainty_samples: int | None = None
    """Samples of each prediction, at least 2, whose disagreement is its uncertainty."""
    penalty: float = 0.0
    """Reward subtracted per grey level of uncertainty while training in the world."""
    device: str | None = None
    """Device of the world, cpu or cuda. The policy's small networks stay on the CPU."""

    def __post_init__(self):
        check_least(self, steps=1, num_envs=1, horizon=1, starts=1, check_starts=1, check_every=1)
        if self.check_starts > self.test_starts:
            raise ValueError(
                f"check_starts is {self.check_starts}, expected at most the {self.test_starts} "
                "that test_starts says there are"
            )
        if self.updates_per_step <= 0:
            raise ValueError(
                f"updates_per_step is {self.updates_per_step}, expected more than 0, such as 1"
            )
        if self.reach is not None and self.reach <= 0:
            raise ValueError(f"reach is {self.reach}, expected more than 0")

    def without_effect(self) -> dict[str, tuple[str, ...]]:
        """Fields that change nothing here, by what they are for."""
        if self.algorithm == "sac":
            return {}
        return {f"for SAC, and the algorithm is {self.algorithm.upper()}": ("updates_per_step",)}


@dataclass(frozen=True, kw_only=True)
class RLConfig(LearningConfig):
    """Train a policy by reinforcement learning, in a world or in its simulator."""

    place: Place = "learned"
    """Train in the learned world, or in the real simulator that it was learned from."""
    seed: int = 0
    """Seed of the network, the exploration and the environments."""
    out: Path = Path("runs/rl")
    """Directory for policy.zip, checks.csv, exploitation.png and config.json."""
    starts_dir: Path | None = None
    """Directory of the starts (default: OUT). Runs that share it can be compared."""

    def resolved_reach(self, config: WorldConfig) -> float:
        """`reach`, or that of a world's task."""
        if self.reach is not None:
            return self.reach
        return need_task(config, "reinforcement learning").rl_reach
