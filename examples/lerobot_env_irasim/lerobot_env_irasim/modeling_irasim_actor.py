"""The policy of type `irasim_actor`."""

from typing import Any

import gymnasium as gym
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import OBS_STR
from torch import Tensor

import irasim_env  # noqa: F401 (registers the ids)
from lerobot_env_irasim.configuration_irasim_actor import IRASimActorConfig
from lerobot_env_irasim.environment import LEROBOT_NAMES
from policies.actors import load_actor


class IRASimActorPolicy(PreTrainedPolicy):
    """Hands observations to an actor of irasim-env, in the form that it knows.

    Dimensions: B environments, H W pixels, A action components.
    """

    config_class = IRASimActorConfig
    name = "irasim_actor"

    def __init__(self, config: IRASimActorConfig, **kwargs: Any):
        super().__init__(config)
        config.validate_features()
        with gym.make(config.env_id, obs_type=config.obs_type) as env:
            self._actor = load_actor(config.actor, env.unwrapped)
            space = env.observation_space
        self._names = tuple(space) if isinstance(space, gym.spaces.Dict) else ("pixels",)
        self._bare = not isinstance(space, gym.spaces.Dict)
        self._episodes = 0
        self._begun = 0
        # LeRobot's files hold at least one tensor.
        self.register_buffer("nothing_learned", torch.zeros(1))

    def reset(self) -> None:
        """A new rollout begins: so does an episode in each environment."""
        self._episodes += self._begun
        self._begun = 0

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        """Actions float32 (B, A) for pictures (B, 3, H, W) in [0, 1] and states (B, n)."""
        observations = {}
        for name in self._names:
            values = batch[LEROBOT_NAMES.get(name, f"{OBS_STR}.{name}")].cpu()
            if name == "pixels":  # float32 of a level / 255 goes back to the level exactly
                values = (values * 255).round().to(torch.uint8).movedim(1, -1)
            observations[name] = values.numpy()
        size = len(observations["pixels"])
        for slot in range(self._begun, size):
            self._actor.begin(slot, self.config.seed + self._episodes + slot)
        self._begun = size
        seen = observations["pixels"] if self._bare else observations
        return torch.as_tensor(self._actor.act(seen, range(size)))

    def predict_action_chunk(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        """One action as a chunk, (B, 1, A)."""
        return self.select_action(batch)[:, None]

    def get_optim_params(self) -> dict:
        """Nothing to train."""
        return {}

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict | None]:
        """Raises: NotImplementedError, as there is nothing to train."""
        raise NotImplementedError("irasim_actor is not trained; train it with irasim-env")
