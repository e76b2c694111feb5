"""The `irasim` command: finds each subcommand by import string; nothing heavy loads early."""

import importlib
import os
import sys

# name: (module with `cli(arguments)`, one line for --help)
COMMANDS = {
    "play": ("irasim_env.play", "drive a learned world from the keyboard or the mouse"),
    "collect": ("training.data.collect", "record episodes of any Gymnasium environment"),
    "encode": (
        "training.data.irasim.encode",
        "write latents of a dataset's videos with an autoencoder",
    ),
    "convert": ("training.data.lerobot.convert", "bring in a LeRobot dataset, or write one"),
    "import": (
        "training.chunk.import_world",
        "make a world of a checkpoint of the IRASim reference",
    ),
    "export": (
        "training.chunk.export_world",
        "write an imported world's model as such a checkpoint",
    ),
    "push": ("training.push", "put a world on the Hugging Face Hub"),
    "train": ("training.train", "train a world from recorded episodes"),
    "bench": ("benchmarks.bench", "measure a world: quality, speed, and what policies make of it"),
    "distill": ("training.distill.command", "make a world of one or two denoising passes a step"),
    "evaluate": ("benchmarks.evaluate", "score a chunk model, or a policy inside of a world"),
    "plan": ("policies.planning.command", "plan actions by looking ahead in a world"),
    "rl": ("policies.rl.command", "train a policy by reinforcement learning inside of a world"),
}


def usage() -> str:
    """Text of `irasim --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: irasim COMMAND [options]      (irasim COMMAND --help tells the options)",
            "",
            "Learned robot simulators as Gymnasium environments.",
            "",
            *lines,
        ]
    )


def main() -> None:
    """Run `irasim COMMAND ...`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    name, *rest = arguments
    if name not in COMMANDS:
        sys.exit(f"irasim: unknown command {name!r}; choose one of {', '.join(COMMANDS)}")
    try:
        importlib.import_module(COMMANDS[name][0]).cli(rest)
        end_processes()
    except ValueError as error:  # the user's mistake, by our convention
        if os.environ.get("IRASIM_TRACEBACK"):
            raise
        sys.exit(f"irasim {name}: {error}\n(IRASIM_TRACEBACK=1 shows where)")


def end_processes() -> None:
    """Leave the group of a command that ran in several processes (`accelerate launch`, torchrun).

    A process that ends while its group's threads still run is aborted now and then.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
