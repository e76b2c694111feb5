"""Decides, on validation episodes, whether frames take fine detail from the nearest reference."""

from dataclasses import replace

import numpy as np

from benchmarks.metrics.frames import gradient_energy
from training.data.clips import ClipStore
from training.streaming.validate import predict_episodes
from world_model.anchored.world import AnchoredWorld

SOFT = 0.8
"""Share of a recording's gradient energy below which frames are soft. Detail from one reference
costs 0.3 to 0.5 dB where they are, and 1.3 dB where they are sharp (docs/lab/video_worlds.md,
docs/metaworld.md)."""
CONTRASTS = (1.0, 2.0, 3.0, 5.0, 10.0)
"""Of `PainterConfig.detail_contrast` the first by which frames are sharp is taken, or the last."""
LATE = 16
"""Steps after which frames are judged: the first ones are the anchor."""


def choose_detail(world: AnchoredWorld, store: ClipStore, count: int) -> tuple[float, float]:
    """Give a world that takes all from the mean over references its `detail_contrast`.

    Args:
        world: With the weights that are kept.
        store: Validation episodes.
        count: Number of episodes to predict, at most.

    Returns:
        The gradient energy of its frames over that of the recorded ones, as they were before and
        are now.
    """
    before = sharpness = _sharpness(world, store, count)
    for contrast in CONTRASTS:
        if sharpness >= SOFT:
            break
        painter = replace(world.config.painter, detail_contrast=contrast)
        world.config = replace(world.config, painter=painter)
        world.weights_changed()
        sharpness = _sharpness(world, store, count)
    return before, sharpness


def _sharpness(world: AnchoredWorld, store: ClipStore, count: int) -> float:
    """Gradient energy of a world's late frames over that of the recorded ones."""
    made = predict_episodes(world, store, count)
    first = min(made.num_given + LATE, made.true.shape[1]) - 1
    drawn, recorded = (gradient_energy(clips[:, first:]) for clips in (made.predicted, made.true))
    return float(np.mean(drawn / np.maximum(recorded, 1e-6)))
