"""What the environment of recorded episodes says of them: bounds, discrete actions, its camera."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.data.actions import action_form
from training.data.episodes import read_json
from world_model.choices import ChoicesConfig
from world_model.observed import named_spaces

Bounds = tuple[tuple[float, ...], tuple[float, ...]]
# Bounds beyond this are those of the numbers' type, as np.finfo(np.float32).max, and bound nothing.
BOUNDLESS = 1e15


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What an environment's spaces say."""

    bounds: dict[str, Bounds] = field(default_factory=dict)
    """Of the action (under "action") and of each observation by name, where they are finite."""
    choices: ChoicesConfig | None = None
    """What its discrete actions are."""


def inspect_environment(env_id: str | None, kwargs: dict[str, Any]) -> Environment | None:
    """Look at an environment's spaces; None where there is none, and why, if it cannot be made."""
    import gymnasium as gym

    if env_id is None:
        return None
    try:
        env = gym.make(env_id, **kwargs)
    except Exception as error:  # of what the user has named
        print(f"{env_id} cannot be made here ({error}): bounds are taken from the data")
        return None
    try:
        spaces = {"action": env.action_space, **named_spaces(env.observation_space)}
        choices = action_form(env.action_space).choices
    finally:
        env.close()
    bounds = {name: found for name, space in spaces.items() if (found := _bounds(space))}
    if choices is not None:
        bounds["action"] = ((0.0,) * choices.size, (1.0,) * choices.size)
    return Environment(bounds=bounds, choices=choices)


def environment_bounds(env_id: str | None, kwargs: dict[str, Any]) -> dict[str, Bounds]:
    """Bounds alone; none where the environment cannot be made here."""
    known = inspect_environment(env_id, kwargs)
    return {} if known is None else known.bounds


def collected_pictures(root: Path) -> dict[str, Any]:
    """Which pictures `irasim collect` recorded in a directory: `camera` and `resize` of a
    `GroundTruthConfig`; nothing where something else made it."""
    path = root / "collect.json"
    if not path.is_file():
        return {}
    try:
        config = read_json(path)["runs"][-1]["config"]
        return {"camera": config.get("camera"), "resize": config.get("height") is not None}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is not as irasim collect writes it; restore it") from error


def _bounds(space: Any) -> Bounds | None:
    low, high = (getattr(space, name, None) for name in ("low", "high"))
    if low is None or high is None:
        return None
    low, high = (np.asarray(x, np.float64).reshape(-1) for x in (low, high))
    if not low.size or not (np.abs((low, high)) < BOUNDLESS).all() or not (low < high).all():
        return None
    return tuple(map(float, low)), tuple(map(float, high))
