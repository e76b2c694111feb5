"""DIAMOND's denoiser (Alonso et al., arXiv 2405.12399) on the episodes that our worlds learn from.

Its own public code makes the network, the loss and the samples, read from a checkout of
https://github.com/eloialonso/diamond, none of which is here. What is ours: episodes in our layout,
the actions' embedding (its own has a row for each of a game's buttons, ours is a linear map of
numbers), and the settings that a processor asks for (`TrainConfig`). Time is that of the processor,
so that a shared core counts as much as an idle one. Scores are those of `irasim bench quality`.

    git clone https://github.com/eloialonso/diamond
    python -m benchmarks.experiments.diamond_peer train diamond --data data/pusht_video --out runs/D
    python -m benchmarks.experiments.diamond_peer score diamond --data data/pusht_video --out runs/D

Dimensions: B clips, T frames, A action.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from benchmarks.speed.diamond import load
from training.data.clips import ClipStore

CONTEXT = 4
"""Frames that its denoiser looks at, as published."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train the denoiser for so many minutes of the processor's time."""

    checkout: Annotated[Path, tyro.conf.Positional]
    """Directory of DIAMOND's repository."""
    data: Path
    """Episodes in the published layout, with the split train."""
    out: Path
    """Directory of the run: denoiser.pt and train.json. It goes on where it was stopped."""
    minutes: float = 120.0
    """Minutes of processor time, over all threads."""
    batch: int = 8
    """Clips a step; published is 32, which makes a fourth of the steps in this time."""
    rate: float = 3e-4
    """Learning rate; published is 1e-4, for a run of many hours on a GPU."""
    seed: int = 0
    """Of weights, clips and noise."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Score a trained denoiser as `irasim bench quality` scores a world."""

    checkout: Annotated[Path, tyro.conf.Positional]
    """Directory of DIAMOND's repository."""
    data: Path
    """Episodes in the published layout, with the split test."""
    out: Path
    """Directory of the run."""
    episodes: int = 100
    """Held-out episodes."""
    batch: int = 25
    """Episodes predicted at once."""


def train(config: TrainConfig) -> None:
    """DIAMOND's loss on random clips, with its published optimizer (config/trainer.yaml)."""
    torch.manual_seed(config.seed)
    store = ClipStore(config.data, "train")
    low, high = store.actions.min(dim=0).values, store.actions.max(dim=0).values
    denoiser = make_denoiser(config.checkout, len(low)).train()
    settings = sys.modules["models.diffusion.denoiser"].SigmaDistributionConfig
    denoiser.setup_training(settings(loc=-0.4, scale=1.2, sigma_min=2e-3, sigma_max=20))
    optimizer = torch.optim.AdamW(denoiser.parameters(), config.rate, weight_decay=1e-2, eps=1e-8)
    spent, step = 0.0, 0
    path = config.out / "denoiser.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        denoiser.load_state_dict(saved["denoiser"])
        optimizer.load_state_dict(saved["optimizer"])
        spent, step = saved["spent"], saved["step"]
        torch.manual_seed(config.seed + step)
    config.out.mkdir(parents=True, exist_ok=True)
    # A clip is CONTEXT frames and the next, all of one episode.
    begins = torch.nonzero(torch.arange(len(store.last)) + CONTEXT <= store.last)[:, 0]
    began, losses = time.process_time() - spent, []

    def save() -> None:
        state = {"denoiser": denoiser.state_dict(), "optimizer": optimizer.state_dict()}
        numbers = {"spent": time.process_time() - began, "step": step}
        torch.save(state | numbers | {"low": low, "high": high}, path)
        described = dataclasses.asdict(config) | numbers | {"frames": step * config.batch}
        described |= {"parameters": sum(p.numel() for p in denoiser.parameters())}
        (config.out / "train.json").write_text(json.dumps(described, default=str, indent=1))

    while time.process_time() - began < 60 * config.minutes:
        chosen = begins[torch.randint(len(begins), (config.batch,))]
        at = chosen[:, None] + torch.arange(CONTEXT + 1)
        frames = store.frames[at].permute(0, 1, 4, 2, 3).float().div(127.5).sub(1)
        # Its action t is the one that leads on from frame t, ours the one that led to it.
        actions = scaled(store.actions[(at + 1).clamp(max=len(store.actions) - 1)], low, high)
        valid = torch.ones(at.shape, dtype=torch.bool)
        for group in optimizer.param_groups:
            group["lr"] = config.rate * min(1.0, (step + 1) / 100)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = denoiser(SimpleNamespace(obs=frames, act=actions, mask_padding=valid))
        loss.backward()
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        step += 1
        if step % 50 == 0:
            minutes = (time.process_time() - began) / 60
            print(f"step {step}, {minutes:.1f} min, loss {np.mean(losses[-50:]):.4f}", flush=True)
            save()
    save()


def make_denoiser(checkout: Path, action_dim: int) -> Any:
    """DIAMOND's denoiser as published, which takes actions of so many numbers."""
    denoiser = load(checkout, torch.device("cpu")).denoiser
    inner = denoiser.inner_model
    size = inner.cond_proj[0].in_features // CONTEXT
    inner.act_emb = nn.Sequential(nn.Linear(action_dim, size), nn.Flatten())
    return denoiser.to(memory_format=torch.channels_last)


def scaled(actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Actions as shares of their range in the episodes, in [-1, 1]."""
    return (actions - low) / (high - low) * 2 - 1


class DiamondWorld:
    """The trained denoiser with its published sampler, as far as `bench quality` steps a world.

    Args:
        config: Of a world of the same task, for its size, ground truth and readings.
        denoiser: The trained one.
        low, high: The range of actions (A,) that it was trained with.
    """

    device = torch.device("cpu")

    def __init__(self, config: Any, denoiser: Any, low: Tensor, high: Tensor):
        self.config = config
        module = sys.modules["models.diffusion"]
        # Three Euler steps, as published; sampler and denoiser convert to uint8 levels.
        steps = module.DiffusionSamplerConfig(num_steps_denoising=3)
        self.sampler = module.DiffusionSampler(denoiser.eval(), steps)
        self.low, self.high = low, high

    def start(
        self,
        frames: np.ndarray,
        actions: np.ndarray,
        seeds: Sequence[int],
        observations: Mapping[str, np.ndarray] | None = None,
    ) -> SimpleNamespace:
        """As `WorldModel.start`; too few frames are filled up with the first."""
        del observations
        past = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float().div(127.5).sub(1)
        acts = scaled(torch.from_numpy(np.asarray(actions, np.float32)), self.low, self.high)
        missing = max(0, CONTEXT - past.shape[1])
        past = torch.cat((past[:, :1].expand(-1, missing, -1, -1, -1), past), dim=1)[:, -CONTEXT:]
        acts = torch.cat((acts[:, :1].expand(-1, missing, -1), acts), dim=1)[:, 1 - CONTEXT :]
        torch.manual_seed(int(seeds[0]))
        return SimpleNamespace(frames=past, actions=acts)

    def step_(self, state: SimpleNamespace, action: np.ndarray) -> SimpleNamespace:
        """As `WorldModel.step_`; it predicts neither rewards nor ends."""
        new = scaled(torch.from_numpy(np.asarray(action, np.float32)), self.low, self.high)
        acts = torch.cat((state.actions, new[:, None]), dim=1)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            frame, _ = self.sampler.sample(state.frames, acts)
        frame = frame.float().clamp(-1, 1)
        state.frames = torch.cat((state.frames[:, 1:], frame[:, None]), dim=1)
        state.actions = acts[:, 1:]
        shown = frame.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        nothing = torch.zeros(len(frame))
        return SimpleNamespace(frame=shown, reward=nothing, terminated=nothing > 0, states={})


def score(config: ScoreConfig) -> None:
    """Print and write, as quality.json, what `irasim bench quality` says."""
    from benchmarks import report
    from benchmarks.prediction import quality
    from benchmarks.prediction.config import QualityConfig
    from world_model import WorldModel

    saved = torch.load(config.out / "denoiser.pt", weights_only=True)
    low, high = saved["low"], saved["high"]
    denoiser = make_denoiser(config.checkout, len(low))
    denoiser.load_state_dict(saved["denoiser"])
    like = WorldModel.from_pretrained("pusht_video").config
    world: Any = DiamondWorld(dataclasses.replace(like, reward_head=False), denoiser, low, high)
    asked = quality.settle(
        QualityConfig(
            world="DIAMOND",
            data=config.data,
            split="test",
            episodes=config.episodes,
            batch=config.batch,
            controls=0,
            out=config.out,
            observed_start=False,
        )
    )
    heading = report.heading("diamond_peer score", asked, "cpu")
    heading["world"] = {
        "name": f"DIAMOND, {saved['step']:,} steps in {saved['spent'] / 60:.0f} minutes",
        "evaluations_per_step": len(world.sampler.sigmas) - 1,
        "parameters": sum(parameter.numel() for parameter in denoiser.parameters()),
    }
    results = heading | quality.measure(world, asked)
    report.publish(results, quality.tables(results, world.config), config.out, "quality")


Commands = (
    Annotated[TrainConfig, tyro.conf.subcommand("train")]
    | Annotated[ScoreConfig, tyro.conf.subcommand("score")]
)


def main(config: TrainConfig | ScoreConfig) -> None:
    """Train or score."""
    if isinstance(config, TrainConfig):
        train(config)
    else:
        score(config)


if __name__ == "__main__":
    main(
        tyro.cli(
            Commands,  # pyright: ignore[reportArgumentType]
            prog="python -m benchmarks.experiments.diamond_peer",
            description=__doc__,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    )
