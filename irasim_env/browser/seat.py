"""One page's player: takes its messages, steps at the world's rate, sends what there is to see."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from irasim_env.browser.messages import Message, MessageError, pack, parse, picture_file
from irasim_env.browser.settings import Settings
from irasim_env.browser.stage import Stage
from irasim_env.play_session import Moment
from irasim_env.player import COMMANDS, Player, help_lines
from irasim_env.recording import Recording

# Views on their way: the next waits until all but one of them are drawn, so that a slow line shows
# late pictures late, not ever later.
_MOST_UNSEEN = 2
MOST_SNAPSHOTS = 8
# A minute at ten steps a second: frames wait on the disk until they are a video.
MOST_RECORDED = 600
# What a page's own keys do; the others of a window's commands are the page's own affair.
PAGE_COMMANDS = frozenset(COMMANDS) - {"h", "q", "escape"}
# More messages a second than hands make, and how many may come at once.
_RATE, _BURST = 100, 200
_MOST_MISTAKES = 20


class Line(Protocol):
    """What a seat is spoken to over."""

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the other side takes none."""
        ...


class TooMuchError(Exception):
    """The page sends what no player would; its words are why it is closed."""


@dataclass
class _Meter:
    """Refuses what comes faster than hands do."""

    left: float = _BURST
    last: float = field(default_factory=time.monotonic)
    mistakes: int = 0

    def count(self) -> None:
        now = time.monotonic()
        self.left = min(_BURST, self.left + _RATE * (now - self.last)) - 1
        self.last = now
        if self.left < 0:
            raise TooMuchError(f"more than {_RATE} messages a second")

    def mistake(self) -> None:
        self.mistakes += 1
        if self.mistakes > _MOST_MISTAKES:
            raise TooMuchError(f"more than {_MOST_MISTAKES} messages that mean nothing")


class Seat:
    """A player and the page that plays it.

    Args:
        line: To the page.
        player: Who plays; touched on the stage only.
        stage: Where it is touched.
        settings: Of the server.
        recorders: Shared by all seats: how many may record at once.
    """

    def __init__(
        self,
        line: Line,
        player: Player,
        stage: Stage,
        settings: Settings,
        recorders: asyncio.Semaphore,
    ):
        self.asked_at = time.monotonic()  # When the person last asked for something.
        self.steps = 0
        self._line = line
        self._player = player
        self._stage = stage
        self._settings = settings
        self._recorders = recorders
        self._recording = False
        self._ended: Recording | None = None  # What is not saved yet, nor discarded.
        self._meter = _Meter()
        self._changed = asyncio.Event()
        self._sent = self._drawn = 0
        self._asked = self._seen = 0  # Numbers of the last input, and of that of the last step.
        self._snapshots: dict[int, Moment] = {}
        self._numbers = count(1)
        # A world that is too slow for a steady rate waits for keys.
        self._waits_for_keys = player.session.world.config.actions_at_once > 1
        self._do: dict[str, Callable[[Message], Any]] = {
            "input": self._input,
            "command": self._command,
            "begin": lambda message: self._session.begin(message["start"], message["seed"]),
            "uncertainty": self._uncertainty,
            "snapshot": self._snapshot,
            "branch": self._branch,
            "forget": self._forget,
        }

    @property
    def _session(self) -> Any:
        return self._player.session

    def welcome(self) -> str:
        """What a page has to know about the world, as JSON."""
        session, controls = self._player.session, self._player.session.controls
        config = session.world.config
        content = {
            "type": "welcome",
            "world": config.name,
            "width": config.width,
            "height": config.height,
            "fps": self._player.fps,
            "starts": len(session.world.starts),
            "simulator": config.ground_truth is not None,
            "samples": self._settings.samples,
            "uncertain_above": self._settings.uncertain_above,
            "idle_seconds": self._settings.idle_seconds,
            "most_snapshots": MOST_SNAPSHOTS,
            "most_recorded": MOST_RECORDED,
            "waits_for_keys": self._waits_for_keys,
            "smooth": self._player.overlay.smooth,
            "keys": controls.keys,
            "pairs": controls.pairs,
            "labels": controls.labels,
            "low": controls.low,
            "high": controls.high,
            "help": [line for line in help_lines(controls) if line[0] not in ("H", "Q or ESC")],
        }
        return json.dumps(content)

    async def take(self, text: str | bytes) -> None:
        """Do what a message asks for; one that means nothing is answered and changes nothing.

        Raises:
            TooMuchError: too many messages, or too many that mean nothing.
        """
        self._meter.count()
        try:
            message = parse(text)
            if message.type == "join":
                raise MessageError("this page has joined already")
            if message.type == "ack":
                self._acknowledge(message["frame"])
                return
            self.asked_at = time.monotonic()
            if message.type == "command" and message["key"] == "v":
                await self._record()
                return
            answer = await self._stage.run(lambda: self._do[message.type](message))
        except MessageError as error:
            await self._line.send(json.dumps({"type": "error", "message": str(error)}))
            self._meter.mistake()
            return
        if answer is not None:
            await self._line.send(answer)
        if message.type == "input":
            self._changed.set()
        else:
            await self._show()

    async def play(self) -> None:
        """Step while there is something to step, at the world's rate, until cancelled."""
        await self._show()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self._sent - self._drawn >= _MOST_UNSEEN or not self._goes_on():
                self._changed.clear()
                await self._changed.wait()
                continue
            view = await self._stage.step(self._player, self._view)
            # Where the world is slower than the rate, go on from now instead of catching up.
            due = max(due + 1 / self._player.fps, loop.time())
            await self._line.send(view)
            if self._recording and (self._player.recorded or 0) >= MOST_RECORDED:
                await self._record()

    async def close(self) -> None:
        """Let go of world, simulator and what was recorded."""
        await self._stage.run(self._close)
        if self._recording:
            self._recorders.release()
            self._recording = False

    def _close(self) -> None:
        for recording in (self._ended, self._player.end_recording()):
            if recording is not None:
                recording.discard()
        self._session.close()

    def _end_recording(self) -> None:
        self._ended = self._player.end_recording()

    def _goes_on(self) -> bool:
        player = self._player
        if player.paused or player.session.ending is not None:
            return False
        return not self._waits_for_keys or bool(player.asked)

    def _acknowledge(self, frame: int) -> None:
        if not 1 <= frame <= self._sent:
            raise MessageError(f"frame of 'ack' is not among those sent, 1 to {self._sent}")
        self._drawn = max(self._drawn, frame)
        self._changed.set()

    async def _show(self) -> None:
        await self._line.send(await self._stage.run(self._view))
        self._changed.set()

    def _view(self) -> bytes:
        player, session = self._player, self._session
        self._sent += 1
        if session.total_steps > self.steps:
            self.steps, self._seen = session.total_steps, self._asked
        reality, controls = session.reality, session.controls
        unsure = session.uncertainty
        content = {
            "type": "view",
            "frame": self._sent,
            "seen": self._seen,
            "start": session.start,
            "seed": session.seed,
            "steps": session.steps,
            "action": [round(float(value), 4) for value in session.action],
            "target": controls.target(session.action),
            "reward": session.reward,
            "real_reward": None if reality is None else reality.reward,
            "real_ended_at": None if reality is None else reality.ended_at,
            "uncertainty": unsure,
            "uncertain": unsure is not None and unsure > self._settings.uncertain_above,
            "samples": session.env.samples,
            "ending": session.ending,
            "paused": player.paused,
            "recorded": player.recorded,
            "message": session.message,
            "pace": session.pace,
            "latency_ms": session.latency_ms,
        }
        pictures = [session.frame] + ([] if reality is None else [reality.frame])
        return pack(content, *map(picture_file, pictures))

    def _input(self, message: Message) -> None:
        held = frozenset(message["held"])
        if not held <= set(self._session.controls.keys):
            raise MessageError("held of 'input' has keys that this world's controls have not")
        pointer = message["pointer"]
        self._player.hold(held)
        self._player.point(None if pointer is None else (float(pointer[0]), float(pointer[1])))
        self._asked = message["seq"]

    def _command(self, message: Message) -> None:
        if message["key"] not in PAGE_COMMANDS:
            raise MessageError(f"key of 'command' is none of {' '.join(sorted(PAGE_COMMANDS))}")
        self._player.command(message["key"])

    def _uncertainty(self, message: Message) -> None:
        if message["on"] and self._settings.samples is None:
            raise MessageError(
                "this server offers no uncertainty; start it with --uncertainty-samples 3"
            )
        self._session.env.samples = self._settings.samples if message["on"] else None

    def _snapshot(self, message: Message) -> bytes | None:
        session = self._session
        if len(self._snapshots) == MOST_SNAPSHOTS:
            session.message = f"{MOST_SNAPSHOTS} snapshots are kept; remove one to make another"
            return None
        number = next(self._numbers)
        self._snapshots[number] = session.moment()
        session.message = ""
        content = {
            "type": "snapshot",
            "snapshot": number,
            "start": session.start,
            "steps": session.steps,
        }
        return pack(content, picture_file(session.frame))

    def _branch(self, message: Message) -> None:
        self._session.return_to(self._snapshots[self._known(message)])
        self._session.message = ""

    def _forget(self, message: Message) -> None:
        del self._snapshots[self._known(message)]

    def _known(self, message: Message) -> int:
        number = message["snapshot"]
        if number not in self._snapshots:
            raise MessageError(f"there is no snapshot of the number in {message.type!r}")
        return number

    async def _record(self) -> None:
        """Begin a video; or end it, and send it."""
        if self._recording:
            await self._stage.run(self._end_recording)
            await self._show()
            recording, self._ended = self._ended, None
            if recording is not None:
                files = await asyncio.to_thread(_saved, recording)
                await self._line.send(pack({"type": "video", "name": recording.path.name}, *files))
            self._recording = False
            self._recorders.release()
        elif self._recorders.locked():
            self._session.message = "others record now, and no more can; try again in a minute"
        else:
            await self._recorders.acquire()
            self._recording = True
            await self._stage.run(lambda: self._player.command("v"))
            if self._player.recorded is None:  # It says why.
                self._recording = False
                self._recorders.release()
        await self._show()


def _saved(recording: Recording) -> list[bytes]:
    """The files of a recording: the video, and the JSON that says how it was made."""
    recording.save()
    paths = [recording.path, recording.path.with_suffix(".json")]
    files = [path.read_bytes() for path in paths if path.exists()]
    for path in paths:
        path.unlink(missing_ok=True)
    return files
