"""`irasim evaluate`: finds its parts by import string, so that --help is quick."""

import importlib
import sys

# name: (module, function with one argument, one line for --help)
PARTS = {
    "short": (
        "benchmarks.evaluation",
        "short_cli",
        "windows of one chunk, each from its true first frame",
    ),
    "long": (
        "benchmarks.evaluation",
        "long_cli",
        "whole episodes, each chunk from the last frame predicted",
    ),
    "table": ("benchmarks.evaluation_table", "cli", "compare what was measured before"),
}


def usage() -> str:
    """Text of `irasim evaluate --help`."""
    width = max(map(len, PARTS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, _, line) in PARTS.items()]
    return "\n".join(
        [
            "usage: irasim evaluate PART [options]   (irasim evaluate PART --help: the options)",
            "",
            "Score a chunk model on recorded episodes by IRASim's protocols. On many GPUs:",
            "  accelerate launch --no-python irasim evaluate short ...",
            "",
            *lines,
        ]
    )


def cli(arguments: list[str]) -> None:
    """Run `irasim evaluate PART ...`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    name, *rest = arguments
    if name not in PARTS:
        sys.exit(f"irasim evaluate: unknown part {name!r}; choose one of {', '.join(PARTS)}")
    module, function, _ = PARTS[name]
    getattr(importlib.import_module(module), function)(rest)
