"""Progress bars, all of them from here: on a terminal they move, in a log they are lines.

A log gets a line after ten seconds, and again whenever the work has taken a twentieth longer: some
hundred lines in a day, however many steps it has.
"""

import sys
import time
from collections.abc import Iterable, Sized
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# Seconds before a log's first line and between any two, at least; and as a share of those gone by.
LEAST, SHARE = 10.0, 0.05
PERCENT = "{l_bar}{bar}| {elapsed} {postfix}"


def progress_bar(
    items: Iterable[Item] | None = None,
    desc: str = "",
    *,
    total: int | None = None,
    initial: int = 0,
    unit: str = "steps",
    leave: bool = True,
    shown: bool = True,
    percent: bool = False,
) -> "tqdm[Item]":
    """A bar around `items`, or one that is moved by `update`; on the standard error.

    Args:
        items: What is gone through.
        desc: What is done.
        total: Of items, where they have no length.
        initial: How many were done before.
        unit: What the items are, in the plural.
        leave: Whether the full bar stays, or a last line is written, at the end.
        shown: False for all but one of several processes.
        percent: Count to a hundred in place of items: set `n`, then `set_postfix_str`.
    """
    make: Any = tqdm if sys.stderr.isatty() else LogLines
    settings: dict[str, Any] = {"desc": desc, "initial": initial, "unit": unit, "leave": leave}
    if total is None and isinstance(items, Sized):
        total = len(items)
    if percent:
        settings["bar_format"] = PERCENT
        total = 100
    return make(items, total=total, disable=not shown, file=sys.stderr, **settings)


class LogLines(tqdm):
    """A bar for what is no terminal: lines, and few of them."""

    monitor_interval = 0  # no thread that would look after a bar that stands still

    def __init__(self, *args: Any, **settings: Any):
        self._last = self._begun = time.monotonic()
        percent = settings.pop("bar_format", None) is not None
        form = "{desc}: {n_fmt} {unit} in {elapsed}{postfix}"
        if percent:
            form = "{desc}: {percentage:.0f} % in {elapsed}{postfix}"
        elif settings.get("total"):
            form = "{desc}: {n_fmt} of {total_fmt} {unit} in {elapsed}{postfix}"
        super().__init__(*args, bar_format=form, mininterval=LEAST, miniters=1, **settings)

    def display(self, *_: Any, **__: Any) -> bool:
        """Write a line if it is time for one."""
        now = time.monotonic()
        if now - self._last >= max(LEAST, SHARE * (now - self._begun)):
            self._line()
            self._last = now
        return False  # nothing to clear

    def close(self) -> None:
        """Write the last line."""
        if self.disable:
            return
        if self.leave:
            self._line()
        self.leave, self._last = False, float("inf")  # nothing more is written
        super().close()

    def _line(self) -> None:
        print(str(self), file=sys.stderr, flush=True)
