"""`--env.type=irasim`: a learned world as an environment of LeRobot."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGE, OBS_STATE, OBS_STR

import irasim_env  # noqa: F401 (registers the ids)

# What LeRobot calls observations that it knows; others keep their names after "observation.".
LEROBOT_NAMES = {"pixels": OBS_IMAGE, "agent_pos": OBS_STATE}


@EnvConfig.register_subclass("irasim")
@dataclass
class IRASimEnv(EnvConfig):
    """Which world; shapes of pictures, states and actions are the world's own."""

    task: str | None = "PushT-v0"
    """Of the ids `IRASim/...`, with or without that: PushT-v0, or World-v0 with a `world`."""
    world: str | None = None
    """A shipped world's name, a directory or a Hub id; None is the id's own."""
    device: str | None = None
    """Where the world runs: cpu (None) or cuda."""
    obs_type: str | None = None
    """Pixels, and what they come with; None is all that the world predicts."""
    episode_length: int | None = None
    """Time limit in steps; None is the world's own."""
    render_mode: str = "rgb_array"
    fps: int = 10
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the world's own figures.

        Raises:
            gymnasium.error.Error: There is no such world, or it has no time limit and none is
                given. LeRobot's command prints these as they are, and a ValueError under a page of
                its own.
        """
        self.task = (self.task or "World-v0").removeprefix("IRASim/")
        kwargs = {name: getattr(self, name) for name in ("world", "device") if getattr(self, name)}
        if self.task == "World-v0" and self.world is None:
            raise gym.error.MissingArgument(
                "--env.task=World-v0 needs --env.world: a shipped name, a directory or a Hub id"
            )
        try:
            with gym.make(self.gym_id, disable_env_checker=True, **kwargs) as env:
                config = env.unwrapped.world.config
        except ValueError as error:
            raise gym.error.Error(f"--env.world={self.world}: {error}") from None
        if self.obs_type is None:
            self.obs_type = "_".join(["pixels", *config.observations])
        if self.episode_length is None:
            self.episode_length = config.max_episode_steps
        if self.episode_length is None:
            raise gym.error.MissingArgument(
                f"world {config.name!r} has no time limit; give --env.episode_length, in steps"
            )
        self.fps = round(config.fps)
        picture = (config.height, config.width, 3)
        self.features = {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(config.action_dim,)),
            "pixels": PolicyFeature(type=FeatureType.VISUAL, shape=picture),
        }
        if self.obs_type != "pixels":
            for name, bounds in config.observations.items():
                shape = (len(bounds.low),)
                self.features[name] = PolicyFeature(type=FeatureType.STATE, shape=shape)
        self.features_map = {
            name: ACTION if name == ACTION else LEROBOT_NAMES.get(name, f"{OBS_STR}.{name}")
            for name in self.features
        }

    @property
    def gym_id(self) -> str:
        """Id of the environment in Gymnasium's registry."""
        return f"IRASim/{self.task}"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment."""
        chosen = {
            "world": self.world,
            "device": self.device,
            "obs_type": self.obs_type,
            "render_mode": self.render_mode,
            "max_episode_steps": self.episode_length,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def create_envs(
        self, n_envs: int, use_async_envs: bool = False
    ) -> dict[str, dict[int, gym.vector.VectorEnv]]:
        """All episodes in one batch of the model: processes of their own would be slower, so
        `use_async_envs` changes nothing."""
        envs = gym.make_vec(
            self.gym_id, num_envs=n_envs, autoreset_mode="SameStep", **self.gym_kwargs
        )
        envs.metadata["render_fps"] = self.fps  # its videos take whole frames a second only
        return {self.type: {0: envs}}
