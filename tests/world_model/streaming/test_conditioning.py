"""What frames are conditioned on."""

from collections.abc import Callable

import pytest
import torch

from tests.conftest import TINY_CONFIG, without_states
from world_model import WorldModel
from world_model.streaming.conditioning import coordinates, features
from world_model.streaming.states.conditioner import MapAroundBodies, join_controls


def test_coordinates_are_centres_of_cells_row_by_row():
    across, down = coordinates(2, 4).unbind(-1)
    assert across.tolist() == 2 * [-0.75, -0.25, 0.25, 0.75]
    assert down.tolist() == 4 * [-0.5] + 4 * [0.5]


def test_features_tell_apart_the_ends_of_the_range():
    """The slowest wave makes half a turn from -1 to 1, so that no two numbers look alike."""
    low, high = features(torch.tensor([[-1.0], [1.0]]), 3)
    assert (low - high).abs().max() > 1.9


def test_without_an_action_before_it_counts_as_the_same_action():
    action, state = torch.tensor([[0.5, -0.5]]), torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0, 1.0]])
    none = torch.full_like(action, torch.nan)
    controls = join_controls(action, none, state, state)
    assert controls.tolist() == join_controls(action, action, state, state).tolist()
    assert controls.shape[-1] == TINY_CONFIG.control_dim


def draws(picture: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
    """Train `MapAroundBodies` to draw picture(places, guess) (B, N); its mean error over that of
    drawing nothing."""
    torch.manual_seed(0)
    module = MapAroundBodies(TINY_CONFIG, (12, 12), hidden=32, width=1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    places = coordinates(12, 12)
    acted = torch.ones(64, dtype=torch.bool)
    shares = []
    for _ in range(400):
        angle = 6.3 * torch.rand(64, 1)
        guess = torch.cat((2 * torch.rand(64, 4) - 1, angle.cos(), angle.sin()), dim=1)
        wanted = picture(places, guess[:, None])
        controls = torch.zeros(64, TINY_CONFIG.control_dim)
        controls[:, 6] = 1.0  # the body was somewhere else before
        known = torch.cat((controls, guess), dim=-1)
        loss = (module(known, acted)[..., 0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shares.append(float(loss.detach() / wanted.square().mean()))
    return sum(shares[-20:]) / 20


@pytest.mark.slow_suite
def test_a_place_can_be_found_by_a_control():
    """A spot where the guessed place is: learned in few steps."""

    def spot(places: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
        return torch.exp(-((places - guess[..., :2]) ** 2).sum(-1) / 0.02)

    assert draws(spot) < 0.1


@pytest.mark.slow_suite
def test_a_body_can_be_drawn_where_and_how_it_lies():
    """A bar at the guessed pose: a fixed picture in the body's own coordinates."""

    def bar(places: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
        offset = places - guess[..., 2:4]
        cos, sin = guess[..., 4], guess[..., 5]
        along = cos * offset[..., 0] + sin * offset[..., 1]
        aside = cos * offset[..., 1] - sin * offset[..., 0]
        return torch.sigmoid(20 * (0.5 - along.abs())) * torch.sigmoid(20 * (0.2 - aside.abs()))

    assert draws(bar) < 0.1


def test_states_are_seen_only_where_the_config_says_so():
    config = without_states(TINY_CONFIG)
    assert config.control_dim == config.action_dim
    assert sum(p.numel() for p in WorldModel.create(config).parameters()) < sum(
        p.numel() for p in WorldModel.create(TINY_CONFIG).parameters()
    )


def test_what_features_keep_does_for_training_too():
    """Octaves are computed once; a world that was first stepped for use is trained on later."""
    with torch.inference_mode():
        features(torch.rand(3, 2), 13)  # a number of octaves that nothing else has asked for
    numbers = torch.rand(3, 2, requires_grad=True)
    features(numbers, 13).sum().backward()
    assert numbers.grad is not None
