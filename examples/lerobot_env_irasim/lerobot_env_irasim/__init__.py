"""Learned worlds in LeRobot; importing this registers `--env.type=irasim` and the policy type
`irasim_actor`."""

from lerobot_env_irasim.configuration_irasim_actor import IRASimActorConfig
from lerobot_env_irasim.environment import IRASimEnv

__all__ = ["IRASimActorConfig", "IRASimEnv"]
