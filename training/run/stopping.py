"""A run that is asked to stop ends the step that it is in, and saves its state first."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what a scheduler sends before it kills."""


class Stop:
    """Whether a run has been asked to stop."""

    def __init__(self) -> None:
        self.number: int | None = None
        """Of the signal that asked; None: none has."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal, and say so; a second one stops at once."""
        del frame
        self.number = number
        signal.signal(number, signal.default_int_handler)
        print(
            "\nstopping after this step, whose state will be saved (once more stops at once)",
            file=sys.stderr,
            flush=True,
        )

    def obey(self) -> None:
        """Raise KeyboardInterrupt with the signal's number, if there was one."""
        if self.number is not None:
            raise KeyboardInterrupt(self.number)


@contextmanager
def noted_stops(*, alone: bool) -> Iterator[Stop]:
    """Within, the first request to stop is noted, not obeyed.

    Args:
        alone: The run has one process. Of several each would stop at another step, so there, as in
            another thread than the main one, requests are obeyed as they were before.
    """
    stop = Stop()
    if not alone or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # A job in the background ignores Ctrl-C, and goes on ignoring it.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
