"""New starts for a world, recorded from its ground truth with seeds that no training uses."""

from collections.abc import Sequence

import numpy as np

from policies.actors.actors import import_policy
from training.data.record import make_env, record_episode
from training.data.view import choose_view
from world_model import Start, Starts, WorldConfig
from world_model.tasks import task_of

# What warms up a simulator whose task does not say.
OTHERWISE = "training.data.record:RandomActions"


def record_starts(config: WorldConfig, seeds: Sequence[int], steps: int) -> Starts:
    """Clips of `steps` + 1 frames from the simulator's own resets.

    Args:
        config: Config of the world; says which simulator.
        seeds: Of the resets, one a start.
        steps: Steps before the start, under a policy that does as little as possible.

    Raises:
        ValueError: the world names no ground truth, or an episode ends within these steps.
    """
    if config.ground_truth is None:
        raise ValueError(
            f"world {config.name!r} names no ground truth, so no fresh starts can be recorded; "
            "take the world's own: --starts world"
        )
    env_id = config.ground_truth.env_id
    task = task_of(config)
    factory = import_policy((task and task.warm_up) or OTHERWISE)
    camera = config.ground_truth.camera
    env = make_env(env_id, config.ground_truth.kwargs, camera)
    size = (config.height, config.width) if config.ground_truth.resize else None
    view = choose_view(env.observation_space, camera=camera, size=size)
    starts = []
    try:
        for seed in seeds:
            episode = record_episode(env, factory(env, seed), seed=seed, max_steps=steps, view=view)
            if len(episode["actions"]) < steps:
                raise ValueError(
                    f"{env_id} with seed {seed} ends after {len(episode['actions'])} steps of "
                    f"warming up, expected at least {steps}: lower --warm-up"
                )
            states = {
                name: np.asarray(values, np.float32)
                for name, values in episode["states"].items()
                if name in config.observations
            }
            starts.append(
                Start(
                    frames=episode["frames"],
                    actions=episode["actions"],
                    states=states,
                    seed=seed,
                    replay=episode["actions"],
                    episode_id=f"test/{seed}",
                )
            )
    finally:
        env.close()
    return Starts(starts)
