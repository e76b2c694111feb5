"""What reinforcement learning gets of a world's task: the same in the world and in its simulator.

The simulator's own reward, short episodes from given starts, and the task's own wrapper, which
makes of pictures and actions what a small network can learn from.
"""

from pathlib import Path
from typing import Literal

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from policies.actors.episodes import observation_type
from policies.rl.penalty import UncertaintyPenalty
from policies.rl.real_env import RealEnv
from policies.vec_env import WorldVecEnv
from world_model import Starts, WorldConfig, WorldModel
from world_model.tasks import need_task

Place = Literal["learned", "real"]
PURPOSE = "reinforcement learning"


def make_envs(
    world: WorldModel,
    place: Place,
    num_envs: int,
    *,
    horizon: int,
    reach: float | None = None,
    uncertainty_samples: int | None = None,
    penalty: float = 0.0,
) -> VecEnv:
    """Environments of a world's task, begun from the world's starts.

    Args:
        world: A loaded world; its `starts` are where episodes begin, in both places.
        place: "learned" for the world, "real" for the simulator that it was learned from.
        num_envs: B.
        horizon: Steps of an episode.
        reach: How far from the robot's place its target may be set; None is the task's default.
        uncertainty_samples: For the world only: see `irasim_env.env.WorldEnv`.
        penalty: What a grey level of uncertainty costs, see `UncertaintyPenalty`; needs samples.

    Raises:
        ValueError: the world has no task with a wrapper, a penalty without samples, or samples of
            the real simulator.
    """
    task = need_task(world.config, PURPOSE)
    wrapper = task.load("rl_wrapper")
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
            obs_type=observation_type(world),
            max_episode_steps=horizon,
            uncertainty_samples=uncertainty_samples,
        )
    else:
        envs = DummyVecEnv([lambda: _real(world, horizon)] * num_envs)
    if penalty:
        envs = UncertaintyPenalty(envs, penalty)
    return wrapper(envs, task.rl_reach if reach is None else reach)


def _real(world: WorldModel, horizon: int) -> gym.Env:
    return gym.wrappers.TimeLimit(RealEnv(world, obs_type=observation_type(world)), horizon)


def load_or_record(path: Path, config: WorldConfig, count: int, *, seed: int) -> Starts:
    """The starts of a file; recorded by the world's task and written where there is none yet.

    Raises:
        ValueError: the file holds another number of starts, or the task records none.
    """
    if not path.is_file():
        record = need_task(config, PURPOSE).load("rl_starts")
        path.parent.mkdir(parents=True, exist_ok=True)
        record(config, count, seed=seed, title=path.stem).save(path)
    starts = Starts.load(path)
    if len(starts) != count:
        raise ValueError(
            f"{path} holds {len(starts)} starts, expected {count}; delete it to record them anew"
        )
    return starts
