"""From environments such as people bring to worlds: collected, trained, stepped, played, measured.

Training is a few steps long: what is shown is that the whole path runs, and that the world's
environment offers what the simulator does.
"""

import json
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import irasim_env  # noqa: F401  registers the ids
from benchmarks.prediction.quality import QualityConfig
from benchmarks.prediction.quality import main as measure_quality
from irasim_env.ground_truth import GroundTruth
from irasim_env.play import PlayConfig
from irasim_env.play import main as play
from policies.actors.actors import load_actor
from policies.actors.episodes import play_in_truth, play_in_world
from tests import brought_environments
from tests.training.test_train import config_for
from training.data.collect import CollectConfig
from training.data.collect import main as collect
from training.data.episodes import read_episode
from training.streaming import states
from training.train import main as train
from world_model import StreamingWorld, WorldModel

KINDS = {
    "Square": {},
    "NoReward": {},
    "OneStep": {},
    "FourWays": {},
    "TwoWheels": {},
    "Buttons": {},
    "ChannelsFirst": {},
    "Grey": {},
    "TwoCameras": {"camera": "wrist"},
    "Odd": {"height": 48, "width": 64},
    "OneNumber": {},
}


@pytest.fixture(scope="module", params=list(KINDS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A kind of environment, its recordings, and the directory of the world trained on them."""
    brought_environments.register()
    kind: str = request.param
    root = tmp_path_factory.mktemp(kind)
    for split in ("train", "val"):
        collect(
            CollectConfig(
                env_id=f"brought/{kind}-v0",
                out=root / "data",
                split=split,  # type: ignore[arg-type]
                episodes=2,
                workers=0,
                **KINDS[kind],
            )
        )
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("CLIPS", 16), ("FRAMES", 8), ("REWARDED", 16)):
            patch.setattr(states, name, count)
        world = train(config_for(root / "data", root / "run", max_steps=2, patch=16))
    return kind, root / "data", world


def load(directory: Path) -> StreamingWorld:
    world = WorldModel.from_pretrained(directory)
    assert isinstance(world, StreamingWorld)
    return world


def test_the_world_offers_the_actions_of_its_simulator(made):
    kind, _, directory = made
    env = gym.make("IRASim/World-v0", world=str(directory), max_episode_steps=5)
    own = gym.make(f"brought/{kind}-v0").action_space
    if isinstance(own, gym.spaces.Box):
        assert env.action_space == gym.spaces.Box(-1, 1, (int(np.prod(own.shape)),), np.float32)
    else:
        assert env.action_space == own
    check_env(env.unwrapped, skip_render_check=True)
    envs = gym.make_vec("IRASim/World-v0", num_envs=3, world=str(directory))
    envs.reset(seed=0)
    _, rewards, *_ = envs.step(envs.action_space.sample())
    assert rewards.shape == (3,)


def test_recorded_actions_and_observations_begin_an_episode(made):
    kind, data, directory = made
    episode = read_episode(data, "val", "000000")
    world = load(directory)
    names = "_".join(["pixels", *world.config.observations])
    env = gym.make("IRASim/World-v0", world=world, obs_type=names)
    obs, _ = env.reset(
        options={
            "frames": episode.frames[:2],
            "actions": episode.actions[:1],
            "observations": {name: values[:2] for name, values in episode.states.items()},
        }
    )
    if kind == "TwoCameras":
        np.testing.assert_allclose(obs["state"], episode.states["state"][1], rtol=1e-4, atol=1e-2)
    env.step(env.action_space.sample())


def test_the_world_is_played_with_its_simulator_beside_it(made, tmp_path, capsys):
    _, _, directory = made
    keys = "right*2 n g" if load(directory).config.choices is None else "right n g d"
    video = tmp_path / "played.mp4"
    play(PlayConfig(world=str(directory), start=0, keys=keys, record=video))
    assert video.is_file()
    assert "steps" in capsys.readouterr().out


def test_the_simulator_beside_it_shows_what_was_recorded(made):
    _, data, directory = made
    world = load(directory)
    truth = GroundTruth(world.config)
    start = world.starts[0]
    truth.reset_to(start)
    np.testing.assert_array_equal(truth.frame, start.frames[-1])
    episode = read_episode(data, *start.episode_id.split("/"))
    at = len(start.actions)
    if at < len(episode.actions):
        truth.step(episode.actions[at])
        np.testing.assert_array_equal(truth.frame, episode.frames[at + 1])
    truth.close()


def test_the_world_is_measured(made, tmp_path):
    kind, data, directory = made
    config = QualityConfig(
        world=str(directory), data=data, out=tmp_path, split="val", videos=1, device="cpu"
    )
    results = measure_quality(config)
    assert results["episodes"]["handed_in"] == (["state"] if kind == "TwoCameras" else [])
    assert ("rewards" in results) == load(directory).config.reward_head
    assert kind != "NoReward" or "rewards" not in results
    assert results["controls"]["shuffle"]["windows"] == 2  # the simulator is replayed
    assert json.loads((tmp_path / "quality.json").read_text())["episodes"] == results["episodes"]


@pytest.mark.parametrize("made", ["FourWays", "TwoWheels", "TwoCameras"], indirect=True)
def test_policies_are_played_in_the_world_and_in_its_simulator(made):
    _, _, directory = made
    world = load(directory)
    env = gym.make("IRASim/World-v0", world=world)
    actor = load_actor(lambda observation: env.action_space.sample(), env)
    there = next(play_in_world(world, actor, [0, 1], max_steps=3, batch=2, seed=0))
    truth = GroundTruth(world.config)
    here = next(play_in_truth(world, truth, actor, [0], max_steps=3, seed=0))
    truth.close()
    assert len(there.rewards) <= 3
    assert len(here.rewards) == 3


@pytest.mark.parametrize("made", ["FourWays", "TwoWheels"], indirect=True)
def test_plans_are_made_of_choices(made, tmp_path, monkeypatch):
    from policies.planning.command import PlanConfig
    from policies.planning.command import main as plan

    _, _, directory = made
    seen = []
    world = load(directory)
    rollout = type(world).rollout

    def watched(self, state, actions, **settings):
        seen.append(np.asarray(actions))
        return rollout(self, state, actions, **settings)

    monkeypatch.setattr(type(world), "rollout", watched)
    settings = {
        "world": str(directory),
        "planner": "cem",
        "candidates": 8,
        "horizon": 3,
        "iterations": 1,
        "episodes": 1,
        "max_steps": 2,
    }
    for env in ("learned", "real"):
        results = plan(PlanConfig(**settings, env=env, device="cpu"))
        assert results["trials"] == 1
    assert seen
    for actions in seen:  # nothing between two choices is tried
        assert set(np.unique(actions)) <= {0, 1}
    with pytest.raises(ValueError, match="has discrete actions, .*--model learned"):
        plan(PlanConfig(**settings, env="real", model="real", device="cpu"))


@pytest.mark.parametrize("made", ["FourWays"], indirect=True)
def test_the_simulator_as_an_environment_takes_choices(made):
    from policies.rl.real_env import RealEnv

    _, _, directory = made
    env = RealEnv(load(directory))
    env.reset(seed=0, options={"start": 0})
    before = env.truth.frame
    env.step(np.int64(0))
    assert not np.array_equal(env.truth.frame, before)
    env.close()


@pytest.mark.parametrize("made", ["Square"], indirect=True)
def test_a_world_whose_starts_have_no_seed_says_why_the_simulator_cannot_stand_beside_it(made):
    from irasim_env.play_session import PlaySession
    from irasim_env.world_controls import controls_of
    from world_model import Starts

    _, _, directory = made
    world = load(directory)
    world.starts = Starts([replace(start, seed=None, replay=None) for start in world.starts])
    session = PlaySession(world, controls_of(world.config), start=0)
    session.toggle_reality()
    assert "no seed of the simulator's reset" in session.message
    assert "recorded elsewhere" in session.message
    session.close()
