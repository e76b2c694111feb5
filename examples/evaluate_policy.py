"""Which of two policies is better, according to the learned world and to the simulator itself."""

from pathlib import Path

import numpy as np
import tyro

from benchmarks.policy_evaluation import RunConfig, evaluate_policies


def still(observation: dict[str, np.ndarray]) -> np.ndarray:
    """A policy is any callable; this one leaves the disc where it is."""
    return observation["agent_pos"].astype(np.float32)


def main(
    world: str = "pusht",
    episodes: int = 4,
    max_steps: int = 100,
    out: Path = Path("out/evaluation"),
) -> None:
    """Play `still` and an expert that acts on pixels from the same starts, in both."""
    results = evaluate_policies(
        {"still": still, "expert": "policies.pusht_family:expert"},
        RunConfig(world=world, episodes=episodes, max_steps=max_steps, out=out),
    )
    for place, name in (("truth", "the simulator"), ("world", "the learned world")):
        rewards = {
            policy: measured[place]["best_reward"]["mean"]
            for policy, measured in results["policies"].items()
        }
        print(f"by {name}, {max(rewards, key=lambda policy: rewards[policy])} is the better one")


if __name__ == "__main__":
    tyro.cli(main)
