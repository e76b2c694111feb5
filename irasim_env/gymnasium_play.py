"""Learned worlds in `gymnasium.utils.play`."""

from itertools import combinations, product
from typing import Any

import gymnasium as gym
import numpy as np
import pygame

from irasim_env.controls import KeyControls
from irasim_env.env import WorldEnv
from irasim_env.world_controls import controls_of

# How many components keys can drive at once: each more multiplies the combinations.
_MOST_AT_ONCE = 3
# Learned frames are small: enlarge them until they are about this tall.
_HEIGHT = 480


class KeyboardActions(gym.Wrapper[Any, np.ndarray, Any, np.ndarray]):
    """Takes what keys ask for, a direction in [-1, 1] per component, in place of actions.

    A position moves on from where it is, as a person at a keyboard expects; without this, a key
    could only mean one fixed position. It begins where the agent is.

    Args:
        env: An environment over a `WorldEnv`.
        controls: What directions do; default that of `irasim play`.
    """

    def __init__(self, env: gym.Env, controls: KeyControls | None = None):
        super().__init__(env)
        if not isinstance(env.unwrapped, WorldEnv):
            raise ValueError(
                f"KeyboardActions got {env}, expected an environment of irasim_env, such as "
                'gymnasium.make("IRASim/PushT-v0")'
            )
        self._world = env.unwrapped.world
        config = self._world.config
        self.controls = controls or controls_of(config)
        self.action_space = gym.spaces.Box(-1, 1, (config.action_dim,), np.float32)
        self._action = self.controls.first_action()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin an episode, the action at rest."""
        observation, info = self.env.reset(seed=seed, options=options)
        start = None if info["start"] is None else self._world.starts[info["start"]]
        self._action = self.controls.first_action(start)
        return observation, info

    def step(self, action: np.ndarray):
        """Step with the action that a direction (A,) leads to from the last one."""
        direction = np.clip(np.asarray(action, np.float32), -1, 1)
        self._action = self.controls.move(self._action, direction)
        return self.env.step(self._action)


def play_arguments(env: gym.Env) -> dict[str, Any]:
    """What `gymnasium.utils.play.play` needs to drive a learned world.

    ```python
    import gymnasium as gym
    from gymnasium.utils.play import play
    from irasim_env.gymnasium_play import play_arguments

    play(**play_arguments(gym.make("irasim_env:IRASim/PushT-v0", render_mode="rgb_array")))
    ```

    Args:
        env: A learned world with render_mode "rgb_array".

    Returns:
        `env` (in `KeyboardActions`), `keys_to_action` (arrows, W A S D and the further keys of
        `irasim play`, up to three components at once), `noop`, `fps` and `zoom`.
    """
    if env.render_mode != "rgb_array":
        raise ValueError(
            f'render_mode is {env.render_mode!r}, gymnasium.utils.play needs "rgb_array"; give '
            "it to gymnasium.make"
        )
    wrapped = KeyboardActions(env)
    config = wrapped.env.unwrapped.world.config  # type: ignore[attr-defined]
    return {
        "env": wrapped,
        "keys_to_action": _keys_to_action(wrapped.controls),
        "noop": np.zeros(config.action_dim, np.float32),
        "fps": max(1, round(config.fps)),
        "zoom": max(1, round(_HEIGHT / config.height)),
    }


def _keys_to_action(controls: KeyControls) -> dict[tuple[int, ...], np.ndarray]:
    """Directions by the codes of the keys held together."""
    codes = {
        key: ord(key) if len(key) == 1 else getattr(pygame, f"K_{key.upper()}")
        for key in controls.keys
    }
    by_component = [[*add, *take] for add, take in controls.pairs]
    return {
        tuple(codes[key] for key in held): controls.held_direction(held)
        for count in range(1, min(_MOST_AT_ONCE, len(by_component)) + 1)
        for components in combinations(by_component, count)
        for held in product(*components)
    }
