"""The `irasim` command: finds each command by import string; nothing heavy loads early."""

import importlib.metadata
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from world_model.lazy_names import load
from world_model.spelling import meant


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, or one part of a command of several parts."""

    summary: str
    """One line for the --help that lists it."""
    run: str
    """What does it, as "module:function"; nothing of it loads before it runs."""
    config: str | None = None
    """Dataclass that `run` takes, as "module:Class": its fields are the options, its docstring
    opens the --help. None: `run` takes the arguments themselves, a list of strings."""
    resumes: bool = False
    """Whether the same command goes on where an earlier one was stopped."""


COMMANDS = {
    "play": Command(
        config="irasim_env.play:PlayConfig",
        run="irasim_env.play:main",
        summary="drive a learned world from the keyboard or the mouse",
    ),
    "collect": Command(
        config="training.data.collect:CollectConfig",
        run="training.data.collect:main",
        summary="record episodes of any Gymnasium environment",
        resumes=True,
    ),
    "encode": Command(
        config="training.data.irasim.encode:EncodeConfig",
        run="training.data.irasim.encode:main",
        summary="encode a dataset's videos as latents with an autoencoder",
        resumes=True,
    ),
    "convert": Command(
        config="training.data.lerobot.config:ConvertConfig",
        run="training.data.lerobot.convert:main",
        summary="import a LeRobot dataset, or export one",
        resumes=True,
    ),
    "label": Command(
        config="training.data.labels.config:LabelConfig",
        run="training.data.labels.command:main",
        summary="label poses of rigid bodies in recorded frames, for training",
        resumes=True,
    ),
    "import": Command(
        config="training.chunk.import_world:ImportConfig",
        run="training.chunk.import_world:main",
        summary="make a world from a checkpoint of the original IRASim code",
    ),
    "export": Command(
        config="training.export:ExportConfig",
        run="training.export:main",
        summary="write a world as an ONNX model, or as such a checkpoint",
    ),
    "push": Command(
        config="training.push:PushConfig",
        run="training.push:main",
        summary="upload a world to the Hugging Face Hub",
    ),
    "train": Command(
        run="training.command:cli", summary="train a world from recorded episodes", resumes=True
    ),
    "bench": Command(
        run="benchmarks.bench:cli",
        summary="measure a world: quality, speed, and how policies fare in it",
    ),
    "distill": Command(
        config="training.distill.config:DistillConfig",
        run="training.distill.command:main",
        summary="make a world that takes one or two denoising passes per step",
        resumes=True,
    ),
    "evaluate": Command(
        run="benchmarks.evaluate:cli",
        summary="score a chunk model, or a policy in a world",
        resumes=True,
    ),
    "plan": Command(
        config="policies.planning.config:PlanConfig",
        run="policies.planning.command:main",
        summary="plan actions by looking ahead in a world",
    ),
    "rl": Command(
        config="policies.rl.config:RLConfig",
        run="policies.rl.command:main",
        summary="train a policy by reinforcement learning in a world",
    ),
}


def dispatch(
    prog: str,
    description: str,
    commands: Mapping[str, Command],
    arguments: Sequence[str],
    *,
    kind: str = "part",
) -> None:
    """Run one of several commands, or list them.

    Args:
        prog: What was typed before the arguments.
        description: Of all, for --help.
        commands: By name.
        arguments: The name of a command, then its arguments.
        kind: What a command is called here.

    Raises:
        ValueError: The user's mistake, by our convention, and any other that a command raises.
    """
    if [*arguments] == ["--version"]:
        print(f"irasim-env {importlib.metadata.version('irasim-env')}")
        return
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, commands))
        usage = f"{prog} {kind.upper()}"
        print(f"usage: {usage} [options]      ({usage} --help lists the options)")
        print(f"\n{description}\n")
        for name, command in commands.items():
            print(f"  {name:<{width}}  {command.summary}")
        return
    name, *rest = arguments
    if name not in commands:
        choices = f"choose one of {', '.join(commands)}{meant(name, commands)}"
        sys.exit(f"{prog}: unknown {kind} {name!r}; {choices}")
    command = commands[name]
    if command.config is None:
        load(command.run)(rest)
        return
    import tyro

    from world_model.config_fields import refuse_without_effect
    from world_model.renamed import with_current_flags

    options = load(command.config)
    current = with_current_flags(options, rest)
    config = tyro.cli(options, args=current, prog=f"{prog} {name}")
    if hasattr(config, "without_effect"):
        refuse_without_effect(config)
    load(command.run)(config)


def run(arguments: Sequence[str]) -> None:
    """Run `irasim ARGUMENTS`; mistakes are raised as they are."""
    description = "Learned robot simulators as Gymnasium environments."
    dispatch("irasim", description, COMMANDS, arguments, kind="command")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `irasim ARGUMENTS`, by default the shell's; a mistake is reported in one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        run(arguments)
        end_processes()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        if not {"-h", "--help"} & set(arguments):
            print(_stopped(arguments, ", for nothing reads what it prints"), file=sys.stderr)
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt as stop:
        print(_stopped(arguments), file=sys.stderr)
        # By another signal, where one was noted (training/run/stopping.py).
        sys.exit(128 + (stop.args[0] if stop.args else signal.SIGINT))
    except _mistakes() as error:
        if os.environ.get("IRASIM_TRACEBACK"):
            raise
        sys.exit(f"irasim {arguments[0]}: {error}\n(IRASIM_TRACEBACK=1 shows where)")


def _output_is_closed() -> bool:
    """Whether what reads our output has gone, as `head` does; nothing more is written then."""
    output = sys.stdout.fileno()
    try:
        os.write(output, b"\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # nor what is still to be flushed
        return True
    return False


def _stopped(arguments: Sequence[str], why: str = "") -> str:
    """In words, that a command was interrupted, and whether it can go on."""
    name = arguments[0] if arguments else ""
    resumes = name in COMMANDS and COMMANDS[name].resumes
    said = f"stopped{why}{'; the same command goes on from what was saved' * resumes}"
    return f"\n{f'irasim {name}'.rstrip()}: {said}"


def _mistakes() -> tuple[type[Exception], ...]:
    """The user's: ValueError by our convention, and Gymnasium's, if anything has loaded it."""
    gymnasium = sys.modules.get("gymnasium")
    return (ValueError,) if gymnasium is None else (ValueError, gymnasium.error.Error)


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
