"""One recorded episode of any Gymnasium environment, with any policy.

Time contract: `frames[t]` is what is seen before `actions[t]`, which leads to `frames[t + 1]`.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

if TYPE_CHECKING:
    import gymnasium as gym


class Policy(Protocol):
    """What acts in an environment.

    It may carry `kind` (a name for its episodes) and `max_steps` (how long they are worth
    recording).
    """

    def __call__(self, observation: Any, /) -> np.ndarray:
        """The action for an observation."""
        ...


PolicyFactory = Callable[["gym.Env", int], Policy]


class RandomActions:
    """Random actions of the environment's action space."""

    kind = "random"

    def __init__(self, env: "gym.Env", seed: int):
        self._space = env.action_space
        self._space.seed(seed)

    def __call__(self, observation: Any) -> np.ndarray:
        """A random action (A,)."""
        return self._space.sample()


def load_policy(path: str) -> PolicyFactory:
    """The policy factory that an import path "module:factory" names."""
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"policy {path!r} cannot be imported ({error}); expected module:factory, as in "
            "policies.pusht:mixture"
        ) from error
    if not callable(factory):
        raise ValueError(
            f"policy {path!r} is a {type(factory).__name__}, expected a factory(env, seed)"
        )
    return cast(PolicyFactory, factory)


def make_env(env_id: str, env_kwargs: dict[str, Any]) -> "gym.Env":
    """An environment whose frames can be recorded: by its observations, else by rendering.

    Raises:
        ValueError: It is not known or not installed, does not take these arguments, gives no pixels
            either way, or its actions are no vector.
    """
    import gymnasium as gym

    try:
        env = gym.make(env_id, **env_kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{env_id}: cannot be made with the arguments {env_kwargs} ({error}); change "
            "--env-kwargs"
        ) from error
    except (ImportError, gym.error.Error) as error:
        raise ValueError(
            f"{env_id}: cannot be made ({error}); name it with the module that registers it, as in "
            "gym_pusht:gym_pusht/PushT-v0, and install that module (that one: "
            "pip install 'irasim-env[pusht]')"
        ) from error
    if not isinstance(env.action_space, gym.spaces.Box) or len(env.action_space.shape) != 1:
        raise ValueError(f"{env_id}: action space is {env.action_space}, expected a Box (A,)")
    if _observes_pixels(env) or env.render_mode == "rgb_array":
        return env
    if "rgb_array" not in env.metadata.get("render_modes", []):
        raise ValueError(
            f"{env_id}: observes {env.observation_space} and cannot render rgb_array; expected "
            'pixels (H, W, 3) as observation, under the key "pixels", or by render()'
        )
    env.close()
    return gym.make(env_id, **{**env_kwargs, "render_mode": "rgb_array"})


def _observes_pixels(env: "gym.Env") -> bool:
    import gymnasium as gym

    space = env.observation_space
    if isinstance(space, gym.spaces.Dict):
        space = space.spaces.get("pixels", space)
    return space.dtype == np.uint8 and len(space.shape or ()) == 3


def _frame(env: "gym.Env", obs: Any, observed: bool) -> np.ndarray:
    """A copy of what is seen now, uint8 (H, W, 3)."""
    frame = (obs["pixels"] if isinstance(obs, dict) else obs) if observed else env.render()
    frame = np.array(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise ValueError(
            f"the environment {'observes' if observed else 'renders'} {frame.dtype} {frame.shape}, "
            "expected uint8 (H, W, 3)"
        )
    return frame


def record_episode(
    env: "gym.Env",
    policy: Policy,
    *,
    seed: int,
    max_steps: int | None = None,
    hidden: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Run one episode from `env.reset(seed=seed)`.

    Args:
        env: as `make_env` gives it.
        policy: acts on the environment's observations.
        seed: of the reset.
        max_steps: longest episode; None leaves the end to the environment.
        hidden: numbers of its `info` that are recorded too.

    Returns:
        The arrays of an `Episode`: frames, actions, rewards, terminated, states and hidden.
    """
    space = env.action_space
    observed = _observes_pixels(env)
    frames, actions, rewards, terminations, states = [], [], [], [], []
    unseen: list[dict[str, np.ndarray]] = []
    obs, info = env.reset(seed=seed)
    ended = False
    while True:
        frames.append(_frame(env, obs, observed))
        named = obs.items() if isinstance(obs, dict) else [("state", obs)]
        states.append({k: np.array(v, np.float64) for k, v in named if np.ndim(v) == 1})
        unseen.append({key: _numbers(info, key) for key in hidden})
        if ended or len(actions) == max_steps:
            break
        # What is recorded is what is stepped, to the bit.
        action = np.asarray(policy(obs), dtype=np.float32)
        if not space.contains(action.astype(space.dtype)):
            raise ValueError(f"the policy's action {action} is not in {space}")
        obs, reward, terminated, truncated, info = env.step(action.astype(space.dtype))
        actions.append(action)
        rewards.append(float(reward))
        terminations.append(bool(terminated))
        ended = terminated or truncated
    return {
        "frames": np.stack(frames),
        "actions": np.stack(actions),
        "rewards": np.array(rewards, dtype=np.float64),
        "terminated": np.array(terminations, dtype=bool),
        "states": {key: np.stack([state[key] for state in states]) for key in states[0]},
        "hidden": {key: np.stack([state[key] for state in unseen]) for key in hidden},
    }


def _numbers(info: dict[str, Any], key: str) -> np.ndarray:
    """A vector of `info`, float64 (n,)."""
    if key not in info:
        raise ValueError(f"info has no {key!r} to record; it has {', '.join(sorted(info))}")
    value = np.array(info[key], np.float64)
    if value.ndim > 1:
        raise ValueError(f"info[{key!r}] has shape {value.shape}, expected numbers (n,)")
    return value.reshape(-1)
