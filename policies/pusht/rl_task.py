"""The task that reinforcement learning gets: the same in a learned world and in the real simulator.

Push-T with the simulator's own reward, short episodes from given starts. What a policy sees are a
few numbers read from the frame (`pusht_features`), what it does is relative to where the disc is:
so small a task is learned in some ten thousand steps on a processor.

Dimensions: B environments, A action components.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from policies.pusht.features import NUM_FEATURES, pusht_features
from policies.rl.penalty import UncertaintyPenalty
from policies.vec_env import WorldVecEnv

if TYPE_CHECKING:
    from world_model import WorldModel

Place = Literal["learned", "real"]


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What is to be learned."""

    horizon: int = 50
    """Steps of an episode."""
    reach: float = 50.0
    """How far from the disc its target may be set, px along each axis."""

    def __post_init__(self):
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}, expected at least 1")
        if not 0 < self.reach <= 512:
            raise ValueError(f"reach is {self.reach}, expected px within (0, 512]")


def make_task(
    world: "WorldModel",
    place: Place,
    num_envs: int,
    config: TaskConfig,
    *,
    uncertainty_samples: int | None = None,
    penalty: float = 0.0,
) -> VecEnv:
    """Environments of the task, begun from the world's starts.

    Args:
        world: A loaded Push-T world; its `starts` are where episodes begin, in both places.
        place: "learned" for the world, "real" for the simulator that it was learned from.
        num_envs: B.
        config: The task.
        uncertainty_samples: For the world only: see `irasim_env.env.WorldEnv`.
        penalty: What a grey level of uncertainty costs, see `UncertaintyPenalty`; needs samples.

    Raises:
        ValueError: a penalty without samples, or samples of the real simulator.
    """
    if place == "real" and uncertainty_samples is not None:
        raise ValueError(
            "the real simulator has no uncertainty; leave uncertainty_samples out, or learn in "
            "the world"
        )
    if penalty and uncertainty_samples is None:
        raise ValueError(
            f"penalty is {penalty}, but there is no uncertainty to penalise; give "
            "uncertainty_samples of at least 2"
        )
    if place == "learned":
        envs: VecEnv = WorldVecEnv.make(
            "IRASim/World-v0",
            num_envs,
            world=world,
            obs_type="pixels_agent_pos",
            max_episode_steps=config.horizon,
            uncertainty_samples=uncertainty_samples,
        )
    else:
        envs = DummyVecEnv([lambda: _real(world, config)] * num_envs)
    if penalty:
        envs = UncertaintyPenalty(envs, penalty)
    return PushTTask(envs, config)


def _real(world: "WorldModel", config: TaskConfig) -> gym.Env:
    from policies.rl.real_env import RealEnv

    env = RealEnv(world, obs_type="pixels_agent_pos")
    return gym.wrappers.TimeLimit(env, config.horizon)


class PushTTask(VecEnvWrapper):
    """Compact observations, and actions relative to the disc, in [-1, 1]^2.

    Rewards and ends are those of the environments inside.

    Args:
        envs: Environments with `obs_type="pixels_agent_pos"`.
        config: The task.
    """

    def __init__(self, envs: VecEnv, config: TaskConfig):
        inside = envs.action_space
        assert isinstance(inside, spaces.Box)
        self._low, self._high = inside.low, inside.high
        self._reach = config.reach
        self._at = np.zeros((envs.num_envs, *inside.shape))
        super().__init__(
            envs,
            observation_space=spaces.Box(-4, 4, (NUM_FEATURES,), np.float32),
            action_space=spaces.Box(-1, 1, inside.shape, np.float32),
        )

    def reset(self) -> VecEnvObs:
        """Begin episodes; features (B, n)."""
        return self._observe(self.venv.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """Send each disc `reach` times its action (B, A) away."""
        targets = np.clip(self._at + self._reach * actions, self._low, self._high)
        self.venv.step_async(targets.astype(np.float32))

    def step_wait(self) -> VecEnvStepReturn:
        """Step; "terminal_observation" becomes features (n,) too."""
        observation, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            last: Any = info.get("terminal_observation")
            if last is not None:
                info["terminal_observation"] = _features(
                    {name: values[None] for name, values in last.items()}
                )[0]
        return self._observe(observation), rewards, dones, infos

    def _observe(self, observation: Any) -> np.ndarray:
        self._at = observation["agent_pos"]
        return _features(observation)


def _features(observation: dict[str, np.ndarray]) -> np.ndarray:
    """Features of a batch, within the observation space."""
    features = pusht_features(observation["pixels"], observation["agent_pos"])
    return np.clip(features, -4, 4)
