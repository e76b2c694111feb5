"""Recorded episodes and trainers. Names load their modules when first used."""

from typing import TYPE_CHECKING

from world_model.lazy_names import lazy_names

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

__getattr__ = lazy_names(
    __name__,
    {
        "data.episodes": ["Episode", "list_episodes", "read_episode", "write_episode"],
        "data.irasim.arm": ["arm_actions", "scale_arm_actions"],
    },
)
