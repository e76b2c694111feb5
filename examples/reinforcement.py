"""Stable-Baselines3 learns in the learned Push-T, then its policy acts in the real simulator.

So few steps teach it nothing; `irasim rl` and `irasim bench reinforcement` learn a task of the
size that a processor can.
"""

from pathlib import Path

import gymnasium as gym
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from policies.vec_env import WorldVecEnv


def main(
    world: str = "pusht",
    steps: int = 256,
    num_envs: int = 8,
    horizon: int = 50,
    out: Path = Path("out/reinforcement"),
) -> None:
    """Learn for some steps in the world, and compare the return there with the simulator's."""
    task = {"obs_type": "pixels_agent_pos", "max_episode_steps": horizon}
    envs = VecMonitor(WorldVecEnv.make("IRASim/PushT-v0", num_envs, world=world, **task))
    model = PPO(
        "MultiInputPolicy", envs, n_steps=16, batch_size=64, n_epochs=4, seed=0, device="cpu"
    )
    model.learn(steps)
    model.save(out / "policy.zip")

    policy = PPO.load(out / "policy.zip", device="cpu")
    simulator = Monitor(gym.make("gym_pusht:gym_pusht/PushT-v0", **task))
    for name, place in (("learned world", envs), ("real simulator", simulator)):
        mean, deviation = evaluate_policy(policy, place, n_eval_episodes=num_envs)
        print(f"return in the {name}: {mean:.2f} +- {deviation:.2f} over {num_envs} episodes")
        place.close()


if __name__ == "__main__":
    tyro.cli(main)
