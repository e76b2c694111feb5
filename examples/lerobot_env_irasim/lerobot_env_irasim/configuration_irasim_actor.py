"""The policy type `irasim_actor`: a policy of irasim-env by its import path."""

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.optim import AdamConfig


@PreTrainedConfig.register_subclass("irasim_actor")
@dataclass
class IRASimActorConfig(PreTrainedConfig):
    """What acts, as `irasim evaluate policy --policy` takes it. LeRobot finds the classes of a
    policy by the names of modules, which are therefore as they are."""

    actor: str = "policies.pusht.family:expert"
    """Import path of a factory `(env, seed) -> policy` or of a callable `observation -> action`;
    or the path of a Stable-Baselines3 model (.zip)."""
    env_id: str = "IRASim/PushT-v0"
    """The environment that it was made for."""
    obs_type: str = "pixels_agent_pos"
    """What it observes there."""
    seed: int = 0
    """Episode n of a run has the seed `seed + n`."""
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(
            ("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY
        )
    )

    @property
    def observation_delta_indices(self) -> None:
        """It sees the present observation only."""

    @property
    def action_delta_indices(self) -> None:
        """It gives one action."""

    @property
    def reward_delta_indices(self) -> None:
        """It sees no reward."""

    def get_optimizer_preset(self) -> AdamConfig:
        """LeRobot asks each policy for one; this one is not trained."""
        return AdamConfig()

    def get_scheduler_preset(self) -> None:
        """None, alike."""

    def validate_features(self) -> None:
        """Check the action.

        Raises:
            ValueError: The environment takes none.
        """
        if self.action_feature is None:
            raise ValueError("irasim_actor needs an environment with the feature 'action'")
