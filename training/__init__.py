"""Recorded episodes and trainers. Names load their modules when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.data.episodes import Episode, list_episodes, read_episode, write_episode
    from training.data.irasim.arm import arm_actions, scale_arm_actions

__all__ = [
    "Episode",
    "arm_actions",
    "list_episodes",
    "read_episode",
    "scale_arm_actions",
    "write_episode",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    home = "data.irasim.arm" if name.endswith("arm_actions") else "data.episodes"
    return getattr(import_module(f"training.{home}"), name)
