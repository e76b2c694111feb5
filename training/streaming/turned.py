"""Clips turned round and mirrored, for plain video worlds of scenes that act the same that way.

What a world with states learns so is in symmetries.py. Here the whole picture turns, and with it
the actions and observations, whose two numbers go across and down: places or moves.

Dimensions: B clips, T frames.
"""

import dataclasses

import torch
from torch import Tensor

from training.data.clips import Clips
from world_model.streaming.config import StreamingConfig

ACROSS, DOWN, SWAPPED = 1, 2, 4
UNEVEN = 0.01
"""How far from 0 the middle of bounds may be that have it within, as a share of their range."""


def num_ways(config: StreamingConfig) -> int:
    """In how many ways clips can be seen: eight where frames are square, else four.

    Raises:
        ValueError: Actions or observations are not pairs of numbers, across and down, or their
            bounds have another middle than they can be turned about.
    """
    sizes = {name: len(one.low) for name, one in config.observations.items()}
    unfit = [f"{n} of {size} numbers" for n, size in sizes.items() if size != 2]
    unfit += [f"the action of {config.action_dim}"] if config.action_dim != 2 else []
    if unfit:
        raise ValueError(
            "--symmetric turns pictures, and actions and observations with them, which must be "
            f"pairs of numbers across and down; here are {', '.join(unfit)}: leave it out"
        )
    bounds = {name: (one.low, one.high) for name, one in config.observations.items()}
    bounds["the action"] = config.action_low, config.action_high
    for name, (low, high) in bounds.items():
        if any(a < 0 < b and abs(a + b) > UNEVEN * (b - a) for a, b in zip(low, high, strict=True)):
            raise ValueError(
                f"--symmetric turns {name} about the middle of its bounds, which are {low} to "
                f"{high}; moves are turned about 0: record the space with bounds that are even "
                "about it, such as Box(-1, 1, (2,)), or leave --symmetric out"
            )
    square = config.height == config.width and all(
        low[0] == low[1] and high[0] == high[1] for low, high in bounds.values()
    )
    return 8 if square else 4


def turned(clips: Clips, way: int, config: StreamingConfig) -> Clips:
    """Clips seen in one of `num_ways` ways; 0 is as they are."""
    frames = clips.frames
    for bit, axis in ((ACROSS, 3), (DOWN, 2)):
        frames = frames.flip(axis) if way & bit else frames
    frames = frames.transpose(2, 3) if way & SWAPPED else frames
    bounds = {name: (one.low, one.high) for name, one in config.observations.items()}
    return dataclasses.replace(
        clips,
        frames=frames,
        actions=_turned(clips.actions, way, config.action_low, config.action_high),
        states={n: _turned(v, way, *bounds[n]) for n, v in clips.states.items()},
        states_before={n: _turned(v, way, *bounds[n]) for n, v in clips.states_before.items()},
    )


def _turned(pairs: Tensor, way: int, low: tuple[float, ...], high: tuple[float, ...]) -> Tensor:
    """Pairs of numbers (..., 2) within bounds, whose middle is that of the picture."""
    across, down = pairs.unbind(-1)
    across = low[0] + high[0] - across if way & ACROSS else across
    down = low[1] + high[1] - down if way & DOWN else down
    first, second = (down, across) if way & SWAPPED else (across, down)
    return torch.stack((first, second), dim=-1)
