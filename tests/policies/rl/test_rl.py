"""Reinforcement learning in miniature: in a tiny world, and in the simulator beside it."""

import copy
import csv
import dataclasses
import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from policies.pusht.rl_task import PushTTask
from policies.rl import command as rl
from policies.rl import run as rl_run
from policies.rl.checks import Check, greedy, read_checks, returns, still, uniform, write_checks
from policies.rl.envs import load_or_record, make_envs
from policies.rl.penalty import UncertaintyPenalty
from tests.conftest import TINY_CONFIG
from world_model import Start, Starts, WorldModel

# Runs that go on from those of other tests are in one process.
pytestmark = pytest.mark.xdist_group("rl")

FORM = {"horizon": 5, "reach": 40}


@pytest.fixture(scope="module")
def starts_dir(tmp_path_factory):
    """Starts that all runs share: a few steps towards the T, as near-goal ones take a while."""
    directory = tmp_path_factory.mktemp("starts")
    for name, seeds in (("starts", (0, 21, 26)), ("test_starts", (36, 54))):
        Starts([short_start(seed) for seed in seeds]).save(directory / f"{name}.safetensors")
    return directory


def short_start(seed):
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels_agent_pos")
    seen = [env.reset(seed=seed)[0]]
    actions = np.tile(np.float32(env.unwrapped.block.position), (3, 1))
    seen += [env.step(action)[0] for action in actions]
    env.close()
    return Start(
        frames=np.stack([obs["pixels"] for obs in seen]),
        actions=actions,
        states={"agent_pos": np.array([obs["agent_pos"] for obs in seen], np.float32)},
        seed=seed,
        replay=actions,
    )


@pytest.fixture(scope="module")
def config(tiny_world, starts_dir, tmp_path_factory):
    return rl.RLConfig(
        world=str(tiny_world),
        out=tmp_path_factory.mktemp("runs") / "sac",
        starts_dir=starts_dir,
        steps=48,
        check_every=16,
        num_envs=2,
        horizon=5,
        starts=3,
        test_starts=2,
        check_starts=2,
    )


@pytest.fixture(scope="module")
def world(config):
    return rl.load_worlds(config)[0]


@pytest.mark.parametrize("place", ["learned", "real"])
def test_task_is_the_same_in_both_places(world, place):
    envs = make_envs(world, place, 2, **FORM)
    assert envs.observation_space.shape == (10,)
    assert (envs.action_space.low, envs.action_space.high) == (pytest.approx(-1), pytest.approx(1))
    envs.seed(1)
    envs.set_options({"start": 2})
    observation = envs.reset()
    assert [info["start"] for info in envs.unwrapped.reset_infos] == [2, 2]
    assert envs.observation_space.contains(observation[0])
    agent = world.starts[2].states["agent_pos"][-1]
    if place == "real":  # the tiny world's idea of where the disc is means nothing
        np.testing.assert_allclose((observation[0, :2] + 1) * 256, agent, atol=0.1)
    for _ in range(5):
        observation, rewards, dones, infos = envs.step(np.zeros((2, 2), np.float32))
        assert observation.shape == (2, 10)
        assert rewards.dtype == np.float32
    assert dones.all()
    assert all(info["terminal_observation"].shape == (10,) for info in infos)
    envs.close()


class Recorder(DummyVecEnv):
    """Remembers the actions that it gets."""

    def step_async(self, actions):
        self.got = actions
        super().step_async(actions)


def test_actions_are_relative_to_the_disc(world):
    from policies.rl.real_env import RealEnv

    inside = Recorder([lambda: RealEnv(world, obs_type="pixels_agent_pos")])
    envs = PushTTask(inside, 40)
    envs.reset()
    at = inside.envs[0].truth.env.unwrapped.agent.position
    envs.step(np.array([[0.5, -1.0]], np.float32))
    np.testing.assert_allclose(inside.got[0], (at[0] + 20, at[1] - 40), atol=1e-3)
    for _ in range(30):  # to a corner: targets stay in bounds
        envs.step(np.array([[1.0, 1.0]], np.float32))
    assert inside.got.max() <= 512
    envs.close()


def test_uncertainty_is_taken_off_the_reward(world):
    plain = make_envs(world, "learned", 2, **FORM, uncertainty_samples=2)
    dear = make_envs(world, "learned", 2, **FORM, uncertainty_samples=2, penalty=3.0)
    for envs in (plain, dear):
        envs.seed(0)
        envs.reset()
    action = np.full((2, 2), 0.3, np.float32)
    _, rewards, _, infos = plain.step(action)
    _, penalised, _, told = dear.step(action)
    uncertainty = [info["uncertainty"] for info in infos]
    assert min(uncertainty) > 0
    np.testing.assert_allclose(penalised, rewards - 3 * np.array(uncertainty), rtol=1e-5)
    assert [info["reward"] for info in told] == rewards.tolist()


def test_a_penalty_needs_an_uncertainty(world):
    with pytest.raises(ValueError, match="give uncertainty_samples"):
        make_envs(world, "learned", 1, **FORM, penalty=1.0)
    with pytest.raises(ValueError, match="real simulator has no uncertainty"):
        make_envs(world, "real", 1, **FORM, uncertainty_samples=2)
    unaware = UncertaintyPenalty(make_envs(world, "learned", 1, **FORM), 1.0)
    unaware.reset()
    with pytest.raises(ValueError, match="no info\\['uncertainty'\\]"):
        unaware.step(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="0 or more"):
        UncertaintyPenalty(unaware, -1.0)


def test_returns_do_not_depend_on_the_batch(world):
    alone, batch = (make_envs(world, "real", num_envs, **FORM) for num_envs in (1, 2))
    starts = [2, 0, 1]
    one, two = returns(alone, still(2), starts), returns(batch, still(2), starts)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (3,)
    assert (one > 0).all()  # in these the T touches its goal
    np.testing.assert_array_equal(
        returns(alone, uniform(0, 2), starts), returns(alone, uniform(0, 2), starts)
    )


def test_a_run_checks_saves_and_is_found_finished(config, capsys):
    result = rl.main(config)
    assert [check.steps for check in result.checks] == [16, 32, 48]
    assert all(len(check.real) == len(check.world) == 2 for check in result.checks)
    assert isinstance(SAC.load(result.policy), SAC)
    saved = json.loads((config.out / "config.json").read_text())
    assert saved["settings"]["seed"] == 0
    assert "fingerprint" in saved["settings"]
    assert {"torch", "stable-baselines3"} <= set(saved["versions"])
    with (config.out / "checks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert list(rows[0]) == ["steps", "start", "world_return", "real_return"]
    assert (config.out / "exploitation.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list(config.out.glob("replay_buffer_*.pkl"))) == 1
    before = result.policy.read_bytes()
    capsys.readouterr()
    again = rl.main(config)
    assert "resumed at step 48" in capsys.readouterr().out
    assert result.policy.read_bytes() == before
    assert [check.steps for check in again.checks] == [16, 32, 48]
    # What was learned in the world runs in the simulator, and the other way round.
    model, world = rl_run.load(config.out, "sac"), rl.load_worlds(config)[1]
    real = returns(make_envs(world, "real", 2, horizon=config.horizon), greedy(model), [0, 1])
    np.testing.assert_allclose(real, result.checks[-1].real, atol=1e-3)


@pytest.mark.slow_suite
@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_a_run_that_stopped_ends_with_the_same_policy(config, algorithm, tmp_path, monkeypatch):
    config = dataclasses.replace(config, algorithm=algorithm, steps=32, seed=5)
    whole = rl.main(dataclasses.replace(config, out=tmp_path / "whole"))
    stopped = dataclasses.replace(config, out=tmp_path / "stopped")

    save, saved = rl_run.save, []

    def save_and_stop(directory, model):
        save(directory, model)
        saved.append(model.num_timesteps)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rl_run, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            rl.main(stopped)
    assert saved == [16]
    resumed = rl.main(stopped)
    assert [check.steps for check in resumed.checks] == [16, 32]
    kind = {"sac": SAC, "ppo": PPO}[algorithm]
    ours = kind.load(resumed.policy).policy.state_dict()
    theirs = kind.load(whole.policy).policy.state_dict()
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())
    assert resumed.checks == whole.checks


def test_learning_in_the_simulator(config, tmp_path):
    result = rl.main(dataclasses.replace(config, place="real", steps=16, out=tmp_path / "real"))
    assert [check.steps for check in result.checks] == [16]


def test_another_run_in_the_directory_is_refused(config, tmp_path):
    config = dataclasses.replace(config, out=tmp_path / "run", steps=16)
    rl.main(config)
    with pytest.raises(ValueError, match="with seed 0, asked for is 3"):
        rl.main(dataclasses.replace(config, seed=3))


def test_another_world_under_the_name_is_refused(config, tmp_path):
    """Going on in a world of other weights would mix two."""
    world = WorldModel.create(TINY_CONFIG)
    world.save_pretrained(tmp_path / "world")
    config = dataclasses.replace(
        config, world=str(tmp_path / "world"), out=tmp_path / "run", steps=16
    )
    rl.main(config)
    for parameter in world.parameters():
        parameter.data += 0.1
    world.save_pretrained(tmp_path / "world")
    with pytest.raises(ValueError, match="with fingerprint"):
        rl.main(config)


def test_checks_are_read_as_written(tmp_path):
    checks = [
        Check(steps=10, real=[1.0, 2.0], world=[3.0, 4.5]),
        Check(steps=20, real=[0.0, 2.25], world=[7.0, 9.0]),
    ]
    write_checks(tmp_path, checks)
    assert read_checks(tmp_path) == checks
    assert [check.gap for check in checks] == [2.25, 6.875]


def test_starts_of_another_number_are_refused(starts_dir, world):
    with pytest.raises(ValueError, match="holds 3 starts, expected 9"):
        load_or_record(starts_dir / "starts.safetensors", world.config, 9, seed=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"check_starts": 60}, "check_starts is 60"),
        ({"check_every": 0}, "check_every is 0"),
        ({"horizon": 0}, "horizon is 0"),
        ({"reach": 0}, "reach is 0"),
    ],
)
def test_impossible_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        rl.RLConfig(**kwargs)


def test_a_reach_beyond_the_picture_is_refused(world):
    with pytest.raises(ValueError, match="within \\(0, 512\\]"):
        make_envs(world, "learned", 1, horizon=5, reach=600)


def test_a_world_without_a_task_is_told_what_it_lacks(world):
    other = copy.copy(world)
    other.config = dataclasses.replace(world.config, ground_truth=None)
    with pytest.raises(ValueError, match="reinforcement learning needs a task"):
        make_envs(other, "learned", 1, horizon=5)


def test_help_is_quick_and_tells_the_options():
    run = (
        "import sys\nfrom irasim_env import console\ntry:\n    console.run(['rl', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "print('heavy', {'torch', 'stable_baselines3'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert "heavy set()" in done.stdout
    for flag in ("--place {learned,real}", "--algorithm {sac,ppo}", "--penalty", "--check-every"):
        assert flag in done.stdout
