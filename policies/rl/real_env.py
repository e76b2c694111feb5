"""The simulator that a world was learned from, as an environment with the world's face.

Spaces, starts, seeds and options are those of `irasim_env.env.WorldEnv` over the same world: a seed
begins the same episode in both. So what learns or is judged in one can be in the other.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from irasim_env.actions import check_actions
from irasim_env.beginning import check_options, draw_beginning, own_options
from irasim_env.ground_truth import GroundTruth
from irasim_env.reward_fn import RewardFn
from irasim_env.task import Observation, WorldTask
from world_model import WorldModel


class RealEnv(gym.Env[Observation, np.ndarray]):
    """The ground truth of a world, begun from the world's starts.

    Actions out of bounds are clipped, as in the world. Rewards and ends are the simulator's, or
    those of a `reward_fn`, as in the world. There is no time limit; put
    `gymnasium.wrappers.TimeLimit` around it.

    Args:
        world: A loaded world that names its ground truth.
        obs_type: As for `WorldEnv`.
        reward_fn: As for `WorldEnv`.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: the world names no ground truth, or has no such `obs_type`.
        gym.error.DependencyNotInstalled: the simulator's package is missing.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        world: WorldModel,
        *,
        obs_type: str = "pixels",
        reward_fn: RewardFn | None = None,
        render_mode: str | None = None,
    ):
        self.task = WorldTask(world, obs_type=obs_type, reward_fn=reward_fn)
        self.truth = GroundTruth(world.config)
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self.metadata = {**self.metadata, "render_fps": self.task.render_fps}
        self.render_mode = render_mode
        self._passed_over: set[str] = set()  # options that were warned of

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode at one of the world's starts, drawn by the seed or by `options`.

        Raises:
            ValueError: a misspelt option, no such start, or a clip that is no start of the world.
        """
        asked = check_options(self.task.world, own_options(options, self._passed_over))
        if asked.clip is not None:
            raise ValueError(
                "the simulator cannot be put where a clip of frames ends; give it a start of the "
                "world's: options={'start': i}"
            )
        super().reset(seed=seed)
        beginning = draw_beginning(self.task.world, self.np_random, asked)
        assert beginning.start is not None, "only a clip has none"
        observation = self.truth.reset_to(self.task.world.starts[beginning.start])
        info = {"start": beginning.start, "noise_seed": beginning.noise_seed}
        return self._observe(observation), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Step the simulator with an action (A,)."""
        action = check_actions(self.task.config, action, self.task.action_shape)
        before = self.truth.frame
        observation, reward, terminated, truncated, info = self.truth.step(action)
        if self.task.reward_fn is not None:
            frames = np.stack((before, self.truth.frame))
            reward, terminated = self.task.reward_fn(frames, action.copy())
        return self._observe(observation), float(reward), bool(terminated), truncated, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The present frame, uint8 (H, W, 3), with `render_mode="rgb_array"`."""
        return self.truth.frame if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the simulator."""
        self.truth.close()

    def _observe(self, observation: Any) -> Observation:
        """The simulator's observation, in the form that the world gives it."""
        space = self.observation_space
        if not isinstance(space, gym.spaces.Dict):
            return self.truth.frame
        observed = self.truth.observations(observation)
        if missing := [name for name in self.task.names if name not in observed]:
            raise ValueError(
                f"the simulator observes no {', '.join(missing)}, which the world does; correct "
                "ground_truth.kwargs in the world's config.json"
            )
        states = {}
        for name in self.task.names:
            box = space[name]
            assert isinstance(box, gym.spaces.Box)
            states[name] = np.clip(observed[name], box.low, box.high).astype(box.dtype)
        return {"pixels": self.truth.frame, **states}
