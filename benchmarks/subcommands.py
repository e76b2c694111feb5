"""A command of several parts: finds each by import string, so that --help is quick."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a command."""

    summary: str
    """One line for --help."""
    module: str
    """Where it is; nothing of it loads before it runs."""
    function: str = "cli"
    """What takes its arguments, a list of strings."""


def usage(command: str, description: str, parts: Mapping[str, Part]) -> str:
    """Text of `COMMAND --help`."""
    width = max(map(len, parts))
    lines = [f"  {name:<{width}}  {part.summary}" for name, part in parts.items()]
    head = f"usage: {command} PART [options]      ({command} PART --help tells the options)"
    return "\n".join([head, "", description, "", *lines])


def dispatch(
    command: str, description: str, parts: Mapping[str, Part], arguments: list[str]
) -> None:
    """Run `COMMAND PART ...`, or tell how."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(command, description, parts))
        return
    name, *rest = arguments
    if name not in parts:
        sys.exit(f"{command}: unknown part {name!r}; choose one of {', '.join(parts)}")
    part = parts[name]
    getattr(importlib.import_module(part.module), part.function)(rest)
