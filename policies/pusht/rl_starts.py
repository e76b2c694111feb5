"""Starts for learning: moments of expert episodes when the T has come near its goal.

From where a world's own starts begin, hundreds of steps of pushing are needed before there is any
reward. An expert's episode, cut where coverage first passes a level, is a start like any other: the
simulator gets there by replaying its actions, a world by its last frames.
"""

import gymnasium as gym
import numpy as np

from world_model import Start, Starts, WorldConfig

LOWEST, HIGHEST = 0.3, 0.7  # coverage that an episode is cut at
LONGEST = 250  # steps that the expert is given to reach it


def near_goal_starts(
    config: WorldConfig, count: int, *, seed: int, num_frames: int = 4, title: str = "starts"
) -> Starts:
    """Record starts near the goal.

    Args:
        config: Config of a Push-T world.
        count: How many.
        seed: Of the first episode; the next one's is one more. Use seeds that no world was
            trained on.
        num_frames: T, frames of each clip, fewer where the episode was shorter.
        title: What the progress bar says.

    Returns:
        Starts of up to T frames, with the actions since the simulator's reset.
    """
    from irasim_env.ground_truth import GroundTruth
    from world_model.progress import progress_bar

    truth = GroundTruth(config)
    starts = []
    with progress_bar(total=count, desc=title) as progress:
        while len(starts) < count:
            start = _record(truth.env, seed, num_frames, list(config.observations))
            seed += 1
            if start is not None:
                starts.append(start)
                progress.update()
    truth.close()
    return Starts(starts)


def _record(env: gym.Env, seed: int, num_frames: int, names: list[str]) -> Start | None:
    """One start, None where the expert did not come near enough."""
    from policies.pusht.recorders import expert

    observation, _ = env.reset(seed=seed)
    policy = expert(env, seed)
    level = np.random.default_rng([seed, 5]).uniform(LOWEST, HIGHEST)
    observations, actions = [observation], []
    for _ in range(LONGEST):
        actions.append(policy(observation))
        observation, _, terminated, _, info = env.step(actions[-1])
        observations.append(observation)
        if info["coverage"] > level:
            last = observations[-num_frames:]
            return Start(
                frames=np.stack([seen["pixels"] for seen in last]),
                actions=np.array(actions[len(actions) + 1 - len(last) :], np.float32).reshape(
                    len(last) - 1, -1
                ),
                states={
                    name: np.array([seen[name] for seen in last], np.float32) for name in names
                },
                seed=seed,
                replay=np.array(actions, np.float32),
                episode_id=f"expert {seed}",
            )
        if terminated:
            break
    return None
