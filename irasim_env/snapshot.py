"""Snapshots of an episode: all that its future depends on."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from irasim_env.task import Outcome, Output, WorldTask
from world_model import WorldModel, WorldState
from world_model.runtime.precision import Precision


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


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorSnapshot:
    """One moment of all environments of a `WorldVectorEnv`, which may be restored often."""

    world: str
    """Fingerprint of the world they belong to."""
    precision: Precision
    """Of the steps that led here."""
    state: WorldState
    outcome: Outcome
    over: np.ndarray
    """bool (B,): whose episode had ended."""
    elapsed: np.ndarray
    """int64 (B,): steps of each episode."""
    random: list[tuple[np.random.Generator, int] | None]
    """Generator and seed of each."""


class InWorld:
    """What environments of a world say of it, one or many."""

    _task: WorldTask
    _fingerprint: str | None = None

    @property
    def output(self) -> Output:
        """Whether arrays or tensors are handed out."""
        return self._task.output

    @property
    def world(self) -> WorldModel:
        """The world that is stepped."""
        return self._task.world

    def _world_fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._task.world)
        return self._fingerprint


def check_snapshot(snapshot: Any, kind: type, world: str, precision: Precision) -> None:
    """Refuse a snapshot that does not belong to an environment.

    Args:
        snapshot: What `restore` got.
        kind: What it should be.
        world: Fingerprint of the environment's world.
        precision: In which that world steps.

    Raises:
        ValueError: it is none, is of another world, or of the same on another device or in another
            precision.
    """
    if not isinstance(snapshot, kind):
        raise ValueError(
            f"restore got {type(snapshot).__name__} {snapshot!r:.40}, expected what snapshot() "
            f"of {'a vector' if kind is VectorSnapshot else 'an'} environment over the same world "
            "has returned"
        )
    if snapshot.world != world:
        raise ValueError(
            f"the snapshot is of world {snapshot.world}, this environment runs {world}; restore it "
            "in an environment over the same world on the same device"
        )
    if snapshot.precision != precision:
        raise ValueError(
            f"the snapshot is of steps in {snapshot.precision}, this environment's world steps "
            f"in {precision}, which would lead elsewhere; set "
            f"env.unwrapped.world.precision = {snapshot.precision!r} before restore() "
            "(it may be changed again after it)"
        )


def fingerprint(world: WorldModel, device: str | None = None) -> str:
    """A digest of a world's config, weights and device: where a snapshot may be restored.

    Continuation is bit for bit on one device only, so the device is part of it. So it is in one
    precision only, but that may be changed between steps: a snapshot keeps it beside this.

    Args:
        world: Which one.
        device: Where it will run, if it is not there yet.
    """
    digest = hashlib.blake2b(world.config.to_json().encode(), digest_size=8)
    for name, tensor in sorted(world.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{world.config.name} {digest.hexdigest()} on {device or world.device}"
