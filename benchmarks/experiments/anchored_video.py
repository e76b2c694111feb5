"""A world from a robot's video: joints from actions, pictures from joints and the first frame.

    python -m benchmarks.experiments.anchored_video --data data/robot --minutes 20

Trains `AnchoredPainter` on pairs of frames of an episode, any distance apart, and scores rollouts
from the first frames of held-out episodes. Rollouts are given actions alone: the joints are a
`JointResponse`'s. The loss is the mean square first, and then its logarithm for each frame, which
makes rest exact; a discriminator of patches may sharpen at the end (docs/lab/video_worlds.md).

Dimensions: F frames of all episodes, B pairs, J joints, H W pixels.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from benchmarks.experiments.adversary import Adversary
from benchmarks.experiments.anchored_painter import AnchoredPainter
from benchmarks.experiments.joint_response import JointResponse
from benchmarks.metrics import gradient_energy, psnr
from training.data.clips import ClipStore

HORIZONS = (1, 2, 4, 8, 16, 32, 63)


@dataclass(frozen=True, kw_only=True)
class AnchoredConfig:
    """One run."""

    data: Path
    """Episodes as `irasim convert` writes them, with splits train and val."""
    out: Path = Path("runs/anchored")
    """Directory for painter.pt and scores.json."""
    state: str = "state"
    """The observation with the joints, as many as the action has targets."""
    minutes: float = 20.0
    """Processor time to train; scoring comes on top."""
    max_steps: int | None = None
    """Optimizer steps in place of it: a run that can be repeated."""
    shrink: int = 1
    """By how much pictures are made smaller: at 2 a rung costs a quarter."""
    channels: int = 48
    """Of the finest cells; coarser ones have two and four times as many."""
    batch: int = 16
    """Pairs an optimizer step."""
    rate: float = 1e-3
    """Learning rate; it falls to nothing over the last 0.4 of the run."""
    log_from: float = 0.5
    """Share of the run after which the loss is the logarithm."""
    floor: float = 2.0
    """Grey levels below which an error hardly counts in it."""
    sharpen_from: float = 1.0
    """Share of the run after which a discriminator of patches sharpens; 1: never."""
    sharpen_weight: float = 0.5
    """Its weight, of the other loss's gradient."""
    anchored_at_start: float = 0.5
    """Share of pairs whose anchor is the episode's first frame; else any before the frame."""
    ema: float = 0.995
    """Decay of the averaged weights, which are scored."""
    seed: int = 0


class Recording:
    """Pictures and predicted joints of a split."""

    def __init__(self, store: ClipStore, state: str, shrink: int):
        if state not in store.states:
            raise ValueError(f"no state {state!r}; there are {', '.join(store.states) or 'none'}")
        pictures = store.frames.permute(0, 3, 1, 2)
        small = [F.avg_pool2d(x.float(), shrink).round().byte() for x in pictures.split(256)]
        self.frames = torch.cat(small)  # (F, 3, H, W)
        self.offsets = [int(x) for x in store.offsets]
        spans = list(zip(self.offsets[:-1], self.offsets[1:], strict=True))
        self.true = [store.states[state][a:b].numpy().astype(np.float64) for a, b in spans]
        self.targets = [store.actions[a:b].numpy().astype(np.float64) for a, b in spans]
        self.joints = torch.empty(0)

    def pictures(self, index: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1]."""
        return self.frames[index].float() / 127.5 - 1


def main(config: AnchoredConfig) -> dict[str, Any]:
    """Train, score, write; returns the scores."""
    train, val = (
        Recording(ClipStore(config.data, split), config.state, config.shrink)
        for split in ("train", "val")
    )
    response = JointResponse(train.true, train.targets)
    middle, spread = (f(np.concatenate(train.true), axis=0) for f in (np.mean, np.std))
    for recording in (train, val):
        run = np.concatenate([response.run(targets) for targets in recording.targets])
        recording.joints = torch.from_numpy((run - middle) / (spread + 1e-3)).float()
    run = np.concatenate([response.run(targets) for targets in val.targets])
    off = np.abs(run - np.concatenate(val.true))
    print(f"joints of held-out episodes, from actions alone: off by {off.mean():.4f} on average")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        height, width = train.frames.shape[2:]
        painter = AnchoredPainter(train.joints.shape[1], height, width, config.channels)
    report = train_painter(painter, train, config)
    for name, recording in (("val", val), ("train", train)):
        report[name] = score(painter, recording)
        print(f"{name}:\n{table(report[name])}")
    config.out.mkdir(parents=True, exist_ok=True)
    torch.save(painter.state_dict(), config.out / "painter.pt")
    report["config"] = asdict(config)
    (config.out / "scores.json").write_text(json.dumps(report, indent=2, default=str) + "\n")
    return report


def train_painter(
    painter: AnchoredPainter, recording: Recording, config: AnchoredConfig
) -> dict[str, Any]:
    """Train for the configured time; leaves the averaged weights in `painter`."""
    draw = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        painter.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=0.01
    )

    def average(mean: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        decay = min(config.ema, float(count) / (float(count) + 10))  # short at first
        return mean.lerp(new, 1 - decay)

    averaged = AveragedModel(painter, avg_fn=average)
    adversary = Adversary(config.sharpen_weight)
    begin, steps, shown, recent = time.process_time(), 0, 0.1, []

    def done() -> float:
        if config.max_steps is not None:
            return steps / config.max_steps
        return (time.process_time() - begin) / (60 * config.minutes)

    while (share := done()) < 1:
        rate = config.rate * min(1.0, (steps + 1) / 50) * min(1.0, max(0.02, (1 - share) / 0.4))
        for group in optimizer.param_groups:
            group["lr"] = rate
        anchors, shows = pairs(recording, config, draw)
        painted, true = paint(painter, recording, anchors, shows), recording.pictures(shows)
        square = (painted - true).square().flatten(1).mean(1)
        if share < config.log_from:
            loss = 20 * square.mean()
        else:
            loss = 0.3 * (square + (config.floor / 127.5) ** 2).log().mean()
        if share >= config.sharpen_from:
            anchor = recording.pictures(anchors)
            adversary.learn(painted, true, anchor)
            loss = loss + adversary.loss(painted, anchor, loss, painter.last.weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(painter)
        steps += 1
        recent.append(square.detach().mean().item())
        if share > shown:
            level = 10 * math.log10(4 / np.mean(recent))
            print(f"{share:.0%}: step {steps}, {level:.1f} dB on training pairs", flush=True)
            shown, recent = shown + 0.1, []
    painter.load_state_dict(averaged.module.state_dict())
    seconds = time.process_time() - begin
    return {"steps": steps, "frames_per_cpu_second": steps * config.batch / seconds}


def pairs(recording: Recording, config: AnchoredConfig, draw: Any) -> tuple[Tensor, Tensor]:
    """Anchors and the later frames to paint, flat numbers (B,) each."""
    offsets = torch.tensor(recording.offsets)
    lengths = offsets.diff()
    episodes = torch.multinomial(lengths.float(), config.batch, True, generator=draw)
    at, back, kind = torch.rand(3, config.batch, generator=draw)
    shows = (at * (lengths[episodes] - 1)).long() + 1
    anchors = torch.where(kind < config.anchored_at_start, 0, (back * shows).long())
    return offsets[episodes] + anchors, offsets[episodes] + shows


def paint(
    painter: AnchoredPainter,
    recording: Recording,
    anchors: Tensor,
    shows: Tensor,
    joints: Tensor | None = None,
) -> Tensor:
    """Frames (B, 3, H, W) for the joints at `shows`, or for others (B, J)."""
    wanted = recording.joints[shows] if joints is None else joints
    with torch.autocast("cpu", torch.bfloat16):
        return painter(recording.pictures(anchors), recording.joints[anchors], wanted)


def score(painter: AnchoredPainter, recording: Recording) -> dict[str, Any]:
    """PSNR of rollouts from first frames beside "nothing moves", sharpness, and PSNR under the
    actions of the episode that is five further on."""
    begins, ends = recording.offsets[:-1], recording.offsets[1:]

    def levels(index: Tensor, make: Callable[[Tensor], Tensor]) -> np.ndarray:
        with torch.no_grad():
            made = torch.cat([make(part) for part in index.split(16)])
        return ((made.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

    rows: dict[str, Any] = {}
    for horizon in HORIZONS:
        episodes = [i for i, (a, b) in enumerate(zip(begins, ends, strict=True)) if a + horizon < b]
        if not episodes:
            continue  # all are over before
        anchors = torch.tensor([begins[i] for i in episodes])
        other = [(i + 5) % len(begins) for i in episodes]
        others = torch.tensor([min(begins[i] + horizon, ends[i] - 1) for i in other])
        number = torch.arange(len(episodes))

        def own(part: Tensor, a: Tensor = anchors, h: int = horizon) -> Tensor:
            return paint(painter, recording, a[part], a[part] + h)

        def swapped(part: Tensor, a: Tensor = anchors, o: Tensor = others) -> Tensor:
            return paint(painter, recording, a[part], a[part], recording.joints[o[part]])

        true = recording.frames[anchors + horizon].permute(0, 2, 3, 1).numpy()
        still = recording.frames[anchors].permute(0, 2, 3, 1).numpy()
        made = levels(number, own)
        rows[str(horizon)] = {
            "psnr": float(psnr(made, true, cap=60).mean()),
            "psnr_still": float(psnr(still, true, cap=60).mean()),
            "psnr_other_actions": float(psnr(levels(number, swapped), true, cap=60).mean()),
            "sharpness": float(gradient_energy(made).sum() / gradient_energy(true).sum()),
            "episodes": len(episodes),
        }
    return rows


def table(rows: dict[str, Any]) -> str:
    """Scores by horizon, one line each."""
    lines = [f"{'step':>5} {'PSNR':>6} {'still':>6} {'gain':>6} {'sharp':>6} {'other':>6}"]
    for horizon, row in rows.items():
        gain = row["psnr"] - row["psnr_still"]
        lines.append(
            f"{horizon:>5} {row['psnr']:6.2f} {row['psnr_still']:6.2f} {gain:+6.2f} "
            f"{row['sharpness']:6.2f} {row['psnr_other_actions']:6.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(AnchoredConfig, description=__doc__))
