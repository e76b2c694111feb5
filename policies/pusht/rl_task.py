"""The form of Push-T that reinforcement learning gets, in a learned world and in the simulator.

What a policy sees are a few numbers read from the frame (`pusht_features`), what it does is
relative to where the disc is: so small a task is learned in some ten thousand steps on a processor.

Dimensions: B environments, A action components.
"""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from policies.pusht.features import NUM_FEATURES, pusht_features

MOST_REACH = 512.0  # px, all of the picture


class PushTTask(VecEnvWrapper):
    """Compact observations, and actions relative to the disc, in [-1, 1]^2.

    Rewards and ends are those of the environments inside.

    Args:
        envs: Environments with `obs_type="pixels_agent_pos"`.
        reach: How far from the disc its target may be set, px along each axis.
    """

    def __init__(self, envs: VecEnv, reach: float):
        if not 0 < reach <= MOST_REACH:
            raise ValueError(f"reach is {reach}, expected px within (0, {MOST_REACH:g}]")
        observed = envs.observation_space
        if not isinstance(observed, spaces.Dict) or {"pixels", "agent_pos"} - set(observed):
            raise ValueError(
                f"the environments observe {observed}, expected a dictionary with pixels and "
                "agent_pos: take a world that predicts agent_pos"
            )
        inside = envs.action_space
        assert isinstance(inside, spaces.Box)
        self._low, self._high = inside.low, inside.high
        self._reach = reach
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
