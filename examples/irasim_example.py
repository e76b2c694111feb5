"""A real Language-Table episode through all of IRASim's path, in about a minute on a CPU.

Finds the episode that IRASim published, checks that its video, latents and actions agree, trains a
tiny Frame-Ada for 20 steps on its latents, makes a world of the checkpoint, scores it by the short
and the long protocol, and plays it by typed keys. The model is far too small and too briefly
trained to predict anything, and the autoencoder has random weights: what is shown is that the whole
path runs. All but the check is done by commands of `irasim`, printed as one would type them.
"""

import json
import shutil
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import tyro
from steps import claim, irasim, make_autoencoder

from world_model.video import read_video

DATA = Path(__file__).parents[2] / "shared" / "irasim_example" / "languagetable"
SPLITS = ("train", "val", "test")
STEPS, REPORTS = 20, 4  # optimizer steps, and how often their loss is printed
SAMPLE_STEPS = "5"  # denoising steps of a chunk; the reference takes 50


@dataclass(frozen=True, kw_only=True)
class ExampleConfig:
    """Where the episode is, and what to do with it."""

    data: Path = DATA
    """Directory of the published Language-Table example: holds annotation/, videos/ and
    latent_videos/."""
    out: Path = Path("out/irasim_example")
    """Directory of all that is made. Must not exist, or be one of an earlier run, which is
    deleted."""
    typed: str = "wwaasd"
    """Actions to play: w, s, a, d, and . for none."""


def main(config: ExampleConfig) -> None:
    """Check, train, import, evaluate and play."""
    begin = time.monotonic()
    annotation = find_episode(config.data)
    check_lengths(config.data, annotation)
    claim(config.out, "irasim_example")
    data, vae, run = (config.out / name for name in ("data", "vae", "run"))
    link_splits(config.data, annotation, data)
    checkpoint = train(data, run)
    check_losses(run)

    print(
        "\nFrames are decoded by a small AutoencoderKL of random weights: they show nothing, and "
        "the figures below mean nothing.",
        flush=True,
    )
    make_autoencoder(vae, width=8, scaling_factor=0.13025)
    world = config.out / "world"
    irasim(
        *("import", checkpoint, "--dataset", "languagetable", "--vae", vae, "--out", world),
        *("--starts", data, "--num-steps", SAMPLE_STEPS),
    )
    for protocol in ("short", "long"):
        irasim(
            *("evaluate", protocol, "--model", world, "--dataset", "languagetable"),
            *("--data", data, "--out", config.out / "results", "--num-steps", SAMPLE_STEPS),
            *("--cpu", "--no-fetch"),
        )
    played = config.out / "played.mp4"
    irasim("play", "--world", world, "--start", 0, "--typed", config.typed, "--record", played)
    print(f"\ndone in {time.monotonic() - begin:.0f} s: {config.out}")


def find_episode(data: Path) -> Path:
    """The annotation of the first episode that there is; ends the script if there is none."""
    found = sorted((data / "annotation").glob("*/[!.]*.json"))
    if not found:
        sys.exit(
            f"{data}: IRASim's Language-Table example is not here (no annotation/*/ID.json): give "
            "its directory with --data."
        )
    return found[0]


def check_lengths(data: Path, annotation: Path) -> None:
    """Tell that video and latents have a frame more than there are actions, or end the script."""
    import torch

    episode = json.loads(annotation.read_text())
    for key in ("video_path", "latent_video_path"):
        if not (data / episode[key]).is_file():
            sys.exit(f"{annotation}: its {key} {data / episode[key]} is not there")
    frames = read_video(data / episode["video_path"])
    kept = torch.load(data / episode["latent_video_path"], weights_only=True)
    latents = kept["obs"] if isinstance(kept, dict) else kept
    actions = len(episode["actions"])
    print(f"{annotation}: {actions} actions")
    print(f"  video:   {len(frames)} frames of {frames.shape[1]} x {frames.shape[2]} pixels")
    print(f"  latents: {len(latents)} frames of {' x '.join(map(str, latents.shape[1:]))}")
    if not len(frames) == len(latents) == actions + 1:
        sys.exit(f"{annotation}: expected {actions + 1} frames, one more than actions")
    print(f"  agree: {actions + 1} frames, one more than actions", flush=True)


def link_splits(data: Path, annotation: Path, out: Path) -> None:
    """A dataset of that episode in all splits (it comes in one), which only links its content."""
    for split in SPLITS:
        (out / "annotation" / split).mkdir(parents=True)
        shutil.copyfile(annotation, out / "annotation" / split / annotation.name)
    for content in ("videos", "latent_videos"):
        (out / content).symlink_to((data / content).resolve(), target_is_directory=True)


def train(data: Path, run: Path) -> Path:
    """Train a tiny Frame-Ada by the preset of Language-Table; its checkpoint."""
    irasim(
        *("train", "--preset", "languagetable_frame_ada", "--data", data, "--out", run),
        *("--max-steps", STEPS, "--validate-every", STEPS // REPORTS, "--log-every", 1),
        *("--patch", 4, "--depth", 2, "--width", 64, "--num-heads", 2),
        *("--batch", 2, "--rate", 2e-3, "--clip-norm", 1.0, "--ema", 0.5),
        *("--mixed-precision", "no", "--workers", 0, "--samples", 0, "--cpu"),
    )
    return run / "checkpoints" / f"{STEPS:07d}.pt"


def check_losses(run: Path) -> None:
    """Print how the loss fell; ends the script if it did not."""
    training, validation = read_curves(run / "logs", "loss", "validation/loss")
    parts = [np.mean(part) for part in np.array_split(training, REPORTS)]
    every = STEPS // REPORTS
    print(f"\n{'steps':>8}{'training loss':>16}{'validation loss after':>24}")
    for i, (mean, after) in enumerate(zip(parts, validation, strict=True)):
        print(f"{f'{i * every + 1}-{(i + 1) * every}':>8}{mean:>16.4f}{after:>24.4f}")
    if parts[-1] >= parts[0] or any(later >= earlier for earlier, later in pairwise(validation)):
        sys.exit("the loss did not fall")
    print("the loss falls")


def read_curves(logs: Path, *names: str) -> list[list[float]]:
    """Values of each curve in a directory of TensorBoard's, in the order of steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = logs.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file)).Reload()
    return [[event.value for event in events.Scalars(name)] for name in names]


if __name__ == "__main__":
    main(tyro.cli(ExampleConfig, description=__doc__))
