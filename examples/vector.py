"""Many learned Push-Ts at once: each step is one batched call of the model."""

import time

import gymnasium as gym
import tyro

import irasim_env  # noqa: F401  registers the ids


def main(world: str = "pusht", num_envs: int = 16, steps: int = 20) -> None:
    """Step a batch of environments with random actions, and say how fast that is."""
    envs = gym.make_vec(
        "IRASim/PushT-v0", num_envs=num_envs, world=world, autoreset_mode="SameStep"
    )
    envs.action_space.seed(0)
    envs.reset(seed=0)  # environment i gets seed 0 + i, and rolls out as it would alone
    begin = time.perf_counter()
    for _ in range(steps):
        envs.step(envs.action_space.sample())
    rate = num_envs * steps / (time.perf_counter() - begin)
    print(f"{num_envs} environments: {rate:.0f} steps a second in total, frames included")
    envs.close()


if __name__ == "__main__":
    tyro.cli(main)
