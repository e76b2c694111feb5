"""Episodes as recorders write them, made of noise."""

import numpy as np

from training.captured.recorders import STATE_PREFIX, Arrays


def episode(seed: int, length: int = 9, size: int = 24) -> Arrays:
    """One episode of `length` actions, its frames told apart by their numbers."""
    rng = np.random.default_rng(seed)
    return {
        "frames": rng.integers(0, 256, (length + 1, size, size, 3), np.uint8),
        "actions": rng.uniform(0, 512, (length, 2)).astype(np.float32),
        "rewards": rng.uniform(0, 1, length),
        "terminated": np.arange(length) == length - 1,
        f"{STATE_PREFIX}agent_pos": rng.uniform(0, 512, (length + 1, 2)),
        "seed": np.array(seed),
    }
