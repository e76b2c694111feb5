"""Behaviour cloning for the tabletop: a small network from what is seen to the pusher's moves.

It sees places of blocks and pusher as they are read from a picture (reading.py), so that it learns
in seconds and runs wherever pictures look like the simulator's. It imitates one block pushed to
another; which two it was trained for, it says.

    python -m policies.tabletop.cloning --out policies/tabletop/weights

Dimensions: B moments.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from policies.clone_files import CloneFiles
from policies.tabletop.from_pixels import MOVE, TO, Seen
from policies.tabletop.scene import NAMES, TABLE


@dataclass(frozen=True, kw_only=True)
class CloneConfig:
    """The network, and what it imitates."""

    move: str = MOVE
    to: str = TO
    width: int = 128
    """Of its two hidden layers."""
    demonstrations: int = 0
    """Episodes that it has imitated."""


class CloneNetwork(nn.Module):
    """Places to an action."""

    def __init__(self, config: CloneConfig):
        super().__init__()
        self.config = config
        width, seen = config.width, 4 * (len(NAMES) + 1) + 4
        self.layers = nn.Sequential(
            nn.Linear(seen, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )

    def forward(self, blocks: Tensor, pusher: Tensor) -> Tensor:
        """Actions (B, 2) for places of blocks (B, 4, 2) and pusher (B, 2), m."""
        scale = blocks.new_tensor(TABLE)
        move, to = (blocks[:, NAMES.index(name)] for name in (self.config.move, self.config.to))
        line = nn.functional.normalize(to - move, dim=1)
        off = (pusher - move) / 0.03  # a block's reach
        near = off * torch.exp(-(off**2).sum(1, keepdim=True) / 4)
        all_places = torch.cat((blocks, pusher[:, None]), dim=1)
        from_pusher = (all_places - pusher[:, None]) / scale
        seen = torch.cat(((all_places / scale).flatten(1), from_pusher.flatten(1), line, near), 1)
        return self.layers(seen)


class Clone:
    """Follows a trained network."""

    kind = "clone"
    max_steps: int | None = None

    def __init__(self, network: CloneNetwork):
        self._network, self._seen = network, Seen()

    @torch.inference_mode()
    def __call__(self, observation: Any) -> np.ndarray:
        """The next action (2,)."""
        blocks, pusher = (torch.from_numpy(at).float()[None] for at in self._seen(observation))
        return self._network(blocks, pusher)[0].clamp(-1, 1).numpy()


FILES = CloneFiles(
    shipped=Path(__file__).parent / "weights",
    make=lambda **fields: CloneNetwork(CloneConfig(**fields)),
    what="cloned tabletop policy",
    made_by="python -m policies.tabletop.cloning",
)
save_clone, load_clone = FILES.write, FILES.read


def clone_of(weights: str | Path, seed: int = 0) -> Clone:
    """The policy of a weights file, or of one that is shipped, by its name; it draws nothing."""
    return Clone(FILES.shared(str(weights)))


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """Moments of a pusher's episodes."""

    blocks: np.ndarray
    """float32 (N, 4, 2), m."""
    pushers: np.ndarray
    """float32 (N, 2), m."""
    actions: np.ndarray
    """float32 (N, 2)."""


def demonstrate(config: CloneConfig, first_seed: int) -> Demonstrations:
    """Episodes of the pusher that knows the simulator, places blurred as readings are."""
    from policies.tabletop.recorders import Pusher
    from policies.tabletop.simulator import TabletopSim

    env = TabletopSim(move=config.move, to=config.to, obs_type="state")
    blocks, pushers, actions = [], [], []
    rng = np.random.default_rng(first_seed)
    for seed in range(first_seed, first_seed + config.demonstrations):
        policy = Pusher(env, seed, pace=0.8)
        env.reset(seed=seed)
        for _ in range(100):
            blocks.append(env.poses[:, :2] + rng.normal(0, 0.001, (len(NAMES), 2)))
            pushers.append(env.effector_pos)
            actions.append(policy(None))
            # It also sees how to recover: what is done is not always what was meant.
            slip = rng.normal(0, 0.4, 2) if rng.uniform() < 0.3 else 0.0
            if env.step(np.clip(actions[-1] + slip, -1, 1))[2]:
                break
    arrays = (np.array(each, np.float32) for each in (blocks, pushers, actions))
    return Demonstrations(**dict(zip(("blocks", "pushers", "actions"), arrays, strict=True)))


def fit(network: CloneNetwork, seen: Demonstrations, *, steps: int, seed: int) -> float:
    """Train in place by squared errors (AdamW, rate falling along a cosine); the last loss."""
    rng = np.random.default_rng([seed, 7])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    data = [torch.from_numpy(each) for each in (seen.blocks, seen.pushers, seen.actions)]
    loss = torch.zeros(())
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(len(data[0]), size=256))
        blocks, pushers, actions = (each[rows] for each in data)
        loss = ((network(blocks, pushers) - actions) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(loss.detach())


@dataclass(frozen=True, kw_only=True)
class CloningConfig:
    """Which clones to train."""

    out: Path
    """Directory of their weights."""
    demonstrations: tuple[int, ...] = (20, 1000)
    """Episodes that each imitates."""
    move: str = MOVE
    """The block that is pushed."""
    to: str = TO
    """The block that it is pushed to."""
    steps: int = 6000
    """Steps of the optimizer."""
    seed: int = 0
    """Of weights and batches."""


def main(config: CloningConfig) -> None:
    """Train and write each clone."""
    for count in config.demonstrations:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = CloneNetwork(
                CloneConfig(move=config.move, to=config.to, demonstrations=count)
            )
        seen = demonstrate(network.config, first_seed=3_000_000)  # of no split, of no start
        loss = fit(network, seen, steps=config.steps, seed=config.seed)
        path = config.out / f"clone_{count}.safetensors"
        save_clone(network, path)
        print(f"{path}: {count} episodes, {len(seen.actions)} moments, loss {loss:.4f}")


if __name__ == "__main__":
    main(tyro.cli(CloningConfig, description="Train behaviour clones of the tabletop's pusher."))
