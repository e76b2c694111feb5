"""Recordings that lack something: no observation but pixels, no reward, episodes of one step, ...

What is trained on each must step, play and be measured.
"""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import irasim_env  # noqa: F401  registers the ids
from benchmarks.prediction.card import CardConfig
from benchmarks.prediction.card import main as write_card
from benchmarks.prediction.endurance import EnduranceConfig
from benchmarks.prediction.endurance import main as measure_endurance
from benchmarks.prediction.quality import QualityConfig, settle
from benchmarks.prediction.quality import main as measure_quality
from benchmarks.speed.command import SpeedConfig
from benchmarks.speed.command import main as measure_speed
from tests.training.test_train import config_for
from training.data.episodes import Episode, write_episode
from training.streaming import states
from training.streaming.describe import data_bounds
from training.train import main
from world_model import StreamingWorld, WorldModel
from world_model.runtime.counter_rng import counted_noise, counted_uniform
from world_model.streaming.state import StreamingState

SHAPE = (48, 48)
# By kind of recording, what its training is asked for besides.
RUN: dict[str, dict[str, Any]] = {
    "pixels_alone": {"num_steps": 3},
    "no_states_wanted": {"self_rollout_from": 0.2, "states": False},
    "no_reward": {},
    "no_reward_with_state": {},
    "constant_reward": {},
    "one_step": {},
    "one_step_among_long_ones_with_state": {},
    "one_episode_each": {},
    "constant_actions_with_state": {},
}


def write_square(root: Path, split: str, kind: str) -> None:
    """Episodes of a square that moves by its action."""
    count = 1 if kind == "one_episode_each" else {"train": 3, "val": 2}[split]
    for i in range(count):
        rng = np.random.default_rng((len(split), i))
        num_steps = 1 if kind.startswith("one_step") else 9
        if "among" in kind and i:
            num_steps = 9
        actions = rng.uniform(-1, 1, (num_steps, 2)).astype(np.float32)
        if kind.startswith("constant_actions"):
            actions[:] = 300
        place, frames = np.array([20.0, 20.0]), []
        for t in range(num_steps + 1):
            frame = np.zeros((*SHAPE, 3), np.uint8)
            x, y = place.astype(int)
            frame[y : y + 8, x : x + 8] = 255
            frames.append(frame)
            place = np.clip(place + 4 * actions[min(t, num_steps - 1)], 0, 40)
        rewards = rng.uniform(size=num_steps)
        if "reward" in kind:
            rewards = np.full(num_steps, 1.0 if "constant" in kind else 0.0)
        states = {}
        if kind.endswith("state"):
            constant = np.full((num_steps + 1, 2), 300.0)
            moving = rng.uniform(size=(num_steps + 1, 2))
            states["arm"] = constant if "constant" in kind else moving
        episode = Episode(
            episode_id=f"{i:06d}",
            frames=np.stack(frames),
            actions=actions,
            rewards=rewards,
            terminated=np.arange(num_steps) == num_steps - 1,
            states=states,
            seed=i,
            env_id="NoSuchSquare-v0",
            policy="random",
            fps=10.0,
        )
        write_episode(root, split, episode)


@pytest.fixture(scope="module", params=list(RUN))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A kind of recording, its directory, and the world that was trained on it."""
    kind = request.param
    root = tmp_path_factory.mktemp(kind)
    for split in ("train", "val"):
        write_square(root / "data", split, kind)
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("CLIPS", 16), ("FRAMES", 8), ("REWARDED", 16)):
            patch.setattr(states, name, count)
        world = main(config_for(root / "data", root / "run", max_steps=3, **RUN[kind]))
    return kind, root / "data", world


def test_the_world_that_is_trained_steps_and_plays(made):
    kind, _, directory = made
    world = WorldModel.from_pretrained(directory)
    assert isinstance(world, StreamingWorld)
    for name, weights in world.state_dict().items():
        assert weights.isfinite().all(), name
    assert world.config.reward_head == ("no_reward" not in kind)
    env = gym.make("IRASim/World-v0", world=str(directory), max_episode_steps=20)
    obs, info = env.reset(seed=3)
    for _ in range(3):
        obs, reward, terminated, _, info = env.step(env.action_space.sample())
        frame = obs["pixels"] if isinstance(obs, dict) else obs
        assert frame.shape == (*SHAPE, 3)
        assert np.isfinite(float(reward))
        assert info["reward_available"] == ("no_reward" not in kind)
        if terminated:  # so few steps of training say anything
            env.reset()
    env.close()
    state = world.begin([0, len(world.starts) - 1], [1, 2])
    assert isinstance(state, StreamingState)
    actions = torch.zeros(2, 3, 4, world.config.action_dim)
    out = world.rollout(state, actions, return_frames=True)
    assert out.frames is not None
    assert out.frames.shape == (2, 3, 4, *SHAPE, 3)
    assert out.reward.shape == (2, 3, 4)
    assert out.reward.isfinite().all()


def test_no_start_is_at_an_episodes_end(made):
    kind, _, directory = made
    starts = WorldModel.from_pretrained(directory).starts
    expected = {
        "one_step": [1, 1],
        "one_step_among_long_ones_with_state": [1, 4],
        "one_episode_each": [4],
    }
    assert [len(start.frames) for start in starts] == expected.get(kind, [4, 4])


@pytest.mark.filterwarnings("error")
def test_the_world_is_measured(made, tmp_path):
    kind, data, directory = made
    world = str(directory)
    config = QualityConfig(
        world=world, data=data, out=tmp_path, split="val", videos=1, device="cpu"
    )
    results = measure_quality(config)
    assert results["config"]["context"] == (1 if kind == "one_step" else 4)
    one = kind == "one_episode_each" or "among" in kind
    assert results["episodes"]["count"] == (1 if one else 2)
    assert ("rewards" in results) == ("no_reward" not in kind)


@pytest.mark.slow_suite
@pytest.mark.parametrize("made", ["pixels_alone", "no_reward"], indirect=True)
def test_speed_and_endurance_are_measured_and_a_card_is_written(made, tmp_path, monkeypatch):
    for module in ("config", "endurance"):
        monkeypatch.setattr(f"benchmarks.prediction.{module}.WARM_UP", 10)
    _, _, directory = made
    world = str(directory)
    measure_speed(
        SpeedConfig(
            world=world, out=directory, batch=(1, 2), steps=2, repeats=1, threads=1, device="cpu"
        )
    )
    measure_endurance(EnduranceConfig(world=world, out=tmp_path, steps=25, device="cpu"))
    assert "Learned" not in write_card(CardConfig(world=world)).read_text()[:20]


def test_quality_takes_what_there_is_and_says_so(tmp_path):
    for kind in ("one_step", "pixels_alone"):
        write_square(tmp_path / kind, "val", kind)
    make = {"world": "x", "out": tmp_path, "split": "val"}
    config = settle(QualityConfig(**make, data=tmp_path / "one_step"))
    assert (config.context, config.episodes) == (1, 2)
    config = settle(QualityConfig(**make, data=tmp_path / "pixels_alone"))
    assert (config.context, config.episodes) == (4, 2)
    with pytest.raises(ValueError, match="no test episodes.*--split val"):
        settle(dataclasses.replace(config, split="test"))


def test_noise_of_no_numbers():
    seeds = torch.arange(3)
    assert counted_noise(seeds, seeds, (2, 0)).shape == (3, 2, 0)
    assert counted_uniform(seeds, seeds, (0,)).shape == (3, 0)
    assert counted_noise(seeds[:0], seeds[:0], (2, 4)).shape == (0, 2, 4)


def test_what_never_changes_has_bounds_that_float32_tells_apart():
    low, high = data_bounds(np.array([[300.0, 0.0, 1.0], [300.0, 0.0, 2.0]]))
    assert (np.array(high, np.float32) - np.array(low, np.float32) > 0.001).all()
    assert (low[2], high[2]) == pytest.approx((0.98, 2.02))


def test_bounds_from_data_are_those_of_actions_that_were_taken(tmp_path):
    write_square(tmp_path, "train", "constant_actions_with_state")
    write_square(tmp_path, "val", "constant_actions_with_state")
    config = config_for(tmp_path, tmp_path / "run", max_steps=1)
    world = WorldModel.from_pretrained(main(config))
    assert world.config.action_low == pytest.approx((297, 297))
