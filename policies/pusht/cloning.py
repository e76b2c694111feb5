"""Behaviour cloning for Push-T: a small network from pixels to the expert's next targets.

The expert chooses pushes at random among good ones, so that the mean of what it might do is no
good: the network gives several sequences of targets and their probabilities (a mixture density
network, Bishop 1994), and the policy follows one of them for a while before it looks again.

Dimension key: B batch, M modes, K targets of a sequence, H W pixels.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.clone_files import CloneFiles
from policies.observed import check_observation

WEIGHTS = Path(__file__).parent / "weights"
SIZE = 96  # pixels a side
UNIT = 100.0  # simulator px: targets relative to the disc, and places relative to the middle


@dataclass(frozen=True, kw_only=True)
class CloneConfig:
    """The network, and how it is trained and followed."""

    width: int = 256
    """Of the hidden layers."""
    modes: int = 8
    """Sequences that it offers, M."""
    targets: int = 12
    """Length of a sequence, K."""
    follow: int = 8
    """Targets of a sequence that the policy follows before it looks again."""
    spread: float = 0.12
    """Standard deviation of each mode, in units of 100 px."""

    def __post_init__(self):
        if not 1 <= self.follow <= self.targets:
            raise ValueError(f"follow is {self.follow}, expected 1 to targets ({self.targets})")


class CloneNetwork(nn.Module):
    """Pixels and the disc's place to sequences of targets."""

    def __init__(self, config: CloneConfig):
        super().__init__()
        self.config = config
        self.eyes = nn.Sequential(
            nn.Conv2d(3, 32, 6, stride=4, padding=1),  # (B, 32, 24, 24)
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),  # (B, 64, 12, 12)
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 16, 3, stride=2, padding=1),  # (B, 16, 6, 6)
            nn.ReLU(),
            nn.Flatten(),
        )
        outputs = config.modes * (1 + 2 * config.targets)
        self.mind = nn.Sequential(
            nn.Linear(16 * 36 + 2, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, outputs),
        )

    def forward(self, frames: Tensor, disc: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, M) and sequences (B, M, K, 2), relative to the disc, in units of 100 px.

        Args:
            frames: uint8 (B, 96, 96, 3).
            disc: (B, 2), simulator px.
        """
        pixels = frames.movedim(-1, 1).float() / 127.5 - 1
        place = (disc.float() - 256) / UNIT
        out = self.mind(torch.cat([self.eyes(pixels), place], dim=1))
        modes = self.config.modes
        return out[:, :modes], out[:, modes:].unflatten(1, (modes, self.config.targets, 2))

    def loss(self, frames: Tensor, disc: Tensor, targets: Tensor) -> Tensor:
        """Negative log likelihood (B,), up to a constant, of the targets (B, K, 2), px."""
        logits, sequences = self(frames, disc)
        wanted = (targets - disc[:, None]) / UNIT
        # The mean over K, not the sum: neighbouring targets say much the same.
        squares = ((sequences - wanted[:, None]) ** 2).sum(-1).mean(-1)  # (B, M)
        log_likelihood = -squares / (2 * self.config.spread**2)
        return -torch.logsumexp(logits.log_softmax(1) + log_likelihood, dim=1)


class Clone:
    """Follows a trained network.

    Args:
        network: A trained one.
        seed: Of its choices among the sequences offered.
    """

    kind = "clone"
    max_steps: int | None = None

    def __init__(self, network: CloneNetwork, seed: int):
        self._network = network
        self._rng = np.random.default_rng([seed, 6])
        self._targets: deque[np.ndarray] = deque()

    @torch.inference_mode()
    def __call__(self, observation: Any) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        if not self._targets:
            seen = check_observation(observation, "agent_pos")
            frame, disc = np.asarray(seen["pixels"]), np.asarray(seen["agent_pos"], np.float32)
            if frame.shape != (SIZE, SIZE, 3):
                raise ValueError(
                    f"the frame has shape {frame.shape}, the cloned policy expects "
                    f"({SIZE}, {SIZE}, 3), as gym-pusht observes it"
                )
            logits, sequences = self._network(
                torch.from_numpy(frame[None]), torch.from_numpy(disc[None])
            )
            shares = logits[0].double().softmax(0).numpy()
            mode = self._rng.choice(len(shares), p=shares / shares.sum())
            targets = disc + UNIT * sequences[0, mode].numpy()
            self._targets.extend(targets[: self._network.config.follow])
        return np.clip(self._targets.popleft(), 0, 512).astype(np.float32)


FILES = CloneFiles(
    shipped=WEIGHTS,
    make=lambda **fields: CloneNetwork(CloneConfig(**fields)),
    what="cloned Push-T policy",
    made_by="python -m benchmarks.pusht.cloning",
)
save_clone, load_clone = FILES.write, FILES.read


def clone_of(weights: str | Path, seed: int) -> Clone:
    """The policy of a weights file, or of one that is shipped, by its name."""
    return Clone(FILES.shared(str(weights)), seed)


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """One episode of the expert."""

    frames: np.ndarray
    """uint8 (T, 96, 96, 3), what is seen before each action."""
    discs: np.ndarray
    """float32 (T, 2), where the disc is then, px."""
    actions: np.ndarray
    """float32 (T, 2), the targets, px."""


def fit(
    network: CloneNetwork,
    demonstrations: Sequence[Demonstration],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train in place; after each step its number from 1 and its loss.

    Args:
        network: Changed in place.
        demonstrations: What to imitate.
        steps: Steps of AdamW; the rate falls to nothing along a cosine.
        batch: Moments in a step.
        rate: The highest rate.
        seed: Of the moments drawn.
    """
    moments = [(e, t) for e, one in enumerate(demonstrations) for t in range(len(one.actions))]
    if not moments:
        raise ValueError("there is nothing to imitate: no demonstration has an action")
    rng = np.random.default_rng([seed, 7])
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for step in range(1, steps + 1):
        chosen = [moments[i] for i in rng.integers(len(moments), size=batch)]
        frames = np.stack([demonstrations[e].frames[t] for e, t in chosen])
        discs = np.stack([demonstrations[e].discs[t] for e, t in chosen])
        targets = np.stack(
            [_next(demonstrations[e].actions, t, network.config.targets) for e, t in chosen]
        )
        loss = network.loss(*(torch.from_numpy(a) for a in (frames, discs, targets))).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield step, float(loss.detach())
    network.eval()


def _next(actions: np.ndarray, t: int, count: int) -> np.ndarray:
    """Actions t to t + count, the episode's last one repeated."""
    return actions[np.minimum(np.arange(t, t + count), len(actions) - 1)]
