"""For a repository on the Hub: `lerobot.envs.make_env("owner/name", trust_remote_code=True)`."""

from lerobot_env_irasim.environment import IRASimEnv


def make_env(n_envs: int = 1, use_async_envs: bool = False, cfg: object = None):
    """The shipped Push-T world as LeRobot's `{suite: {task: VectorEnv}}`."""
    config = cfg if isinstance(cfg, IRASimEnv) else IRASimEnv()
    return config.create_envs(n_envs, use_async_envs)
