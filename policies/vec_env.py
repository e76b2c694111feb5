"""Stable-Baselines3's `VecEnv` over a vector environment: one batched model call a step.

What it returns is what `stable_baselines3.common.vec_env.DummyVecEnv` returns over single
environments, step for step. Gymnasium's vector environments gather the infos of all environments
in arrays with masks; here they become one dictionary each again.

Dimensions: B environments.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

FINAL = ("final_obs", "final_info")
# What a vector environment has for all of its environments together, by another name.
SINGLE = {
    "observation_space": "single_observation_space",
    "action_space": "single_action_space",
}
# What it has as one value for each environment.
EACH = ("np_random", "np_random_seed")


class WorldVecEnv(VecEnv):
    """A vector environment, as Stable-Baselines3 wants it.

    Options (`set_options`) may differ between environments. An attribute read is that of each
    environment, one written is that of all of them at once. There are no wrappers around single
    environments to be found; the time limit is the vector environment's own. Methods of single
    environments that there are: `render`.

    Args:
        envs: A vector environment that resets what has ended in the same step, such as
            `gym.make_vec("IRASim/PushT-v0", num_envs=8, autoreset_mode="SameStep")`.

    Raises:
        ValueError: the vector environment resets in another way, or gives tensors.
    """

    def __init__(self, envs: VectorEnv):
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the vector environment's autoreset mode is {mode}, Stable-Baselines3 expects "
                "resets in the same step; make it with autoreset_mode='SameStep'"
            )
        if getattr(envs.unwrapped, "output", "numpy") != "numpy":
            raise ValueError(
                "the vector environment gives tensors, Stable-Baselines3 expects arrays; make it "
                "with output='numpy'"
            )
        self.envs = envs
        self._begun = False
        self._actions: np.ndarray | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    @classmethod
    def make(cls, env_id: str, num_envs: int, **kwargs: Any) -> "WorldVecEnv":
        """As `gym.make_vec(env_id, num_envs, **kwargs)`, for Stable-Baselines3."""
        import irasim_env  # noqa: F401  registers the ids

        return cls(gym.make_vec(env_id, num_envs, autoreset_mode="SameStep", **kwargs))

    def reset(self) -> VecEnvObs:
        """Begin episodes in all environments, with what `seed` and `set_options` said."""
        seeds: Any = self._seeds  # one each; Gymnasium's annotation knows only one for all
        options = self._options
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if all(set(given) == {"start"} for given in options):
            options = [{"start": [given["start"] for given in options]}]
        if len(options) == 1 or not any(options):
            observation, vector_infos = self.envs.reset(seed=seeds, options=options[0])
            infos = [_info_of(vector_infos, row) for row in range(self.num_envs)]
        else:
            # One by one, which the vector environment allows only after it has begun at all.
            if not self._begun:
                self.envs.reset(seed=seeds)
            observation: Any = None
            for row, given in enumerate(options):
                mask = np.arange(self.num_envs) == row
                observation, vector_infos = self.envs.reset(
                    seed=seeds, options={**given, "reset_mask": mask}
                )
                infos[row] = _info_of(vector_infos, row)
        self._begun = True
        self.reset_infos = infos
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Take in actions (B, ...)."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step with them.

        Returns:
            Observations (B, ...), those of a new episode where one has ended; rewards float32
            (B,); ends bool (B,); infos, with "TimeLimit.truncated" and, where an episode has
            ended, its "terminal_observation".
        """
        observation, rewards, terminated, truncated, vector_infos = self.envs.step(self._actions)
        dones = terminated | truncated
        infos = []
        for row in range(self.num_envs):
            info = _info_of(vector_infos, row)
            if dones[row]:
                self.reset_infos[row] = info
                info = _info_of(vector_infos["final_info"], row)
            info["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
            if dones[row]:
                info["terminal_observation"] = vector_infos["final_obs"][row]
            infos.append(info)
        return observation, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """The present frame of each environment, uint8 (H, W, 3)."""
        frames = self.envs.render()
        return [None] * self.num_envs if frames is None else list(frames)  # type: ignore[arg-type]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of each environment."""
        value = getattr(self.envs, SINGLE.get(attr_name, attr_name))
        each = attr_name in EACH
        return [value[row] if each else value for row in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute, which is one for all environments.

        Raises:
            ValueError: it should be set for some of them only.
        """
        rows = sorted(self._get_indices(indices))
        if rows != list(range(self.num_envs)):
            raise ValueError(
                f"{attr_name} cannot be set for environments {rows} only: they are one batch of "
                f"{self.num_envs}; leave indices out to set it for all"
            )
        setattr(self.envs, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of each environment; `render`, and `get_wrapper_attr` to read.

        Raises:
            AttributeError: the environments of a batch have no such method of their own.
        """
        rows = list(self._get_indices(indices))
        if method_name == "get_wrapper_attr":
            return self.get_attr(*method_args, indices=rows, **method_kwargs)
        if method_name == "render":
            images = self.get_images()
            return [images[row] for row in rows]
        raise AttributeError(
            f"the environments of a batch have no method {method_name!r} of their own, only "
            "'render' and 'get_wrapper_attr'; use DummyVecEnv over single environments for others"
        )

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Whether single environments are wrapped: never, there are none."""
        return [False for _ in self._get_indices(indices)]


def _info_of(vector_infos: dict[str, Any], row: int) -> dict[str, Any]:
    """The info of one environment, as it gave it, without what belongs to an end."""
    info: dict[str, Any] = {}
    for key, values in vector_infos.items():
        if key.startswith("_") or key in FINAL or not vector_infos[f"_{key}"][row]:
            continue
        if isinstance(values, dict):
            info[key] = _info_of(values, row)
        else:
            value = values[row]
            # Arrays are copied, as the next environment's info must not change with this one's;
            # numbers become Python's again.
            info[key] = value.copy() if isinstance(value, np.ndarray) else _plain(value)
    return info


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
