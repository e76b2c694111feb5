"""Plan in a learned world, and carry the plan out in the real simulator."""

import gymnasium as gym
import numpy as np
import tyro

from policies.planning import CEM, LearnedRollout, icem_config
from world_model import WorldModel


def main(
    world: str = "pusht",
    steps: int = 40,
    candidates: int = 32,
    horizon: int = 8,
    executed: int = 4,
    seed: int = 0,
) -> None:
    """Push-T by iCEM: what K sequences of H actions lead to is asked of the world alone."""
    model = WorldModel.from_pretrained(world)
    low, high = model.config.action_low, model.config.action_high
    search = icem_config(
        num_candidates=candidates, horizon=horizon, num_elites=max(candidates // 8, 2), std=0.3
    )
    planner, rollout = CEM(low, high, search), LearnedRollout(world=model)
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels_agent_pos")
    obs, _ = env.reset(seed=seed)
    memory = planner.begin([seed], obs["agent_pos"][None])
    frames, places, actions, over = [obs["pixels"]], [obs["agent_pos"]], [], False
    while len(actions) < steps and not over:
        seen = frames[-model.config.context - 1 :]
        taken = np.array(actions[len(actions) - len(seen) + 1 :], np.float32).reshape(-1, len(low))
        known = {"agent_pos": np.stack(places[-len(seen) :])[None]}
        state = model.start(np.stack(seen)[None], taken[None], [len(actions)], known)
        plan = planner(rollout, state, memory)
        memory = plan.memory.shifted(executed)
        for action in plan.actions[0, :executed].numpy():
            obs, _, terminated, truncated, info = env.step(action)
            frames.append(obs["pixels"])
            places.append(obs["agent_pos"])
            actions.append(action)
            over = terminated or truncated
            if over or len(actions) == steps:
                break
        print(f"step {len(actions)}: promised {plan.score[0]:.2f}, covered {info['coverage']:.2f}")
    env.close()


if __name__ == "__main__":
    tyro.cli(main)
