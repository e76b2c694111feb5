"""How an episode begins: what `reset` was asked for, and what the seed decides.

Dimensions: T frames of a clip, H W pixels, A action components.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import InvalidAction

from irasim_env.actions import check_actions
from world_model import WorldConfig, WorldModel
from world_model.given_states import check_observations, known_states

RESET_OPTIONS = ("start", "frames", "actions", "observations")
# Those that describe a clip of the caller's own.
CLIP_OPTIONS = RESET_OPTIONS[1:]


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How one episode begins."""

    frames: np.ndarray
    """uint8 (T, H, W, 3), the last one is the first observation."""
    actions: np.ndarray
    """float32 (T - 1, A), between those frames."""
    observations: dict[str, np.ndarray] = field(default_factory=dict)
    """What was observed beside each frame, by name, float32 (T, n) each, as far as it is known;
    the rest is estimated from the frames."""
    start: int | None
    """Index of the world's start, None where the frames were given."""
    noise_seed: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a `reset` was asked for, checked; what is None is left open."""

    clip: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]] | None = None
    """`frames`, `actions` and `observations` of a `Beginning`."""
    start: int | None = None


def check_options(world: WorldModel, options: Mapping[str, Any] | None) -> Asked:
    """Check the options of a `reset`, before anything is drawn or changed; those of other programs
    are passed over (see `own_options`).

    Raises:
        ValueError: no dictionary, conflicting options, no such start, frames, actions or
            observations of a wrong shape or type, or nothing to start from.
    """
    options = check_mapping(options)
    given = [name for name in CLIP_OPTIONS if name in options]
    if "start" in options and given:
        raise ValueError(
            f"reset got the option 'start' and a clip of its own ({', '.join(map(repr, given))}); "
            "give one or the other (a start carries its own observations)"
        )
    if given:
        return Asked(clip=_check_clip(world.config, *map(options.get, CLIP_OPTIONS)))
    if not len(world.starts):
        raise ValueError(
            f"world {world.config.name!r} has no starts to reset to; give "
            "options={'frames': uint8 (T, H, W, 3), 'actions': float32 (T-1, A)}, and what was "
            "observed beside the frames, 'observations': {name: float32 (T, n)}"
        )
    if "start" in options:
        return Asked(start=_index(options["start"], len(world.starts)))
    return Asked()


def own_options(
    options: Mapping[str, Any] | None,
    warned: set[str],
    known: Sequence[str] = RESET_OPTIONS,
) -> dict[str, Any]:
    """Those options of a `reset` that are ours. Programs that run any environment pass some of
    their own: a warning says that they have no effect here, once for each name.

    Args:
        options: What `reset` got.
        warned: Names that a warning was given for; new ones are added.
        known: Names that are ours.

    Raises:
        ValueError: no mapping, or a name so near to one of ours that it looks misspelt.
    """
    options = check_mapping(options)
    others = sorted({str(name) for name in options} - {*known})
    for name in others:
        if near := get_close_matches(name.lower(), known, n=1, cutoff=0.7):
            raise ValueError(
                f"reset got unknown option {name!r}; did you mean {near[0]!r}? Known are "
                f"{', '.join(known)}"
            )
    if new := [name for name in others if name not in warned]:
        warned.update(new)
        gym.logger.warn(
            f"reset passes over the option {', '.join(map(repr, new))}, which does nothing in a "
            f"learned world; known are {', '.join(known)}"
        )
    return {name: value for name, value in options.items() if name in known}


def check_mapping(options: Any) -> Mapping[str, Any]:
    """The options of a `reset` as a mapping; None is an empty one.

    Raises:
        ValueError: no mapping.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(
            f"reset got options {options!r}, expected a dictionary such as {{'start': 3}}, or None"
        )
    return options


def draw_beginning(world: WorldModel, np_random: np.random.Generator, asked: Asked) -> Beginning:
    """Decide how an episode begins; what is left open is drawn from `np_random`.

    The noise seed is drawn first, so that the start which a seed picks, asked for with that
    seed, gives the same episode.
    """
    noise_seed = int(np_random.integers(2**31))
    if asked.clip is not None:
        frames, actions, observations = asked.clip
        return Beginning(
            frames=frames,
            actions=actions,
            observations=observations,
            start=None,
            noise_seed=noise_seed,
        )
    index = int(np_random.integers(len(world.starts))) if asked.start is None else asked.start
    clip = world.starts[index]
    return Beginning(
        frames=np.asarray(clip.frames),
        actions=np.asarray(clip.actions, np.float32),
        observations=known_states(world.config, clip.states),
        start=index,
        noise_seed=noise_seed,
    )


def _check_clip(
    config: WorldConfig, frames: Any, actions: Any, observations: Any
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Check the options of a clip; actions out of bounds are clipped."""
    height, width = config.height, config.width
    if frames is None:
        given = "actions" if actions is not None else "observations"
        raise ValueError(
            f"reset got the option {given!r} without 'frames'; give both, or a 'start'"
        )
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
    try:
        actions = check_actions(config, actions, expected, cure="correct the recording")
    except InvalidAction as mistake:
        raise ValueError(
            f"reset got 'actions' that do not fit {len(frames)} frames: {mistake}"
        ) from mistake
    try:
        known = check_observations(config, observations, (len(frames),))
    except ValueError as mistake:
        raise ValueError(
            f"reset got 'observations' that do not fit {len(frames)} frames: {mistake}"
        ) from mistake
    return frames, actions, {name: values.cpu().numpy() for name, values in known.items()}


def _index(start: Any, num_starts: int) -> int:
    """Check the option `start`."""
    try:
        index = -1 if isinstance(start, bool) else operator.index(start)
    except TypeError:
        index = -1
    if not 0 <= index < num_starts:
        raise ValueError(
            f"reset got the start {start!r}, this world has {num_starts}: expected an integer "
            f"from 0 to {num_starts - 1}"
        )
    return index
