"""`irasim bench`: finds its parts by import string, so that --help is quick."""

import importlib
import sys

# name: (module with `cli(arguments)`, one line for --help)
PARTS = {
    "quality": ("benchmarks.quality", "predictions on held-out episodes against the truth"),
    "speed": ("benchmarks.speed", "steps a second, latency and memory"),
    "endurance": ("benchmarks.endurance", "one very long episode: memory, speed, what holds"),
    "card": ("benchmarks.card", "write a world's README.md from what was measured"),
}


def usage() -> str:
    """Text of `irasim bench --help`."""
    width = max(map(len, PARTS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, line) in PARTS.items()]
    head = "usage: irasim bench PART [options]      (irasim bench PART --help tells the options)"
    return "\n".join([head, "", "Measure a learned world.", "", *lines])


def cli(arguments: list[str]) -> None:
    """Run `irasim bench PART ...`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    name, *rest = arguments
    if name not in PARTS:
        sys.exit(f"irasim bench: unknown part {name!r}; choose one of {', '.join(PARTS)}")
    importlib.import_module(PARTS[name][0]).cli(rest)
