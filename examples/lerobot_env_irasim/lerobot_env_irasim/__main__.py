"""Write a policy of irasim-env as a directory that `lerobot-eval --policy.path` takes."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from lerobot.envs.utils import env_to_policy_features
from lerobot.utils.constants import ACTION

from lerobot_env_irasim.configuration_irasim_actor import IRASimActorConfig
from lerobot_env_irasim.environment import IRASimEnv
from lerobot_env_irasim.modeling_irasim_actor import IRASimActorPolicy
from lerobot_env_irasim.processor_irasim_actor import make_irasim_actor_pre_post_processors


@dataclass(frozen=True)
class WriteConfig:
    """Options."""

    actor: tyro.conf.Positional[str]
    """Import path of the policy, as `irasim evaluate policy --policy` takes it."""
    out: Path
    """Directory to write."""
    seed: int = 0
    """Episode n of a run has the seed `seed + n`."""


def main(config: WriteConfig) -> None:
    """Write the policy, for Push-T."""
    features = env_to_policy_features(IRASimEnv())
    action = {ACTION: features.pop(ACTION)}
    chosen = IRASimActorConfig(
        actor=config.actor,
        seed=config.seed,
        device="cpu",
        input_features=features,
        output_features=action,
    )
    IRASimActorPolicy(chosen).save_pretrained(config.out)
    for processor in make_irasim_actor_pre_post_processors(chosen):
        processor.save_pretrained(config.out)
    print(f"{config.out}: lerobot-eval --policy.path={config.out} --env.type=irasim")


if __name__ == "__main__":
    try:
        main(tyro.cli(WriteConfig, description=__doc__))
    except ValueError as wrong:  # says what to do
        sys.exit(f"lerobot_env_irasim: {wrong}")
