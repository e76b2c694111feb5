"""What the examples that go through a whole path share: `irasim`, a directory, an autoencoder."""

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def claim(out: Path, name: str) -> None:
    """Make the directory anew; refuses to delete what the example of that name did not make."""
    mark = out / name
    if out.exists() and not mark.exists():
        sys.exit(f"{out} exists and was not made by {name}.py: choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    mark.touch()


def make_autoencoder(path: Path, width: int, scaling_factor: float) -> None:
    """An AutoencoderKL of random weights: eight pixels to a latent cell, as the SDXL VAE."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    torch.manual_seed(0)
    settings = {
        "block_out_channels": [width] * 4,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "norm_num_groups": 4,
        "scaling_factor": scaling_factor,
    }
    AutoencoderKL.from_config(settings).save_pretrained(path)  # pyright: ignore


def irasim(*arguments: object, on_two: bool = False) -> None:
    """Run a command of `irasim`, on two processes if asked; ends the script if it fails."""
    begin = time.monotonic()
    done = subprocess.run(command(arguments, on_two), check=False)
    if done.returncode:
        sys.exit(f"irasim {arguments[0]} failed with exit code {done.returncode}")
    print(f"({time.monotonic() - begin:.0f} s)", flush=True)


def command(arguments: tuple[object, ...], on_two: bool = False) -> list[str]:
    """A command of `irasim` to run, after printing it as one would type it."""
    words = [str(argument) for argument in arguments]
    program = "torchrun --nproc_per_node 2 -m irasim_env.console" if on_two else "irasim"
    print(f"\n$ {program} {shlex.join(words)}", flush=True)
    launcher = TWO_PROCESSES if on_two else []
    return [sys.executable, *launcher, "-m", "irasim_env.console", *words]
