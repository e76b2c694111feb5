"""Serves the page and its players, until the server is stopped."""

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from irasim_env.browser.messages import LONGEST, MessageError, parse
from irasim_env.browser.seat import Seat, TooMuchError
from irasim_env.browser.settings import Settings
from irasim_env.browser.stage import Stage
from irasim_env.player import Player

log = logging.getLogger(__name__)

PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PLAY = "/play"
# Nothing but our own files, in no frame of another page.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
# Why a page's line was closed, in the range that is free for applications.
IDLE, WRONG_TOKEN, FULL, TOO_MUCH, NO_JOIN = 4000, 4001, 4002, 4003, 4004
_JOIN_SECONDS = 10
# Lines that have not joined yet, beyond the players.
_MOST_WAITING = 16
_MOST_RECORDERS = 4


class BrowserServer:
    """The players of one world, each with a page.

    Args:
        make_player: Makes a player whose recordings go to a folder; called on the stage.
        settings: Whom to serve, and where.
    """

    def __init__(self, make_player: Callable[[Path], Player], settings: Settings):
        self.settings = settings
        self.port = settings.port
        self.most_players = 0
        self.total_steps = 0
        self._make_player = make_player
        self._joining = self._places = 0
        self._files = {
            path: (files("irasim_env.browser").joinpath("static", name).read_bytes(), kind)
            for path, (name, kind) in PAGES.items()
        }

    async def run(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """Serve until `stop` is set.

        Raises:
            ValueError: the address cannot be had.
        """
        self._stage = Stage()
        self._recorders = asyncio.Semaphore(_MOST_RECORDERS)
        try:
            with tempfile.TemporaryDirectory(prefix="irasim-play-") as folder:
                self._folder = Path(folder)
                async with await self._bind() as server:
                    self.port = server.sockets[0].getsockname()[1]
                    if started is not None:
                        started()
                    await stop.wait()
        finally:
            self._stage.close()

    async def _bind(self) -> Server:
        settings = self.settings
        try:
            return await serve(
                self._sit,
                settings.host,
                settings.port,
                process_request=self._answer,
                compression=None,  # pictures are compressed already
                max_size=LONGEST,
                server_header=None,
                logger=_quiet(),
            )
        except OSError as error:
            raise ValueError(
                f"cannot serve on {settings.host}:{settings.port}: {error.strerror or error}; "
                "choose another with --port (0 takes one that is free) or --host"
            ) from error

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A file, a refusal, or None: the connection goes on as a player's line."""
        host = _one(request, "Host")
        if not self.settings.allows_host(host):
            return _page(
                HTTPStatus.FORBIDDEN,
                "This name is not the server's: open the address that it has printed, or allow "
                "another with --origins.\n",
            )
        path = request.path.partition("?")[0]
        if path in self._files:
            content, kind = self._files[path]
            return _page(HTTPStatus.OK, content, kind)
        if path != PLAY:
            return _page(HTTPStatus.NOT_FOUND, "There is no such page; the player is at /.\n")
        if not self.settings.allows_origin(_one(request, "Origin"), host):
            return _page(
                HTTPStatus.FORBIDDEN,
                "Pages of this origin may not play: open the address that the server has printed, "
                "or allow the origin with --origins.\n",
            )
        if self._joining >= _MOST_WAITING:
            return _page(HTTPStatus.SERVICE_UNAVAILABLE, "Too many are joining; try again.\n")
        return None

    async def _sit(self, line: ServerConnection) -> None:
        """What becomes of a line, from its beginning to its end."""
        try:
            self._joining += 1
            try:
                refused = await self._join(line)
            finally:
                self._joining -= 1
            if refused is not None:
                await line.close(*refused)
                return
            await self._play(line)
        except ConnectionClosed:
            pass

    async def _join(self, line: ServerConnection) -> tuple[int, str] | None:
        """Wait for the token; None, or why there is no seat."""
        try:
            async with asyncio.timeout(_JOIN_SECONDS):
                message = parse(await line.recv())
            if message.type != "join":
                raise MessageError("the first message is no 'join'")
        except TimeoutError:
            return NO_JOIN, f"no 'join' came within {_JOIN_SECONDS} seconds"
        except MessageError as error:
            return NO_JOIN, str(error)
        if not self.settings.allows_token(message["token"]):
            return WRONG_TOKEN, "wrong token: open the address that the server has printed"
        if self._places >= self.settings.players:
            return FULL, f"all {self.settings.players} players' places are taken; try again later"
        return None

    async def _play(self, line: ServerConnection) -> None:
        """Make a player for a line that has joined, and close it however it ends."""
        self._places += 1
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            player = await self._stage.run(lambda: self._make_player(folder))
            seat = Seat(line, player, self._stage, self.settings, self._recorders)
            try:
                self.most_players = max(self.most_players, self._places)
                await line.send(seat.welcome())
                await line.close(*await self._until_over(line, seat))
            finally:
                self.total_steps += seat.steps
                await seat.close()
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("a player was closed by a mistake of ours; the others play on")
            await line.close(CloseCode.INTERNAL_ERROR, "the server failed; its log says how")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._places -= 1

    async def _until_over(self, line: ServerConnection, seat: Seat) -> tuple[int, str]:
        """Play; why the player is closed, once there is a reason."""
        tasks = {
            asyncio.create_task(_listen(line, seat)),
            asyncio.create_task(seat.play()),
            asyncio.create_task(self._until_idle(seat)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        except TooMuchError as error:
            return TOO_MUCH, str(error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return IDLE, f"nothing was asked for in {self.settings.idle_seconds:g} seconds"

    async def _until_idle(self, seat: Seat) -> None:
        limit = self.settings.idle_seconds
        while (left := seat.asked_at + limit - time.monotonic()) > 0:
            await asyncio.sleep(left)


async def _listen(line: ServerConnection, seat: Seat) -> None:
    """Hand a page's messages on until it is gone."""
    while True:
        await seat.take(await line.recv())


def serve_players(make_player: Callable[[Path], Player], settings: Settings) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM, and say how it went."""
    server = BrowserServer(make_player, settings)

    def greet() -> None:
        print(f"open {settings.address(server.port)}   (Ctrl-C stops)", flush=True)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows has no such handlers: there Ctrl-C interrupts.
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await server.run(stop, greet)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
    print(f"{server.total_steps} steps; at most {server.most_players} players at once")


def _one(request: Request, name: str) -> str | None:
    """A header that is there exactly once."""
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _page(
    status: HTTPStatus, content: bytes | str, kind: str = "text/plain; charset=utf-8"
) -> Response:
    body = content.encode() if isinstance(content, str) else content
    headers = Headers({**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))})
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)


def _quiet() -> logging.Logger:
    """Of the library: broken requests of others are no news, its own mistakes are."""
    quiet = logging.getLogger("irasim_env.browser.websockets")
    quiet.setLevel(logging.CRITICAL)
    return quiet
