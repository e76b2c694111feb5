"""The learned Push-T as a Gymnasium environment, in ten lines."""

import gymnasium as gym
import tyro

import irasim_env  # noqa: F401  registers the ids


def main(world: str = "pusht", steps: int = 50) -> None:
    """Take random actions in a world (a shipped name, a directory, or a Hub id)."""
    env = gym.make("IRASim/PushT-v0", world=world, obs_type="pixels_agent_pos")
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        print(
            f"frame {obs['pixels'].shape}, disc at {obs['agent_pos'].round()}, reward {reward:.2f}"
        )
        if terminated or truncated:
            obs, _ = env.reset()
    env.close()


if __name__ == "__main__":
    tyro.cli(main)
