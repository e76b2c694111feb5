"""Decides, on validation episodes, how far the robot must have moved before a frame is painted."""

from dataclasses import replace

import numpy as np

from benchmarks.metrics.frames import psnr
from training.data.clips import ClipStore
from training.streaming.validate import predict_episodes
from world_model.anchored.world import AnchoredWorld

TRIED = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
"""Values of `PainterConfig.rest_within`."""
SOON = 12
"""Steps that are predicted: later the robot has moved anyway."""


def choose_rest(world: AnchoredWorld, store: ClipStore, count: int) -> dict[float, float]:
    """Give a world the `rest_within` by which its first frames are nearest to recorded ones.

    Args:
        world: With the weights that are kept, and references.
        store: Validation episodes.
        count: Number of episodes to predict, at most.

    Returns:
        Mean PSNR in dB of these frames by each value that was tried.
    """
    found = {}
    for within in TRIED:
        _set(world, within)
        made = predict_episodes(world, store, count, horizon=SOON)
        pairs = (clips[:, made.num_given :] for clips in (made.predicted, made.true))
        ours, true = (clips.reshape(-1, *clips.shape[2:]) for clips in pairs)
        found[within] = float(np.mean([psnr(a, b) for a, b in zip(ours, true, strict=True)]))
    _set(world, max(found, key=found.__getitem__))
    return found


def _set(world: AnchoredWorld, within: float) -> None:
    painter = replace(world.config.painter, rest_within=within)
    world.config = replace(world.config, painter=painter)
    world.weights_changed()
