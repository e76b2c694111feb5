"""Pages without a browser: what app.js says to the server, said by a test."""

import asyncio
import json
import threading
from contextlib import contextmanager

import cv2
import numpy as np
from websockets.sync.client import connect

from irasim_env.browser.messages import unpack
from irasim_env.browser.server import BrowserServer
from irasim_env.browser.settings import Settings
from irasim_env.play import PlayConfig, make_player
from world_model import WorldModel


@contextmanager
def serving(world, *, make=None, wrap=lambda player: player, **settings):
    """A server in a thread of its own, on a free port; `wrap` changes its players.

    `make` are options of play.
    """
    loaded = WorldModel.from_pretrained(world)
    config = PlayConfig(world=str(world), scale=1, **({"start": 0} | (make or {})))
    server = BrowserServer(
        lambda folder: wrap(make_player(config, loaded, folder)), Settings(port=0, **settings)
    )
    started, loops = threading.Event(), []

    async def run():
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await server.run(stop, started.set)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(60)
    try:
        yield server
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        assert not thread.is_alive()


class Page:
    """A page that has joined, and acknowledges what it is shown.

    Attributes:
        welcome: What the server told of the world.
        view: The newest view.
        pictures: Its pictures, uint8 (H, W, 3).
    """

    def __init__(self, server, *, token="", join=True, origin=None):
        address = f"127.0.0.1:{server.port}"
        opening = connect(
            f"ws://{address}/play",
            origin=origin or f"http://{address}",
            compression=None,
            max_size=None,
        )
        self.line = opening.__enter__()
        self.view, self.pictures, self.seq = {}, [], 0
        if join:
            self.send(type="join", token=token)
            self.welcome = self.receive()[0]
            assert self.welcome["type"] == "welcome"
            self.await_view()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close()

    def send(self, **message):
        self.line.send(json.dumps(message))

    def input(self, *held, pointer=None):
        self.seq += 1
        self.send(type="input", seq=self.seq, held=held, pointer=pointer)

    def command(self, key):
        self.send(type="command", key=key)

    def receive(self):
        """The next message and its files; a view is kept and acknowledged, too."""
        message = self.line.recv(timeout=60)
        content, files = (json.loads(message), []) if isinstance(message, str) else unpack(message)
        if content["type"] == "view":
            self.view = content
            self.pictures = [decode(file) for file in files]
            self.send(type="ack", frame=content["frame"])
        return content, files

    def await_type(self, kind):
        """The next message of a type, and its files."""
        while True:
            content, files = self.receive()
            if content["type"] == kind:
                return content, files

    def await_view(self, fits=lambda view: True):
        """The next view that fits."""
        while True:
            view, _ = self.await_type("view")
            if fits(view):
                return view

    def begin(self, start, seed):
        """Begin an episode; the player is paused."""
        self.send(type="begin", start=start, seed=seed)
        self.await_view(lambda view: view["steps"] == 0 and view["start"] == start)

    def pause(self):
        self.command("space")
        return self.await_view(lambda view: view["paused"])

    def step(self, *held):
        """One step with keys held, of a paused player; its picture."""
        self.input(*held)
        steps = self.view["steps"]
        self.command("n")
        self.await_view(lambda view: view["steps"] == steps + 1)
        return self.pictures[0]


def decode(file):
    """A picture's pixels, uint8 (H, W, 3)."""
    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
