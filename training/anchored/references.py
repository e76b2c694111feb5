"""Chooses the recorded frames that an anchored world keeps, and what makes states near each other.

Dimensions: F frames of all episodes, E episodes, M frames kept, S components of all states, H W
pixels.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from world_model.frames import frames_to_pixels

SHRUNK = 8
"""How many times smaller the pictures are, along each side, whose change states are measured by."""
RIDGE = 0.02
"""Penalty of that fit, in units of the states' own mean square."""
FEWEST_EPISODES = 4
"""A frame's reference is of another episode, and one of so few would teach nothing."""
CANDIDATES = 4
"""Episodes nearest to a frame; training takes its reference from one of them, chosen by chance."""
AT_ONCE = 512


def states_metric(frames: Tensor, states: Tensor, offsets: np.ndarray) -> Tensor:
    """A matrix (S, S) that makes states as far from each other as their pictures differ.

    The pictures' change within an episode is fitted by that of the states, linearly: a joint that
    moves the whole arm counts for more than a finger's.

    Args:
        frames: uint8 (F, H, W, 3).
        states: float32 (F, S).
        offsets: Where episodes begin, and where the last one ends, (E + 1,).
    """
    size = states.shape[1]
    square, cross = states.new_zeros(size, size, dtype=torch.float64), 0.0
    for begin, end in pairwise(offsets):
        small = F.avg_pool2d(frames_to_pixels(frames[begin:end]), SHRUNK).flatten(1).double()
        moves = states[begin:end].double()
        moves = moves - moves.mean(dim=0)
        square = square + moves.T @ moves
        cross = cross + moves.T @ (small - small.mean(dim=0))
    penalty = RIDGE * square.diagonal().mean().clamp(min=1e-9)
    shrunk = square + penalty * torch.eye(size).to(square)
    by = torch.linalg.solve(shrunk, cross)
    values, vectors = torch.linalg.eigh(by @ by.T)
    return ((vectors * values.clamp(min=0).sqrt()) @ vectors.T).to(states)


def choose_frames(placed: Tensor, count: int) -> Tensor:
    """Numbers (M,) of frames whose places (F, S) lie all over what was recorded: each is the one
    farthest from those before it (Gonzalez, 1985)."""
    chosen = [0]
    distance = (placed - placed[0]).square().sum(dim=1)
    for _ in range(min(count, len(placed)) - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (placed - placed[chosen[-1]]).square().sum(dim=1))
    return torch.tensor(chosen, device=placed.device).sort().values


def nearest_of_others(placed: Tensor, kept: Tensor, offsets: np.ndarray) -> Tensor:
    """Of each frame, the kept frames nearest to it, one an episode and none of its own, (F,
    CANDIDATES at most), the nearest first.

    Args:
        placed: (F, S).
        kept: Numbers of the frames kept, (M,).
        offsets: See `states_metric`.

    Raises:
        ValueError: All kept frames are of one episode.
    """
    bounds = torch.as_tensor(offsets, device=placed.device)
    whose = torch.searchsorted(bounds, torch.arange(len(placed)).to(bounds), right=True) - 1
    owner = whose[kept]
    candidates, found = min(CANDIDATES, len(owner.unique()) - 1), []
    if candidates < 1:
        raise ValueError(f"{len(kept)} references, all of one episode: keep more (--references)")
    for begin in range(0, len(placed), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        far = torch.cdist(placed[part], placed[kept])
        far = far.masked_fill(whose[part, None] == owner, torch.inf)
        picks = []
        for _ in range(candidates):
            index = far.argmin(dim=1)
            picks.append(kept[index])
            far = far.masked_fill(owner[index, None] == owner, torch.inf)
        found.append(torch.stack(picks, dim=1))
    return torch.cat(found)
