"""Measures the player's page: steps a second and from key to picture, in headless Chromium.

make docs && python -m tests.docs.speed --seconds 30
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import tyro

from tests.docs.serving import begin, data, part, served
from tests.irasim_env.browser.chromium import Chromium

SITE = Path(__file__).parents[2] / "build/site"


def computed() -> float:
    """Seconds of processor time that the browser's living processes have taken."""
    times = [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the player's page of the site in build/site."""

    seconds: float = 30.0
    """To play at each pace."""
    runs: Literal["wasm", "webgpu"] = "wasm"
    """What the world runs on."""


def main(options: Options) -> None:
    """Print one line for each pace."""
    with tempfile.TemporaryDirectory() as folder, served(SITE) as address:
        page = Chromium(Path(folder))
        try:
            began = time.monotonic()
            begin(page, address, options.runs)
            ready, threads = time.monotonic() - began, page.value(data("threads"))
            print(f"ready after {ready:.0f} s: {options.runs}, {threads} threads")
            for pace in ("real", "fastest"):
                page.value(
                    f"{part('pace')}.value = {pace!r}, "
                    f"{part('pace')}.dispatchEvent(new Event('change')), {part('again')}.click(), 0"
                )
                time.sleep(1)
                steps, since = int(page.value(data("steps"))), time.monotonic()
                before = computed()
                end = since + options.seconds
                while time.monotonic() < end:
                    # Keys as a person holds them, and an episode that ends begins again.
                    page.value(f"{part('banner')}.hidden || {part('again')}.click(), 0")
                    page.value(f"{part('picture')}.focus()")
                    page.key("ArrowRight", up=False)
                    time.sleep(1)
                    page.key("ArrowRight", down=False)
                    if int(page.value(data("steps"))) < steps:
                        steps, since = int(page.value(data("steps"))), time.monotonic()
                        before = computed()
                taken = int(page.value(data("steps"))) - steps
                rate = taken / (time.monotonic() - since)
                cores = 1000 * (computed() - before) / max(taken, 1)
                ms, latency = (
                    page.value(f"{part(name)}.textContent") for name in ("ms", "latency")
                )
                load = os.getloadavg()[0]
                print(
                    f"{pace}: {rate:.1f} steps/s, {ms} ms a step, {latency} ms from key to "
                    f"picture, {cores:.0f} ms of processor time a step; load {load:.1f} on "
                    f"{os.cpu_count()} cores"
                )
        finally:
            page.close()


if __name__ == "__main__":
    main(tyro.cli(Options))
