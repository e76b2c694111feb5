"""How unsure a world is of a step: how far samples of its prediction disagree.

The world predicts by sampling. Where it knows what an action leads to, other noise gives the same
frame; where it does not, the frames differ. The states that it goes by are not known exactly
either: all samples but the one that is taken go by states a little other (`WorldModel.doubt_`).

Dimensions: B environments, S samples, k actions of a chunk, H W pixels, A action components.
"""

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_model import WorldModel, WorldState


def check_samples(samples: Any) -> int | None:
    """Check the number of samples; None is no uncertainty.

    Raises:
        ValueError: fewer than two, or no whole number.
    """
    if samples is None:
        return None
    try:
        number = operator.index(samples)
    except TypeError:
        number = 0
    if number < 2:
        raise ValueError(
            f"uncertainty_samples is {samples!r}, expected a whole number of at least 2 (one "
            "sample cannot disagree), or None"
        )
    return number


def draw_others(world: WorldModel, state: WorldState, actions: np.ndarray, samples: int) -> Tensor:
    """The frames that S - 1 other samples predict for the next step, in one call.

    Environments' seeds are below 2^31, so that sample s of a seed n, with the stream n + s 2^32,
    shares its noise with no other environment; the same in any batch.

    Args:
        world: The world.
        state: Of B environments; left as it is.
        actions: float32 (B, A), or (B, k, A) for a chunk.
        samples: S, the step that is taken included.

    Returns:
        uint8 (S - 1, B, k, H, W, 3), k = 1 without a chunk.
    """
    rows = torch.arange(len(state)).repeat(samples - 1)
    others = state.select(rows)
    stream = torch.arange(1, samples, device=others.seeds.device).repeat_interleave(len(state))
    others.seeds = others.seeds + (stream << 32)
    world.doubt_(others)
    actions = actions[rows.numpy()]
    if actions.ndim == 2:
        frames = world.step_(others, actions).frame[:, None]
    else:
        frames = world.step_chunk_(others, actions).frames
    return frames.unflatten(0, (samples - 1, len(state)))


def disagreement(others: Tensor, taken: Tensor) -> Tensor:
    """Root of the variance over samples, averaged over pixels, in grey levels.

    Args:
        others: uint8 (S - 1, B, k, H, W, 3) of `draw_others`.
        taken: uint8 (B, k, H, W, 3), the frames of the step that is taken.

    Returns:
        float32 (B,): 0 where all samples agree.
    """
    frames = torch.cat((taken[None], others)).float()  # (S, B, k, H, W, 3)
    return frames.var(0).mean(dim=(1, 2, 3, 4)).sqrt()
