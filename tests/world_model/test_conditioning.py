"""What frames are conditioned on."""

import dataclasses

import torch

from tests.conftest import TINY_CONFIG
from world_model import WorldModel
from world_model.conditioning import ControlAtPlace, Foresight, coordinates, features, join_controls


def test_coordinates_are_centres_of_cells_row_by_row():
    across, down = coordinates(2, 4).unbind(-1)
    assert across.tolist() == 2 * [-0.75, -0.25, 0.25, 0.75]
    assert down.tolist() == 4 * [-0.5] + 4 * [0.5]


def test_features_tell_apart_the_ends_of_the_range():
    """The slowest wave makes half a turn from -1 to 1, so that no two numbers look alike."""
    low, high = features(torch.tensor([[-1.0], [1.0]]), 3)
    assert (low - high).abs().max() > 1.9


def test_without_an_action_before_it_counts_as_the_same_action():
    action, state = torch.tensor([[0.5, -0.5]]), torch.tensor([[0.1, 0.2]])
    none = torch.full_like(action, torch.nan)
    controls = join_controls(action, none, state, state, TINY_CONFIG)
    assert controls.tolist() == join_controls(action, action, state, state, TINY_CONFIG).tolist()
    assert controls.shape[-1] == TINY_CONFIG.control_dim


def test_foresight_learns_a_linear_law_and_begins_at_standing_still():
    """A mass drawn to its target: the next place is linear in the control."""
    generator = torch.Generator().manual_seed(0)
    foresight = Foresight(TINY_CONFIG)
    action, last_action, state, earlier = 2 * torch.rand(4, 512, 2, generator=generator) - 1
    controls = join_controls(action, last_action, state, earlier, TINY_CONFIG)
    assert torch.equal(foresight(controls), state)
    following = state + 0.3 * (action - state) + 0.2 * (state - earlier) + 0.1 * last_action
    optimizer = torch.optim.LBFGS(foresight.parameters(), max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (foresight(controls) - following).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure() < 1e-6


def test_a_place_can_be_found_by_a_control():
    """A map that is bright where the guessed state is: learned in few steps, to the cell."""
    torch.manual_seed(0)
    module = ControlAtPlace(TINY_CONFIG, (12, 12), hidden=32, width=1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    places = coordinates(12, 12)
    acted = torch.ones(64, dtype=torch.bool)
    for _ in range(400):
        guess = 2 * torch.rand(64, 2) - 1
        near = torch.exp(-((places - guess[:, None]) ** 2).sum(-1) / 0.02)
        controls = torch.zeros(64, TINY_CONFIG.control_dim)
        loss = (module(controls, guess, acted)[..., 0] - near).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = places[module(controls, guess, acted)[..., 0].argmax(-1)]
    assert (found - guess).abs().amax(-1).median() < 1 / 12


def test_states_are_seen_only_where_the_config_says_so():
    shape = dataclasses.replace(TINY_CONFIG.denoiser, sees_states=False)
    config = dataclasses.replace(TINY_CONFIG, denoiser=shape)
    assert config.control_dim == config.action_dim
    assert sum(p.numel() for p in WorldModel.create(config).parameters()) < sum(
        p.numel() for p in WorldModel.create(TINY_CONFIG).parameters()
    )
