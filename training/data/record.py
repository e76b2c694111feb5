"""One recorded episode of any Gymnasium environment, with any policy.

Time contract: `frames[t]` is the frame before `actions[t]`, which leads to `frames[t + 1]`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from training.data.actions import action_form
from training.data.view import View, choose_view
from world_model.lazy_names import load
from world_model.observed import Part, as_picture, resized
from world_model.tasks import all_tasks, find_task

if TYPE_CHECKING:
    import gymnasium as gym

# An episode that goes on for longer, without a limit from anyone, never ends.
ENDLESS = 100_000


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
    try:
        factory = load(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"policy {path!r} cannot be imported ({error}); expected module:factory, as in "
            "training.data.record:RandomActions"
        ) from error
    if not callable(factory):
        raise ValueError(
            f"policy {path!r} is a {type(factory).__name__}, expected a factory(env, seed)"
        )
    return cast(PolicyFactory, factory)


def make_env(env_id: str, env_kwargs: dict[str, Any], camera: str | None = None) -> "gym.Env":
    """An environment whose frames can be recorded: by its observations, else by rendering.

    Raises:
        ValueError: It is not known or not installed, does not take these arguments, gives no pixels
            either way or none of `camera`, or its actions are of a kind that cannot be recorded.
    """
    env = _make(env_id, env_kwargs)
    try:
        action_form(env.action_space)
        view = choose_view(env.observation_space, camera=camera)
        if view.picture is not None or env.render_mode == "rgb_array":
            return env
        if "rgb_array" not in env.metadata.get("render_modes", []):
            raise ValueError(
                f"observes {env.observation_space} and cannot render rgb_array; expected a picture "
                "as observation or within it, or by render(): implement it, and name rgb_array in "
                'metadata["render_modes"]'
            )
    except ValueError as error:
        env.close()
        raise ValueError(f"{env_id}: {error}") from error
    env.close()
    return _make(env_id, {**env_kwargs, "render_mode": "rgb_array"})


def _make(env_id: str, env_kwargs: dict[str, Any]) -> "gym.Env":
    import gymnasium as gym

    try:
        return gym.make(env_id, **env_kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{env_id}: cannot be made with the arguments {env_kwargs} ({error}); change "
            "--env-kwargs, or let the environment take them (render_mode too, where it renders)"
        ) from error
    except (ImportError, gym.error.Error) as error:
        raise ValueError(
            f"{env_id}: cannot be made ({error}); name it with the module that registers it, as in "
            "module:Name-v0, and put that module's folder on PYTHONPATH or install it"
            f"{_how_to_install(env_id)}"
        ) from error


def _how_to_install(env_id: str) -> str:
    """What installs an environment, where its task says so; else what installs those of tasks."""
    task = find_task(env_id)
    if task is not None and task.extra is not None:
        return f": pip install '{task.extra}'"
    cures = [f"{one.env_id} by pip install '{one.extra}'" for one in all_tasks() if one.extra]
    return f" (as {', '.join(cures)})" if cures else ""


def _frame(env: "gym.Env", observation: Any, view: View) -> np.ndarray:
    """A copy of the current frame, uint8 (H, W, 3)."""
    if view.picture is not None:
        return resized(view.frame(observation), view.size)
    picture: Any = env.render()
    picture = np.asarray(picture)
    part = Part(
        name="render()", shape=picture.shape, dtype=picture.dtype.name, low=-np.inf, high=np.inf
    )
    if not part.picture or picture.dtype != np.uint8:
        raise ValueError(
            f"the environment renders {picture.dtype} {picture.shape}, expected uint8 (H, W, 3)"
        )
    return resized(as_picture(picture, part), view.size)


def record_episode(
    env: "gym.Env",
    policy: Policy,
    *,
    seed: int,
    max_steps: int | None = None,
    hidden: tuple[str, ...] = (),
    view: View | None = None,
) -> dict[str, Any]:
    """Run one episode from `env.reset(seed=seed)`.

    Args:
        env: as `make_env` gives it.
        policy: acts on the environment's observations.
        seed: of the reset.
        max_steps: longest episode; None leaves the end to the environment.
        hidden: numbers of its `info` that are recorded too.
        view: what of its observations is recorded; None is all that can be.

    Returns:
        The arrays of an `Episode`: frames, actions, rewards, terminated, states and hidden.
    """
    view = view or choose_view(env.observation_space)
    form = action_form(env.action_space)
    frames, actions, rewards, terminations, states = [], [], [], [], []
    unseen: list[dict[str, np.ndarray]] = []
    obs, info = env.reset(seed=seed)
    ended = False
    while True:
        frames.append(_frame(env, obs, view))
        states.append(view.numbers(obs))
        unseen.append({key: _numbers(info, key) for key in hidden})
        if ended or len(actions) == max_steps:
            break
        if len(actions) == ENDLESS:
            raise ValueError(
                f"the episode has not ended after {ENDLESS:,} steps; give --max-steps, or register "
                "the environment with max_episode_steps"
            )
        # What is recorded is what is stepped, to the bit.
        taken = form.recorded(policy(obs))
        obs, reward, terminated, truncated, info = env.step(form.stepped(taken))
        actions.append(taken)
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
