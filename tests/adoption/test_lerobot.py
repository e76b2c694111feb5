"""LeRobot's own evaluation in a learned world, in an environment that has it."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pytestmark = pytest.mark.adoption
ACTOR = "tests.adoption.test_lerobot:go_right"
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples/lerobot_env_irasim"
# The actor is found there, and this tree's package rather than an installed one.
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(PACKAGE)])}


def go_right(observation) -> np.ndarray:
    """A policy that looks at what LeRobot hands over, and pushes to the right."""
    assert observation["pixels"].shape == (96, 96, 3)
    assert observation["pixels"].dtype == np.uint8
    assert observation["agent_pos"].shape == (2,)
    return np.array([500.0, 256.0])


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("policies") / "right"
    command = [sys.executable, "-m", "lerobot_env_irasim", ACTOR, "--out", str(path)]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    return path


def evaluate(out: Path, *options: str) -> dict:
    """Run `lerobot-eval`; the metrics of all episodes."""
    command = shutil.which("lerobot-eval", path=str(Path(sys.executable).parent))
    assert command is not None
    fixed = ("--env.type=irasim", "--eval.n_episodes=4", "--eval.batch_size=2")
    subprocess.run([command, *fixed, *options, f"--output_dir={out}"], check=True, env=ENVIRONMENT)
    return json.loads((out / "eval_info.json").read_text())["overall"]


def test_the_command_evaluates_a_policy(policy, tmp_path):
    options = (f"--policy.path={policy}", "--env.task=PushT-v0", "--env.episode_length=4")
    figures = evaluate(tmp_path / "out", *options)
    assert figures["n_episodes"] == 4
    assert figures["pc_success"] == 0
    videos = list(tmp_path.glob("out/videos/**/*.mp4"))
    assert len(videos) == 4
    assert evaluate(tmp_path / "again", *options)["avg_sum_reward"] == figures["avg_sum_reward"]


def test_episodes_are_recorded_as_a_dataset(policy, tmp_path):
    # LeRobot 0.6.1 makes its data set anew, and fails, where a second batch follows.
    options = (f"--policy.path={policy}", "--env.episode_length=3", "--eval.recording=true")
    options += ("--eval.n_episodes=2",)
    evaluate(tmp_path / "out", *options)
    (info, *others) = sorted(tmp_path.glob("out/recordings/**/meta/info.json"))
    assert len(others) == 1
    features = json.loads(info.read_text())["features"]
    assert {"action", "next.reward", "next.success"} <= set(features)


def test_a_diffusion_policy_of_its_own_runs(tmp_path):
    options = (
        "--policy.type=diffusion",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--policy.pretrained_backbone_weights=null",
        "--policy.crop_shape=[84,84]",
        "--policy.down_dims=[32,64]",
        "--policy.num_inference_steps=2",
        "--env.episode_length=9",
        "--eval.n_episodes=2",
    )
    assert evaluate(tmp_path / "out", *options)["n_episodes"] == 2


def test_a_world_of_ones_own_is_taken(tiny_world):
    from lerobot.envs import make_env, make_env_config

    importlib.import_module("lerobot_env_irasim")  # registers it, as `lerobot-eval` does
    config = make_env_config("irasim", task="World-v0", world=str(tiny_world), episode_length=7)
    assert config.fps == 10
    assert config.features["agent_pos"].shape == (2,)
    assert config.features_map["pixels"] == "observation.image"
    envs = make_env(config, n_envs=3)["irasim"][0]
    assert envs.num_envs == 3
    assert envs.call("_max_episode_steps") == (7, 7, 7)
    envs.close()


@pytest.mark.parametrize(("world", "cure"), [(None, "--env.world"), ("./nowhere", "pusht")])
def test_a_world_that_is_not_there_is_told_of_in_a_line(world, cure):
    """LeRobot's command prints Gymnasium's errors as they are, and buries others."""
    from lerobot.envs import make_env_config

    importlib.import_module("lerobot_env_irasim")
    with pytest.raises(gym.error.Error, match=cure):
        make_env_config("irasim", task="IRASim/World-v0", world=world)


def test_a_repository_on_the_hub_makes_the_environment(monkeypatch):
    import lerobot.envs.utils
    from lerobot.envs import make_env

    asked = []

    def download(repo_id, filename, **kwargs):
        asked.append(repo_id)
        return str(PACKAGE / filename)

    monkeypatch.setattr(lerobot.envs.utils, "hf_hub_download", download)
    ((envs,),) = (suite.values() for suite in make_env("me/pusht", trust_remote_code=True).values())
    assert asked == ["me/pusht"]
    assert isinstance(envs, gym.vector.VectorEnv)
    assert envs.call("task") == ("pusht",)
    envs.close()
