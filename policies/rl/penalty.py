"""Uncertainty taken off the reward: for any task that is learned inside of a world."""

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class UncertaintyPenalty(VecEnvWrapper):
    """Takes `coefficient * infos[i]["uncertainty"]` off each reward.

    So a policy does not go where the world does not know what happens (MOPO, Yu et al., arXiv
    2005.13239, eq. 4, with the disagreement of samples for the error's estimate).
    `infos[i]["reward"]` keeps the reward as it was.

    Args:
        envs: Environments made with `uncertainty_samples`.
        coefficient: Reward that one grey level costs.
    """

    def __init__(self, envs: VecEnv, coefficient: float):
        if coefficient < 0:
            raise ValueError(f"coefficient is {coefficient}, expected 0 or more")
        self.coefficient = coefficient
        super().__init__(envs)

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and take off the penalty.

        Raises:
            ValueError: the environments report no uncertainty.
        """
        observation, rewards, dones, infos = self.venv.step_wait()
        rewards = rewards.copy()
        for row, info in enumerate(infos):
            if "uncertainty" not in info:
                raise ValueError(
                    "the environments give no info['uncertainty']; make them with "
                    "uncertainty_samples of at least 2"
                )
            info["reward"] = float(rewards[row])
            rewards[row] -= self.coefficient * info["uncertainty"]
        return observation, rewards, dones, infos
