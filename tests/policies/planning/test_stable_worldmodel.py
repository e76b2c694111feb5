"""stable-worldmodel's solvers over a learned world; its own code runs where it is installed."""

import dataclasses
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

from policies.planning import LearnedRollout, WorldCost
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import RolloutOutput, WorldModel, WorldState


@pytest.fixture(scope="module")
def world() -> WorldModel:
    """A tiny random world whose rewards are not cut, so that they differ."""
    config = dataclasses.replace(TINY_CONFIG, reward_low=-100.0, reward_high=100.0)
    return randomized(WorldModel.create(config, make_starts(config)))


@pytest.fixture(scope="module")
def state(world: WorldModel) -> WorldState:
    starts = [world.starts[b] for b in range(2)]
    return world.start(
        np.stack([s.frames for s in starts]), np.stack([s.actions for s in starts]), [1, 2]
    )


def test_costs_are_the_rewards_of_actions_in_the_environments_units(world, state):
    cost = WorldCost(rollout=LearnedRollout(world=world))
    info = cost.info(state)
    planned = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    repeated = {name: rows[:, None].expand(-1, 3) for name, rows in info.items()}
    costs = cost.get_cost(repeated, planned)
    actions = 256 + 256 * planned.clamp(-1, 1)
    expected = -world.rollout(state, actions).reward.sum(-1)
    torch.testing.assert_close(costs, expected, atol=1e-4, rtol=1e-4)
    # Solvers take the environments in parts, and may hand arrays.
    part = cost.get_cost({name: rows[1:].numpy() for name, rows in repeated.items()}, planned[1:])
    torch.testing.assert_close(part, expected[1:], atol=1e-4, rtol=1e-4)


def test_an_action_block_is_several_actions(world, state):
    cost = WorldCost(rollout=LearnedRollout(world=world))
    planned = torch.linspace(-1, 1, 2 * 3 * 2 * 4).reshape(2, 3, 2, 4)
    actions = cost.actions(planned)
    assert actions.shape == (2, 3, 4, 2)
    torch.testing.assert_close(actions[0, 0, 1], 256 + 256 * planned[0, 0, 0, 2:])


def test_info_must_come_from_the_adapter(world):
    with pytest.raises(ValueError, match="WorldCost.info"):
        WorldCost(rollout=LearnedRollout(world=world)).get_cost({}, torch.zeros(1, 1, 1, 2))


@pytest.fixture
def solvers(monkeypatch) -> ModuleType:
    """The package's own solvers, without what else its __init__ loads (torchvision, data sets)."""
    spec = importlib.util.find_spec("stable_worldmodel")
    if spec is None or importlib.util.find_spec("loguru") is None:
        pytest.skip("needs pip install --no-deps stable-worldmodel==0.1.1 loguru")
    package = ModuleType("stable_worldmodel")
    package.__path__ = list(spec.submodule_search_locations or [])
    monkeypatch.setitem(sys.modules, "stable_worldmodel", package)
    return importlib.import_module("stable_worldmodel.solver")


class Aimed:
    """Rewards nearness to a target that differs by environment, which its state's seed tells."""

    def __init__(self, world: WorldModel):
        self.world = world

    def __call__(self, state: WorldState, actions: torch.Tensor) -> RolloutOutput:
        miss = (actions - targets(state)[:, None, None]) / 256
        reward = -(miss**2).sum(-1)
        return RolloutOutput(reward=reward, terminated=torch.zeros_like(reward).bool())


def targets(state: WorldState) -> torch.Tensor:
    """Where the disc shall go, (B, 2)."""
    return torch.tensor([[100.0, 330.0], [390.0, 200.0]])[state.seeds - 1]


@pytest.mark.parametrize("name", ["CEMSolver", "ICEMSolver", "MPPISolver"])
def test_its_solvers_plan_through_the_adapter(world, state, solvers: ModuleType, name: str):
    cost = WorldCost(rollout=Aimed(world))
    space = gym.spaces.Box(-1, 1, (2, 2), np.float32)  # (environments, A), as it wants it
    settings = {"num_samples": 200, "batch_size": 1, "n_steps": 10, "topk": 10}
    if name == "MPPISolver":  # its spread never narrows
        settings.update(var_scale=0.2, n_steps=40)
    planner = getattr(solvers, name)(cost, **settings)
    config = SimpleNamespace(horizon=3, receding_horizon=1, action_block=2)
    planner.configure(action_space=space, n_envs=2, config=config)
    planned = planner.solve(cost.info(state))["actions"]
    assert planned.shape == (2, 3, 4)
    actions = cost.actions(planned)
    assert actions.shape == (2, 6, 2)
    assert (actions - targets(state)[:, None]).abs().max() < 40
