"""How an episode begins: what `reset` was asked for, and what the seed decides.

Dimensions: T frames of a clip, H W pixels, A action components.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from irasim_env.actions import check_actions
from world_model import WorldConfig, WorldModel

RESET_OPTIONS = ("start", "frames", "actions")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How one episode begins."""

    frames: np.ndarray
    """uint8 (T, H, W, 3), the last one is the first observation."""
    actions: np.ndarray
    """float32 (T - 1, A), between those frames."""
    start: int | None
    """Index of the world's start, None where the frames were given."""
    noise_seed: int


def draw_beginning(
    world: WorldModel, np_random: np.random.Generator, options: Mapping[str, Any] | None
) -> Beginning:
    """Decide how an episode begins; what `options` leave open is drawn from `np_random`.

    The noise seed is drawn first, so that the start which a seed picks, asked for with that
    seed, gives the same episode.

    Raises:
        ValueError: unknown or conflicting options, no such start, frames or actions of a
            wrong shape or type, or nothing to start from.
    """
    options = options or {}
    if unknown := sorted(map(str, set(options) - set(RESET_OPTIONS))):
        raise ValueError(
            f"reset got unknown option {unknown[0]!r}; known are {', '.join(RESET_OPTIONS)}"
        )
    if "start" in options and ("frames" in options or "actions" in options):
        raise ValueError(
            "reset got the option 'start' and a clip of its own ('frames', 'actions'); give "
            "one or the other"
        )
    noise_seed = int(np_random.integers(2**31))
    if "frames" in options or "actions" in options:
        frames, actions = _check_clip(world.config, options.get("frames"), options.get("actions"))
        return Beginning(frames=frames, actions=actions, start=None, noise_seed=noise_seed)
    starts = world.starts
    if not len(starts):
        raise ValueError(
            f"world {world.config.name!r} has no starts to reset to; give "
            "options={'frames': uint8 (T, H, W, 3), 'actions': float32 (T-1, A)}"
        )
    if "start" in options:
        index = _index(options["start"], len(starts))
    else:
        index = int(np_random.integers(len(starts)))
    clip = starts[index]
    return Beginning(
        frames=np.asarray(clip.frames),
        actions=np.asarray(clip.actions, np.float32),
        start=index,
        noise_seed=noise_seed,
    )


def _check_clip(config: WorldConfig, frames: Any, actions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check the options `frames` and `actions`."""
    height, width = config.height, config.width
    if frames is None:
        raise ValueError("reset got the option 'actions' without 'frames'; give both, or a 'start'")
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (height, width, 3):
        raise ValueError(
            f"reset got frames of type {frames.dtype} and shape {frames.shape}, this world "
            f"expects uint8 (T, {height}, {width}, 3); resize or crop them"
        )
    if not len(frames):
        raise ValueError("reset got no frames (T is 0), expected at least one")
    expected = (len(frames) - 1, config.action_dim)
    if actions is None and len(frames) > 1:
        raise ValueError(
            f"reset got {len(frames)} frames without the 'actions' between them, of shape "
            f"{expected}; give them, or only the last frame"
        )
    actions = np.zeros(expected, np.float32) if actions is None else actions
    return frames, check_actions(config, actions, expected)


def _index(start: Any, num_starts: int) -> int:
    """Check the option `start`."""
    try:
        index = operator.index(start)
    except TypeError:
        index = -1
    if not 0 <= index < num_starts:
        raise ValueError(
            f"reset got the start {start!r}, this world has {num_starts}: expected an integer "
            f"from 0 to {num_starts - 1}"
        )
    return index
