"""What `irasim rl` is asked for. Free of torch: --help is quick."""

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
    """How a policy is learned and checked, wherever that is."""

    world: str = DEFAULT_WORLD
    """World to learn in, and to check in: a shipped name, a directory, or a Hub id."""
    algorithm: Literal["sac", "ppo"] = "sac"
    """Stable-Baselines3's SAC or PPO."""
    steps: int = 10_000
    """Environment steps to learn from, over all environments."""
    num_envs: int = 8
    """Environments stepped at once."""
    updates_per_step: float = 1.0
    """Gradient steps of SAC for each environment step; PPO makes ten passes over each batch."""
    horizon: int = 50
    """Steps of an episode."""
    reach: float | None = None
    """How far from the robot's place its target may be set, along each axis, in the action's units
    (default: the task's)."""
    starts: int = 100
    """Starts to learn from, as the task records them, such as an expert's episodes cut near the
    goal."""
    test_starts: int = 50
    """Other starts, to judge by."""
    check_starts: int = 8
    """How many of those the checks use."""
    check_every: int = 2_500
    """Steps between checks of whether the policy exploits the world, which are checkpoints too."""
    uncertainty_samples: int | None = None
    """Samples of each prediction whose disagreement is its uncertainty, at least 2."""
    penalty: float = 0.0
    """Reward that a grey level of uncertainty costs while learning in the world."""
    device: str | None = None
    """Of the world: cpu or cuda. The policy's small networks stay on the processor."""

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


@dataclass(frozen=True, kw_only=True)
class RLConfig(LearningConfig):
    """Learn a policy by reinforcement, in a world or in its simulator."""

    place: Place = "learned"
    """Learn in the learned world, or in the real simulator that it was learned from."""
    seed: int = 0
    """Of the network, the exploration and the environments."""
    out: Path = Path("runs/rl")
    """Directory for policy.zip, checks.csv, exploitation.png and config.json."""
    starts_dir: Path | None = None
    """Where starts are kept; runs that share them compare. Default: out."""

    def resolved_reach(self, config: WorldConfig) -> float:
        """`reach`, or that of a world's task."""
        if self.reach is not None:
            return self.reach
        return need_task(config, "reinforcement learning").rl_reach
