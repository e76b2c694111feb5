"""Validation: predicted episodes beside true ones, in figures and as videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.metrics.frames import PSNR_CAP, psnr
from training.data.clips import ClipStore
from training.run.directory import write_result
from training.run.resumable import ResumableTrainer
from world_model import WorldModel
from world_model.video import write_video


@dataclass(frozen=True, eq=False)
class Validation:
    """Predictions of validation episodes from their first frames."""

    true: np.ndarray
    """uint8 (E, T, H, W, 3)"""
    predicted: np.ndarray
    """uint8 (E, T, H, W, 3), the given frames included"""
    num_given: int

    def figures(self, horizons: tuple[int, ...] = (1, 4, 16, 32)) -> dict[str, float]:
        """Mean PSNR in dB at some horizons, "still" being that of the last given frame."""
        figures = {}
        for horizon in horizons:
            t = self.num_given + horizon - 1
            if t >= self.true.shape[1]:
                continue
            figures[f"psnr/{horizon}"] = _mean(self.predicted[:, t], self.true[:, t])
            still = self.predicted[:, self.num_given - 1]
            figures[f"psnr_still/{horizon}"] = _mean(still, self.true[:, t])
        return figures

    def write_video(self, path: Path, fps: float, count: int = 4) -> None:
        """The first episodes, true above predicted."""
        rows = [
            np.concatenate(list(clips[:count]), axis=2) for clips in (self.true, self.predicted)
        ]
        frames = np.concatenate(rows, axis=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames.repeat(2, 1).repeat(2, 2), fps, lossless=False)


def predict_episodes(
    world: WorldModel, store: ClipStore, count: int, num_given: int = 4, horizon: int = 32
) -> Validation:
    """Predict up to `count` episodes that are long enough, by their recorded actions.

    Where episodes are short, fewer frames are given and fewer predicted, down to one each.
    """
    num_frames = num_given + horizon
    lengths = np.diff(store.offsets)
    chosen = np.flatnonzero(lengths >= min(num_frames, lengths.max()))[:count]
    num_frames = int(min(num_frames, lengths[chosen].min()))
    num_given = min(num_given, num_frames - 1)  # of a short episode one frame is left to predict
    begins = torch.as_tensor(store.offsets[chosen], device=store.frames.device)
    clips = store.clips(begins, num_frames)
    actions = clips.actions[:, 1:]
    state = world.start(
        clips.frames[:, :num_given],
        actions[:, : num_given - 1],
        list(range(len(chosen))),
        {name: clips.states[name][:, :num_given] for name in world.config.observations},
    )
    predicted = [clips.frames[:, t] for t in range(num_given)]
    for t in range(num_given - 1, num_frames - 1):
        predicted.append(world.step_(state, actions[:, t]).frame)
    return Validation(
        true=clips.frames.cpu().numpy(),
        predicted=torch.stack(predicted, 1).cpu().numpy(),
        num_given=num_given,
    )


def validate_world(
    trainer: ResumableTrainer, world: WorldModel, store: ClipStore, count: int, directory: Path
) -> Validation:
    """Predict validation episodes with the averaged weights; log and print how well.

    The world as it is then is kept in `directory`, to be looked at, or played in, while training
    goes on.
    """
    with trainer.averaged():
        result = predict_episodes(world, store, count)
        world.save_pretrained(directory)
        (directory / "train.json").unlink(missing_ok=True)  # of an earlier end of the run
    report(trainer, result)
    return result


def validate_and_film(
    trainer: ResumableTrainer, world: WorldModel, store: ClipStore, config: Any
) -> None:
    """`validate_world`, and a video of it among the run's samples."""
    result = validate_world(trainer, world, store, config.validation_episodes, config.out / "world")
    path = config.out / "samples" / f"{trainer.progress.step:07d}.mp4"
    result.write_video(path, world.config.fps)


def write_trained(
    trainer: Any, world: WorldModel, store: ClipStore, config: Any, directory: Path, **more: Any
) -> None:
    """Write a world, a video of it, and `train.json`, which says how it was made.

    Args:
        trainer: Has its training episodes as `store`.
        world: With the weights that are kept.
        store: Validation episodes.
        config: Of the run.
        directory: Of the world.
        more: What else `train.json` says.
    """
    result = predict_episodes(world, store, config.validation_episodes)
    result.write_video(config.out / "samples" / "final.mp4", world.config.fps)
    world.save_pretrained(directory)
    written = write_result(
        directory / "train.json",
        config,
        trainer,
        validation=result.figures(),
        episodes=trainer.store.num_episodes,
        frames=len(trainer.store.frames),
        **more,
    )
    print(f"{directory}: {in_words(written['validation'])}")
    print(f"next: irasim play --world {directory}")
    print(f"      irasim bench quality --world {directory} --data {config.data}")


def report(trainer: ResumableTrainer, result: Validation) -> None:
    """Log and print a validation on the way."""
    figures, step = result.figures(), trainer.progress.step
    trainer.accelerator.log({f"validation/{k}": v for k, v in figures.items()}, step=step)
    print(f"\nstep {step}: {in_words(figures)}", flush=True)


def in_words(figures: Mapping[str, float]) -> str:
    """Figures of a validation on one line."""
    return "  ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _mean(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(psnr(predicted, true, cap=PSNR_CAP).mean())
