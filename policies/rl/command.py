"""`irasim rl`: learn a policy by PPO or SAC, in a learned world or in the real simulator.

Same algorithm, same number of steps, same starts and wrappers in both (envs.py); at checkpoints the
policy runs in both (checks.py). The same command again goes on where it stopped, and ends
with the same policy, as every checkpoint seeds what follows and begins new episodes.
"""

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecEnv

from irasim_env.snapshot import fingerprint
from policies.rl import run as rl_run
from policies.rl.checks import Check, greedy, read_checks, returns, write_checks
from policies.rl.config import Place, RLConfig
from policies.rl.envs import load_or_record, make_envs
from world_model import WorldModel
from world_model.directories import check_directory

START_SEED = 900_000  # of the first episode that starts are cut from; no world is trained on these
TEST_START_SEED = 950_000


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run made."""

    policy: Path
    """The policy, as Stable-Baselines3 saves it."""
    checks: list[Check] = field(default_factory=list)
    """Returns in both places at checkpoints."""


def main(config: RLConfig) -> Result:
    """Learn, or go on learning; print and write the checks."""
    check_directory(config.out)
    world, test_world = load_worlds(config)
    rl_run.claim(config.out, _settings(config, world))
    form: dict[str, Any] = {"horizon": config.horizon, "reach": config.reach}
    envs = make_envs(
        world,
        config.place,
        config.num_envs,
        **form,
        uncertainty_samples=config.uncertainty_samples,
        penalty=config.penalty,
    )
    batch = min(config.num_envs, config.check_starts)
    places: dict[Place, VecEnv] = {
        place: make_envs(test_world, place, batch, **form) for place in ("learned", "real")
    }
    chosen = range(config.check_starts)
    checks: list[Check] = []
    if rl_run.is_begun(config.out):
        model = rl_run.load(config.out, config.algorithm)
        checks = [one for one in read_checks(config.out) if one.steps <= model.num_timesteps]
        print(f"resumed at step {model.num_timesteps} in {config.out}")
    else:
        model = make_model(config, envs)
    while model.num_timesteps < config.steps:
        rl_run.begin_part(model, envs, config.seed)
        left = config.steps - model.num_timesteps
        model.learn(min(config.check_every, left), reset_num_timesteps=False)
        world_return, real_return = (
            returns(places[place], greedy(model), chosen).tolist() for place in ("learned", "real")
        )
        checks.append(Check(steps=model.num_timesteps, world=world_return, real=real_return))
        write_checks(config.out, checks)
        rl_run.save(config.out, model)
        print(
            f"{checks[-1].steps:>7} steps: return {sum(world_return) / len(chosen):.2f} in the "
            f"world, {sum(real_return) / len(chosen):.2f} in the simulator",
            flush=True,
        )
    for one in (envs, *places.values()):
        one.close()
    return Result(policy=config.out / rl_run.POLICY, checks=checks)


def load_worlds(config: RLConfig) -> tuple[WorldModel, WorldModel]:
    """The world with the starts to learn from, and the same weights with those for testing."""
    world = WorldModel.from_pretrained(config.world, device=config.device or "cpu")
    test_world = copy.copy(world)
    directory = config.starts_dir or config.out
    for one, name, count, seed in (
        (world, "starts", config.starts, START_SEED),
        (test_world, "test_starts", config.test_starts, TEST_START_SEED),
    ):
        path = directory / f"{name}.safetensors"
        one.starts = load_or_record(path, world.config, count, seed=seed)
    return world, test_world


def make_model(config: RLConfig, envs: VecEnv) -> SAC | PPO:
    """A fresh learner; settings chosen in the real simulator (docs/reinforcement.md)."""
    common: dict[str, Any] = {"seed": config.seed, "gamma": 0.97, "device": "cpu"}
    if config.algorithm == "sac":
        return SAC(
            "MlpPolicy",
            envs,
            learning_rate=7e-4,
            buffer_size=config.steps,
            learning_starts=min(1000, config.steps // 10),
            train_freq=1,
            gradient_steps=max(1, round(config.updates_per_step * config.num_envs)),
            policy_kwargs={"net_arch": [128, 128]},
            **common,
        )
    per_env = max(8, min(128, config.check_every // config.num_envs))
    return PPO(
        "MlpPolicy",
        envs,
        learning_rate=5e-4,
        n_steps=per_env,
        batch_size=min(256, per_env * config.num_envs),
        policy_kwargs={"net_arch": [128, 128], "log_std_init": -0.5},
        **common,
    )


def _settings(config: RLConfig, world: WorldModel) -> dict[str, Any]:
    """What must not change when a run goes on; the weights, where it learns in the world."""
    settings = asdict(config) | {"reach": config.resolved_reach(world.config)}
    for name in ("out", "starts_dir"):
        del settings[name]
    if config.place == "learned":
        settings["fingerprint"] = fingerprint(world)
    return settings
