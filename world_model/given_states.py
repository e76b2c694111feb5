"""What a recording says of the robot's own state at the frames that an episode begins with.

Where it is handed in it is what a world begins from; where it is not, a world that knows states
reads it off the pictures (states/estimator.py), which is less exact.

Dimensions: B environments, T frames, n components of one observation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_model.config import ObservationConfig, WorldConfig
from world_model.runtime.check_inputs import as_numbers, check_finite

# What lies this many times the largest bound outside of the bounds is in other units: degrees for
# rad, pixels for metres.
FAR_OUT = 3.0


def check_observations(
    config: WorldConfig, observations: Mapping[str, Any] | None, leading: tuple[int, ...]
) -> dict[str, Tensor]:
    """Observations by name as float32 of shape (*leading, n), within their bounds.

    Small excesses are clipped, as actions and predicted observations are. Values on a CUDA device
    are not checked, as everywhere (runtime/check_inputs.py).

    Args:
        config: Of the world that begins there.
        observations: By the names of the world's observations, all of them or some, in the
            recording's own units; None is none.
        leading: (B, T), or (T,) for one clip.

    Raises:
        ValueError: No mapping, an unknown name, another shape, no finite number, or values so far
            out of bounds that they are in other units.
    """
    if observations is None:
        return {}
    if not isinstance(observations, Mapping):
        raise ValueError(
            f"observations are {type(observations).__name__}, expected a dictionary by name, as in "
            f"{{{next(iter(config.observations), 'state')!r}: float32 {(*leading, 'n')}}}"
        )
    checked = {}
    for name, values in observations.items():
        bounds = config.observations.get(name)
        if bounds is None:
            raise ValueError(
                f"observations have {name!r}, which world {config.name!r} does not observe; it "
                f"observes {', '.join(config.observations) or 'pictures only'}: leave it out"
            )
        checked[name] = _check(f"observation {name!r}", bounds, values, leading)
    return checked


def known_states(config: WorldConfig, states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of a recording's states those that a world observes: what may be handed in."""
    return {name: states[name] for name in config.observations if name in states}


def _check(what: str, bounds: ObservationConfig, values: Any, leading: tuple[int, ...]) -> Tensor:
    expected = (*leading, len(bounds.low))
    numbers = as_numbers(what, values, f"float32 {expected}: that of each frame")
    if tuple(numbers.shape) != expected:
        raise ValueError(
            f"{what} has shape {tuple(numbers.shape)}, expected {expected}: that of each frame"
        )
    numbers = numbers.to(torch.float32)
    check_finite(what, numbers, "correct the recording, or leave this observation out")
    low = torch.tensor(bounds.low, device=numbers.device)
    high = torch.tensor(bounds.high, device=numbers.device)
    within = numbers.clamp(low, high)
    if numbers.device.type == "cpu":
        far = FAR_OUT * max(map(abs, (*bounds.low, *bounds.high)))
        wrong = ((numbers - within).abs() > far).nonzero()
        if len(wrong):
            place = tuple(wrong[0].tolist())
            raise ValueError(
                f"{what} is {numbers[place].item():.6g} at {place}, far outside of its bounds "
                f"{low[place[-1]].item():.6g} to {high[place[-1]].item():.6g}; give it in the "
                "units of the recordings that the world was trained on"
            )
    return within
