"""The reward that states have, and that their change has."""

import dataclasses

import pytest
import torch

from tests.conftest import TINY_CONFIG
from world_model.streaming.states.reward import StateReward


def make_reward(sees_change: bool) -> StateReward:
    torch.manual_seed(0)
    shape = dataclasses.replace(TINY_CONFIG.denoiser, reward_sees_change=sees_change)
    return StateReward(dataclasses.replace(TINY_CONFIG, denoiser=shape))


@pytest.mark.parametrize("sees_change", [True, False])
def test_a_reward_for_progress_is_learned_by_one_that_sees_it(sees_change):
    """What is rewarded is how far a place came along x in the step."""
    reward = make_reward(sees_change)
    optimizer = torch.optim.Adam(reward.parameters(), lr=3e-3)
    shares = []
    for _ in range(200):
        states = 1.6 * torch.rand(256, 6) - 0.8
        before = states - 0.2 * (torch.rand(256, 6) - 0.5)
        wanted = 5 * (states - before)[:, 0]
        error = (reward(states, before)[:, 0] - wanted).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        shares.append((error / wanted.square().mean()).item())
    share = sum(shares[-20:]) / 20
    assert share < 0.2 if sees_change else share > 0.8


def test_older_worlds_see_no_change():
    assert not TINY_CONFIG.denoiser.reward_sees_change
    reward, states = make_reward(False), torch.rand(3, 6)
    assert torch.equal(reward(states, torch.rand(3, 6)), reward(states, states))
