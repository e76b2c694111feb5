"""Which recorded frames an anchored world keeps, and by what states are near each other."""

import numpy as np
import pytest
import torch

from training.anchored.references import choose_frames, nearest_of_others, states_metric

OFFSETS = np.array([0, 40, 80, 120, 160, 200])


def recordings() -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (200, 32, 64, 3) in which the first state moves half of the picture, the second a
    corner, the third nothing; and the states (200, 3)."""
    states = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    frames = torch.full((200, 32, 64, 3), 128.0)
    frames[:, :, :32] += 100 * states[:, 0, None, None, None]
    frames[:, :8, 56:] += 100 * states[:, 1, None, None, None]
    # What differs from episode to episode only is none of the states' doing.
    frames += 20 * torch.repeat_interleave(torch.rand(5), 40)[:, None, None, None]
    return frames.clamp(0, 255).to(torch.uint8), states


def test_states_are_as_far_apart_as_their_pictures():
    frames, states = recordings()
    metric = states_metric(frames, states, OFFSETS)
    first, second, third = metric.norm(dim=1).tolist()
    # The sides of the areas that move: 32 x 32 against 8 x 8 pixels.
    assert first / second == pytest.approx(4, rel=0.1)
    assert third < 0.05 * second


def test_kept_frames_lie_all_over():
    placed = torch.cat((torch.zeros(95, 2), torch.eye(2), -torch.eye(2), 0.1 * torch.ones(1, 2)))
    assert set(choose_frames(placed, 5).tolist()) == {0, 95, 96, 97, 98}
    assert len(choose_frames(placed, 500)) == 100


def test_a_reference_is_of_another_episode():
    _, states = recordings()
    kept = choose_frames(states, 120)
    found = nearest_of_others(states, kept, OFFSETS)
    owner = np.searchsorted(OFFSETS, np.arange(200), side="right") - 1
    owners = owner[found.numpy()]
    assert found.shape == (200, 4)
    assert (owners != owner[:, None]).all()
    assert all(len(set(row)) == 4 for row in owners)  # one an episode
    far = (states[:, None] - states[found]).norm(dim=-1)
    assert (far.diff(dim=1) >= 0).all()
    others = torch.cdist(states, states[kept])
    others[torch.from_numpy(owner)[:, None] == torch.from_numpy(owner)[kept]] = torch.inf
    torch.testing.assert_close(far[:, 0], others.min(dim=1).values)


def test_references_of_one_episode_are_refused():
    _, states = recordings()
    with pytest.raises(ValueError, match="--references"):
        nearest_of_others(states, torch.arange(20), OFFSETS)
