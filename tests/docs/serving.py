"""A plain server of a folder's files, as any web host is, and the player's page in a browser."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.irasim_env.browser.chromium import Chromium


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a log."""

    def log_message(self, *_):
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def part(name: str) -> str:
    """JavaScript for a part of the player."""
    return f"""document.querySelector('[data-part="{name}"]')"""


def data(name: str) -> str:
    """JavaScript for what the player says of itself in `data-NAME`."""
    return f"document.querySelector('.player').dataset.{name}"


def begin(page: Chromium, address: str, runs: str = "wasm", seconds: float = 240) -> None:
    """Open the player's page, and wait until the world has shown its first frame.

    The page loads itself again once, to be isolated; what is asked meanwhile has no answer.
    """
    page.open(f"{address}/play/")
    page.wait(f"!{part('load')}.disabled")
    page.value(f"{part('runs')}.value = {runs!r}")
    page.click('[data-part="load"]')
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        try:
            if page.value(f"{data('steps')} !== undefined"):
                return
            wrong = page.value(f"{part('status')}.className.includes('wrong')")
        except AssertionError:
            continue
        assert not wrong, page.value(f"{part('status')}.textContent")
    raise TimeoutError(page.value(f"{part('status')}.textContent"))
