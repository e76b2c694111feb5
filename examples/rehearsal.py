"""Dress rehearsal of everything that IRASim does, on data made here: `make rehearsal`.

Collects episodes of Push-T in the published layout, encodes them with a small autoencoder of random
weights, trains a Frame-Ada transformer and the LVDM baseline for a minute or two each (the first is
killed on the way and goes on), evaluates both on two processes, and prints the table. The figures
mean nothing: what is shown is that the whole path runs. Every step is a command of `irasim`.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from steps import claim, command, irasim, make_autoencoder

ACTION_SCALE = ["--action-scale", "0.00390625", "0.00390625"]  # positions from 0 to 512


@dataclass(frozen=True, kw_only=True)
class RehearsalConfig:
    """How much to rehearse."""

    out: Path = Path("out/rehearsal")
    """Directory of all that is made. Must not exist, or be one of an earlier rehearsal, which is
    deleted."""
    episodes: tuple[int, int, int] = (24, 4, 4)
    """Episodes for train, val and test."""
    max_steps: int = 64
    """Steps of an episode, at most."""
    frame_ada_steps: int = 1000
    """Optimizer steps of the transformer."""
    lvdm_steps: int = 80
    """Optimizer steps of the U-Net."""
    sample_steps: int = 10
    """Denoising steps of a chunk in evaluation."""


def main(config: RehearsalConfig) -> None:
    """Rehearse, and say what took how long."""
    begin = time.monotonic()
    claim(config.out, "rehearsal")
    os.environ["OMP_NUM_THREADS"] = "1"  # two processes share two cores
    data, vae = config.out / "data", config.out / "vae"
    collect(data, config)
    make_autoencoder(vae, width=16, scaling_factor=1.0)
    irasim("encode", data, "--vae", vae, "--cpu")
    common = ["--preset", "chunk_tiny", "--data", data, "--vae", vae, "--cpu"]
    common += ["--save-every", "5s", "--validate-every", "500"]
    models = {"frame_ada": config.frame_ada_steps, "lvdm": config.lvdm_steps}
    for model, steps in models.items():
        run = config.out / "runs" / model
        arguments = ["train", *common, "--model", model, "--out", run, "--max-steps", steps]
        if model == "frame_ada":
            kill_on_the_way(tuple(arguments), run / "state.pt")
        irasim(*arguments)
    for model in models:
        for protocol in ("short", "long"):
            evaluate(protocol, model, config)
    irasim("evaluate", "table", config.out / "results")
    print(f"\nrehearsed in {time.monotonic() - begin:.0f} s: {config.out}")


def collect(data: Path, config: RehearsalConfig) -> None:
    """Record episodes of the simulator in the published layout."""
    for split, count in zip(("train", "val", "test"), config.episodes, strict=True):
        irasim(
            *("collect", "--env-id", "gym_pusht:gym_pusht/PushT-v0"),
            *("--env-kwargs", '{"obs_type": "pixels_agent_pos"}'),
            *("--policy", "policies.pusht:mixture", "--out", data),
            *("--split", split, "--episodes", count, "--max-steps", config.max_steps),
        )


def evaluate(protocol: str, model: str, config: RehearsalConfig) -> None:
    """Score a model by one of the reference's protocols, on two processes."""
    checkpoints = sorted((config.out / "runs" / model / "checkpoints").glob("*.pt"))
    irasim(
        *("evaluate", protocol, "--model", checkpoints[-1], "--name", model),
        *("--data", config.out / "data", "--vae", config.out / "vae", *ACTION_SCALE),
        *("--out", config.out / "results", "--num-steps", config.sample_steps),
        *("--cpu", "--no-fetch"),
        on_two=True,
    )


def kill_on_the_way(arguments: tuple[object, ...], state: Path) -> None:
    """Start a training and kill it without warning once it has written a state to resume from."""
    process = subprocess.Popen(command(arguments))
    while not state.exists():
        if process.poll() is not None:
            sys.exit(f"training ended before it wrote {state}")
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print("\n(killed; the same command again goes on where it was)", flush=True)


if __name__ == "__main__":
    main(tyro.cli(RehearsalConfig, description=__doc__))
