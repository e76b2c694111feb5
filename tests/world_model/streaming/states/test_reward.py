"""The reward that states have, and that their change has."""

import pytest
import torch

from tests.conftest import TINY_CONFIG, with_states
from world_model.streaming.states.reward import StateReward


def make_reward(sees_motion: bool) -> StateReward:
    torch.manual_seed(0)
    return StateReward(with_states(TINY_CONFIG, reward_sees_motion=sees_motion))


@pytest.mark.parametrize("sees_motion", [True, False])
def test_a_reward_for_progress_is_learned_by_one_that_sees_it(sees_motion):
    """What is rewarded is how far a place came along x in the step."""
    reward = make_reward(sees_motion)
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
    assert share < 0.2 if sees_motion else share > 0.8


def test_older_worlds_see_no_motion():
    assert not TINY_CONFIG.required_states.reward_sees_motion
    reward, states = make_reward(False), torch.rand(3, 6)
    assert torch.equal(reward(states, torch.rand(3, 6)), reward(states, states))


def test_bringing_things_together_is_worth_the_same_everywhere():
    """Distances are those of the plane, whatever the picture's aspect, and may be zero."""
    reward = make_reward(True)
    reward.aspect = 0.5
    states = torch.tensor([[0.0, 0.0, 0.3, 0.8, 1.0, 0.0], [0.5, 0.2, 0.8, 1.0, 0.0, 1.0]])
    torch.testing.assert_close(reward.distances(states), torch.tensor([[0.5], [0.5]]))
    same = torch.zeros(1, 6, requires_grad=True)
    reward(same, torch.zeros(1, 6)).sum().backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_fewer_octaves_are_a_smaller_network():
    reward = StateReward(with_states(TINY_CONFIG, reward_frequencies=2))
    first = reward[0]
    assert isinstance(first, torch.nn.Linear)
    assert first.in_features == 6 * 5
    with pytest.raises(ValueError, match="reward_frequencies is 0"):
        with_states(TINY_CONFIG, reward_frequencies=0)
