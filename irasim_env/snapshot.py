"""Snapshots of an episode: all that its future depends on."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from irasim_env.task import Outcome
from world_model import WorldModel, WorldState
from world_model.world import Precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """One moment of a `WorldEnv`. Restoring leaves it as it is, so it can be restored often."""

    world: str
    """Fingerprint of the world it belongs to."""
    precision: Precision
    """Of the steps that led here."""
    state: WorldState
    outcome: Outcome
    over: bool
    """The episode had ended."""
    np_random: np.random.Generator
    np_random_seed: int | None


def fingerprint(world: WorldModel) -> str:
    """A digest of a world's config, weights and device: where a snapshot may be restored.

    Continuation is bit for bit on one device only, so the device is part of it. So it is in one
    precision only, but that may be changed between steps: a snapshot keeps it beside this.
    """
    digest = hashlib.blake2b(world.config.to_json().encode(), digest_size=8)
    for name, tensor in sorted(world.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{world.config.name} {digest.hexdigest()} on {world.device}"
