"""LeRobot's processors of the policy type `irasim_actor`, which change nothing."""

from typing import Any

from lerobot.processor.factory import make_default_pre_post_processors

from lerobot_env_irasim.configuration_irasim_actor import IRASimActorConfig


def make_irasim_actor_pre_post_processors(
    config: IRASimActorConfig, dataset_stats: dict[str, Any] | None = None
) -> tuple[Any, Any]:
    """Observations and actions stay in the environment's units."""
    return make_default_pre_post_processors(config, dataset_stats)
