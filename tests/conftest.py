"""Fixtures: a tiny random world with Push-T's spaces."""

import dataclasses
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pytest
import torch
from torch import nn

from tests.golden import golden_checkpoints as golden_checkpoints
from world_model import (
    Start,
    Starts,
    StreamingConfig,
    StreamingWorld,
    WorldConfig,
    WorldModel,
)
from world_model.config import GroundTruthConfig, ObservationConfig
from world_model.streaming.config import DenoiserConfig
from world_model.streaming.states.conditioner import StateConditioner
from world_model.streaming.states.config import PlanarConfig, StatesConfig

NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_GPU)]

TINY_CONFIG = StreamingConfig(
    name="tiny",
    height=96,
    width=96,
    fps=10.0,
    action_low=(0.0, 0.0),
    action_high=(512.0, 512.0),
    action_names=("x", "y"),
    observations={"agent_pos": ObservationConfig(low=(0.0, 0.0), high=(512.0, 512.0))},
    states=StatesConfig(
        hidden={
            "block_pose": ObservationConfig(
                low=(0.0, 0.0, -1.0, -1.0), high=(512.0, 512.0, 1.0, 1.0)
            )
        },
        planar=PlanarConfig(action=True, points=("agent_pos",), poses=("block_pose",)),
        dynamics_width=32,
    ),
    success_on_termination=True,
    max_episode_steps=300,
    ground_truth=GroundTruthConfig(
        env_id="gym_pusht:gym_pusht/PushT-v0", kwargs={"obs_type": "pixels_agent_pos"}
    ),
    denoiser=DenoiserConfig(
        patch=24,
        width=32,
        depth=2,
        num_heads=2,
        condition_width=32,
        context=3,
        head_width=32,
    ),
)


def without_states(config: StreamingConfig) -> StreamingConfig:
    """The same world, which predicts a frame from pictures and actions alone."""
    return dataclasses.replace(config, states=None)


def with_states(config: StreamingConfig, **changes: Any) -> StreamingConfig:
    """The same world with other fields of `states`."""
    states = dataclasses.replace(config.required_states, **changes)
    return dataclasses.replace(config, states=states)


def with_planar(config: StreamingConfig, **changes: Any) -> StreamingConfig:
    """The same world with other fields of `states.planar`."""
    planar = dataclasses.replace(config.required_states.planar, **changes)
    return with_states(config, planar=planar)


def randomized(world: WorldModel, seed: int = 0) -> WorldModel:
    """Random weights everywhere (fresh ones predict that nothing moves), of a layer's gain below 1
    so that rounding does not grow from step to step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in world.parameters():
            fan_in = parameter.shape[1:].numel() if parameter.ndim > 1 else 16
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.6 / fan_in**0.5 * noise)
        if (
            isinstance(world, StreamingWorld)
            and isinstance(world.conditioner, StateConditioner)
            and world.conditioner.reward is not None
        ):
            last = world.conditioner.reward[-1]
            assert isinstance(last, nn.Linear) and last.bias is not None
            last.bias[1] -= 0.5  # an end now and then, not at once
    return world


def make_starts(config: WorldConfig, count: int = 4, num_frames: int = 3) -> Starts:
    """Clips of noise."""
    rng = np.random.default_rng(0)
    low, high = np.array(config.action_low), np.array(config.action_high)
    clips = []
    for i in range(count):
        actions = rng.uniform(low, high, (num_frames - 1, config.action_dim)).astype(np.float32)
        frames = rng.integers(0, 256, (num_frames, config.height, config.width, 3), np.uint8)
        states = {"agent_pos": rng.uniform(0, 512, (num_frames, 2)).astype(np.float32)}
        clips.append(Start(frames=frames, actions=actions, states=states, seed=i, replay=actions))
    return Starts(clips)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random world that looks like Push-T and runs in a millisecond."""
    path = tmp_path_factory.mktemp("worlds") / "tiny"
    randomized(WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG))).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_world_without_reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_world`, but without a reward head."""
    path = tmp_path_factory.mktemp("worlds") / "tiny_without_reward"
    config = dataclasses.replace(TINY_CONFIG, reward_head=False, success_on_termination=False)
    randomized(WorldModel.create(config, make_starts(config))).save_pretrained(path)
    return path
