"""What acts in episodes: policies by import path, callables, and Stable-Baselines3 models.

An actor plays several episodes at once, each in a slot; an episode's actions depend on its own
observations and seed alone, so that they are the same in any batch.

Dimensions: B slots, A action components.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from stable_baselines3.common.policies import BasePolicy

from policies.actors.sb3_file import load_sb3_policy, observes_dict

Observations = np.ndarray | dict[str, np.ndarray]


class Actor(Protocol):
    """Plays episodes in slots."""

    def begin(self, slot: int, seed: int) -> None:
        """A new episode begins in a slot."""
        ...

    def act(self, observations: Observations, slots: Sequence[int]) -> np.ndarray:
        """Actions for those slots of batched observations (B, ...): float32 (len(slots), A), or
        integers where the environment takes these."""
        ...


class CallableActor:
    """A policy for each episode, asked one after the other.

    Args:
        make: Gives the policy `observation -> action` (A,) of an episode from its seed.
        name: Of the policy, for errors.
        action_space: The environment's.
    """

    def __init__(
        self, make: Callable[[int], Callable[[Any], Any]], name: str, action_space: gym.Space
    ):
        self._make, self._name, self._space = make, name, action_space
        self._policies: dict[int, Callable[[Any], Any]] = {}

    def begin(self, slot: int, seed: int) -> None:
        """A new episode begins in a slot."""
        policy = self._make(seed)
        if not callable(policy):
            raise ValueError(
                f"policy {self._name}: its factory gave {type(policy).__name__}, expected a "
                "callable observation -> action"
            )
        self._policies[slot] = policy

    def act(self, observations: Observations, slots: Sequence[int]) -> np.ndarray:
        """Actions (len(slots), ...) for those slots of batched observations (B, ...)."""
        actions = []
        for slot in slots:
            action = np.asarray(self._policies[slot](take(observations, slot)))
            discrete = not isinstance(self._space, gym.spaces.Box)
            action = action if discrete else action.astype(np.float32)
            if (
                action.shape != self._space.shape
                or not np.isfinite(action).all()
                or (discrete and action.dtype.kind not in "biu")
            ):
                raise ValueError(
                    f"policy {self._name}: gave the action {action}, expected "
                    f"{'integers' if discrete else 'finite numbers'} of shape {self._space.shape}"
                )
            actions.append(action)
        return np.stack(actions)


class StableBaselinesActor:
    """A Stable-Baselines3 policy, which acts for the whole batch in one call, without noise.

    Args:
        policy: The policy, or a model that has one.
        key: Name of the observation that it takes; None gives it all of them.
    """

    def __init__(self, policy: BasePolicy, key: str | None = None):
        self._policy, self._key = policy, key

    def begin(self, slot: int, seed: int) -> None:
        """A new episode begins in a slot; the policy remembers nothing."""

    def act(self, observations: Observations, slots: Sequence[int]) -> np.ndarray:
        """Actions (len(slots), ...) for those slots of batched observations (B, ...)."""
        chosen = take(observations, list(slots))
        if self._key is not None and isinstance(chosen, dict):
            chosen = chosen[self._key]
        actions, _ = self._policy.predict(chosen, deterministic=True)
        actions = np.asarray(actions)
        return actions if actions.dtype.kind in "biu" else actions.astype(np.float32)


def load_actor(
    policy: str | Path | Callable[..., Any],
    env: gym.Env,
    *,
    algorithm: str | None = None,
    device: str = "cpu",
    trust_pickle: bool = False,
) -> Actor:
    """An actor for environments like `env`.

    Args:
        policy: "module:name" of a factory `(env, seed) -> policy` or of a plain callable
            `observation -> action`; either of them itself; or a Stable-Baselines3 model (.zip).
        env: For its spaces, and handed to factories.
        algorithm: Of a model file; None finds it in the file.
        device: Where a model computes.
        trust_pickle: See `policies.actors.sb3_file.load_sb3_policy`.

    Raises:
        ValueError: it cannot be imported or loaded, or takes the wrong number of arguments.
    """
    space = env.action_space
    discrete = gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary
    if not (
        (isinstance(space, gym.spaces.Box) and len(space.shape) == 1)
        or (isinstance(space, discrete) and len(space.shape or ()) <= 1)
    ):
        raise ValueError(
            f"the environment's action space is {space}, expected a Box (A,) or discrete actions "
            "of at most one dimension"
        )
    if isinstance(policy, str | Path) and str(policy).endswith(".zip"):
        observed, key = env.observation_space, None
        if isinstance(observed, gym.spaces.Dict) and not observes_dict(policy):
            observed, key = observed["pixels"], "pixels"
        loaded = load_sb3_policy(
            policy,
            observed,
            space,
            algorithm=algorithm,
            device=device,
            trust_pickle=trust_pickle,
        )
        return StableBaselinesActor(loaded, key)
    name = str(policy)
    made = import_policy(policy) if isinstance(policy, str | Path) else policy
    if is_factory(made, name):
        return CallableActor(lambda seed: made(env, seed), name, space)
    return CallableActor(lambda _: made, name, space)


def import_policy(path: str | Path, kind: str = "policy") -> Callable[..., Any]:
    """What "module:name" names; `kind` is what errors call it."""
    module, _, name = str(path).partition(":")
    try:
        if not name:
            raise ValueError("no ':' with a name after it")
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{kind} {str(path)!r} cannot be imported ({error}); expected module:name, as in "
            "my_policies:make (a policy may also be a Stable-Baselines3 model's .zip)"
        ) from error


def is_factory(policy: Any, name: str) -> bool:
    """Whether a callable is a factory (env, seed), rather than a policy (observation)."""
    try:
        signature = inspect.signature(policy)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"policy {name}: is {type(policy).__name__}, expected a factory (env, seed) or a "
            "callable (observation)"
        ) from error
    for arguments, factory in (((None, 0), True), ((None,), False)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return factory
    raise ValueError(
        f"policy {name}: takes {signature}, expected a factory (env, seed) or a callable "
        "(observation)"
    )


def take(observations: Observations, slot: int | list[int]) -> Any:
    """The observations of a slot, or of several still batched."""
    if isinstance(observations, dict):
        return {key: values[slot] for key, values in observations.items()}
    return observations[slot]
