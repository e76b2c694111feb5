"""Thousands of steps in one vector environment, with resets, snapshots and restores at random."""

import dataclasses
import gc
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import psutil
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence

import irasim_env  # noqa: F401  registers the ids
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import WorldModel

NUM_ENVS = 4


@dataclass
class Memory:
    """What is held at a moment."""

    resident_mb: float
    tensors: int

    @classmethod
    def now(cls) -> "Memory":
        gc.collect()
        tensors = sum(issubclass(type(held), torch.Tensor) for held in gc.get_objects())
        return cls(psutil.Process().memory_info().rss / 2**20, tensors)


def run(world: WorldModel, steps: int, marks: int, seed: int = 0) -> list[Memory]:
    """Steps with all that may happen between them; memory at `marks` moments of them."""
    envs = gym.make_vec(
        "IRASim/World-v0",
        num_envs=NUM_ENVS,
        world=world,
        obs_type="pixels_agent_pos",
        max_episode_steps=37,
        autoreset_mode="Disabled",
    ).unwrapped
    everywhere = range(len(world.starts))
    world.begin(everywhere, everywhere)  # what starts lead to is kept, so many at most
    rng = np.random.default_rng(seed)
    envs.action_space.seed(seed)
    envs.reset(seed=seed)
    kept, memory = [envs.snapshot()], []
    over = np.zeros(NUM_ENVS, bool)
    for step in range(steps):
        if step % (steps // marks) == 0:
            memory.append(Memory.now())
        if (over | (rng.random(NUM_ENVS) < 0.02)).any():
            mask = over | (rng.random(NUM_ENVS) < 0.02)
            mask |= ~mask.any()
            envs.reset(options=options(world, rng) | {"reset_mask": mask})
            over = np.zeros(NUM_ENVS, bool)
        if rng.random() < 0.05:
            kept = [*kept[-3:], envs.snapshot()]
        if rng.random() < 0.05:
            snapshot = kept[rng.integers(len(kept))]
            envs.restore(snapshot)
            if not snapshot.over.any():
                actions = envs.action_space.sample()
                first = envs.step(actions)
                envs.restore(snapshot)
                assert data_equivalence(first, envs.step(actions), exact=True)
                over = first[2] | first[3]
            else:
                over = snapshot.over.copy()
            continue
        _, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert np.isfinite(rewards).all()
        over = terminated | truncated
    memory.append(Memory.now())
    envs.close()
    return memory


def options(world: WorldModel, rng: np.random.Generator) -> dict:
    """Of a reset: nothing, a start, or a clip with or without what was observed."""
    start = int(rng.integers(len(world.starts)))
    clip = world.starts[start]
    given = {"frames": clip.frames, "actions": clip.actions}
    return [{}, {"start": start}, given, given | {"observations": clip.states}][rng.integers(4)]


def check(memory: list[Memory]) -> None:
    """Flat once all that is kept has come to be: caches, snapshots, starts."""
    _, first, *_, last = memory
    assert last.resident_mb - first.resident_mb < 20, memory
    assert max(m.tensors for m in memory[1:]) <= first.tensors + 200, memory


def small_world() -> WorldModel:
    """A random world of small pictures: what is measured here is not what they show."""
    config = dataclasses.replace(
        TINY_CONFIG,
        height=32,
        width=32,
        denoiser=dataclasses.replace(TINY_CONFIG.denoiser, patch=16),
    )
    return randomized(WorldModel.create(config, make_starts(config)))


@pytest.mark.slow_suite
def test_memory_is_flat_over_steps_resets_snapshots_and_restores():
    check(run(small_world(), 240, marks=4))


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_steps():
    check(run(small_world(), 10_000, marks=10))


def test_a_snapshot_of_a_vector_environment_is_restored_in_another(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    make = {"num_envs": 3, "world": world, "max_episode_steps": 6, "autoreset_mode": "SameStep"}
    envs, others = (gym.make_vec("IRASim/World-v0", **make).unwrapped for _ in range(2))
    envs.reset(seed=4)
    envs.action_space.seed(0)
    for _ in range(4):
        envs.step(envs.action_space.sample())
    snapshot = envs.snapshot()
    others.restore(snapshot)
    for _ in range(5):  # over the time limit and the resets after it
        actions = envs.action_space.sample()
        assert data_equivalence(envs.step(actions), others.step(actions), exact=True)


def test_a_snapshot_that_does_not_belong_is_refused(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    envs = gym.make_vec("IRASim/World-v0", num_envs=2, world=world).unwrapped
    env = gym.make("IRASim/World-v0", world=world).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        envs.snapshot()
    envs.reset(seed=0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="expected what snapshot.. of a vector environment"):
        envs.restore(env.snapshot())
    with pytest.raises(ValueError, match="expected what snapshot.. of an environment"):
        env.restore(envs.snapshot())
    three = gym.make_vec("IRASim/World-v0", num_envs=3, world=world).unwrapped
    three.reset(seed=0)
    with pytest.raises(ValueError, match="of 3 environments, these are 2"):
        envs.restore(three.snapshot())
