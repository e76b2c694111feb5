"""Drives a play session from a window or from a script, and shows and records it."""

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pygame

from irasim_env.controls import KeyControls
from irasim_env.key_script import KeyPress
from irasim_env.overlay import Overlay, View
from irasim_env.play_session import PlaySession
from irasim_env.recording import Recording

# Keys that command, as pygame calls them, and what they do.
COMMANDS = {
    "r": "start again",
    "space": "pause, go on",
    "n": "one step",
    ".": "one step",
    "[": "start before",
    "]": "next start",
    "g": "real simulator beside it",
    "v": "record a video, save it",
    "h": "this help",
    "q": "quit",
    "escape": "quit",
} | {str(digit): f"start {digit}" for digit in range(10)}

_MOST_PICTURES_PER_SECOND = 60


class Player:
    """A session with its keys, its picture and its video.

    Args:
        session: What is played.
        overlay: What it looks like.
        fps: Steps a second in a window; also that of a video.
        record: Video to record from the first frame on; None until the key for it is pressed.
        auto_reset: Begin again a second after an episode's end.
        about: What a JSON beside each video says of how it was made; None writes none.
        folder: Where videos go that are asked for by a key.
    """

    def __init__(
        self,
        session: PlaySession,
        overlay: Overlay,
        *,
        fps: float,
        record: Path | None = None,
        auto_reset: bool = False,
        about: dict[str, Any] | None = None,
        folder: Path = Path(),
    ):
        self.session = session
        self.overlay = overlay
        self.fps = fps
        self.videos: list[Path] = []
        self.paused = False
        self.running = True
        self._auto_reset = auto_reset
        self._about = about
        self._record = record
        self._folder = folder
        self._helping = False
        self._held: set[str] = set()
        self._tapped: set[str] = set()  # Pressed since the last step, even if released again.
        self._pointer: tuple[float, float] | None = None
        self._clicked: tuple[float, float] | None = None  # As `_tapped`.
        self._shown_keys: frozenset[str] = frozenset()
        self._ticks_since_end = 0
        self._recording: Recording | None = None
        if record is not None:
            self._start_recording()

    def run_script(self, presses: Sequence[KeyPress], steps: int | None = None) -> None:
        """Play a script without waiting, then without keys up to `steps` steps in all."""
        for press in presses:
            if not self.running or self.session.total_steps == steps:
                break
            self._held = set(press.held)
            for command in press.commands:
                self.command(command)
            if not press.commands:
                self.tick()
        self._held.clear()
        while steps is not None and self.session.total_steps < steps and self._goes_on():
            self.tick()

    def run_window(self) -> None:
        """Play in a window, at a steady rate, until it is closed."""
        pygame.display.set_caption(f"irasim play: {self.session.world.config.name}")
        screen = pygame.display.set_mode(self.overlay.size(self.session.reality is not None))
        due, drawn = time.perf_counter(), 0.0
        while self.running:
            # Waiting for events, not for time, answers keys at once and leaves the model the
            # processor; a moving mouse makes more events than pictures are worth.
            if time.perf_counter() - drawn > 1 / _MOST_PICTURES_PER_SECOND:
                picture = self.picture()
                if picture.get_size() != screen.get_size():
                    screen = pygame.display.set_mode(picture.get_size())
                screen.blit(picture, (0, 0))
                pygame.display.flip()
                drawn = time.perf_counter()
            wait_ms = max(1, round(1000 * (due - time.perf_counter())))
            for event in [pygame.event.wait(wait_ms), *pygame.event.get()]:
                self.handle(event)
            now = time.perf_counter()
            if now >= due and self.running:
                self.tick()
                drawn = 0.0
                # Where the model is slower than the rate, go on from now instead of catching up.
                due = max(due + 1 / self.fps, now)

    def handle(self, event: pygame.event.Event) -> None:
        """Take an event of the window."""
        if event.type == pygame.QUIT:
            self.running = False
        elif event.type == pygame.KEYDOWN:
            key = pygame.key.name(event.key)
            if key in self.session.controls.keys:
                self.hold(self._held | {key})
            elif key in COMMANDS:
                self.command(key)
        elif event.type == pygame.KEYUP:
            self.hold(self._held - {pygame.key.name(event.key)})
        elif event.type == pygame.WINDOWFOCUSLOST:
            self.hold(())  # Their release is told to another window.
            self.point(None)
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self.point(self.overlay.pointer(event.pos))
        elif event.type == pygame.MOUSEMOTION and self._pointer is not None:
            self._pointer = self.overlay.pointer(event.pos) or self._pointer
        elif event.type == pygame.MOUSEBUTTONUP and event.button == 1:
            self.point(None)

    def hold(self, keys: Collection[str]) -> None:
        """Hold these keys of the controls and no others; a new one counts for a step at least."""
        self._tapped |= set(keys) - self._held
        self._held = set(keys)

    def point(self, position: tuple[float, float] | None) -> None:
        """Hold the mouse at a point of the picture, as shares of it, for a step at least; None
        lets go."""
        self._pointer = position
        self._clicked = position or self._clicked

    def command(self, key: str) -> None:
        """Do what a key of `COMMANDS` says."""
        session = self.session
        session.message = ""
        if key == "r":
            session.reset()
        elif key == "space":
            self.paused = not self.paused
            session.rest()
        elif key in ("n", "."):
            self.paused = True
            session.rest()
            self._step()
        elif key in ("[", "]"):
            session.change_start(1 if key == "]" else -1)
        elif key.isdigit():
            session.choose_start(int(key))
        elif key == "g":
            session.toggle_reality()
        elif key == "v" and self._recording is None:
            self._start_recording()
        elif key == "v":
            self.save_recording()
        elif key == "h":
            self._helping = not self._helping
        else:
            assert key in ("q", "escape"), f"{key!r} is no command"
            self.running = False

    def tick(self) -> None:
        """What happens once per step's time: a step, or a picture of why there is none."""
        if self.session.ending is None and not self.paused:
            self._step()
            return
        if self.session.ending is not None and self._auto_reset and not self.paused:
            self._ticks_since_end += 1
            if self._ticks_since_end >= self.fps:
                self.session.reset()
        self._shown_keys = frozenset(self._held)
        self._add_to_recording()

    def picture(self) -> pygame.Surface:
        """What the window shows."""
        session = self.session
        reality = session.reality
        note = ""
        if reality is not None and reality.ended_at is not None:
            note = f"ended at step {reality.ended_at}"
        return self.overlay.draw(
            View(
                frame=session.frame,
                action=session.action,
                held=self._shown_keys,
                reward=session.reward,
                real_frame=None if reality is None else reality.frame,
                real_reward=None if reality is None else reality.reward,
                real_note=note,
                start=session.start,
                num_starts=len(session.world.starts),
                steps=session.steps,
                pace=session.pace,
                latency_ms=session.latency_ms,
                ending=session.ending or "",
                paused=self.paused,
                recording=self._recording is not None,
                message=session.message,
                help=help_lines(session.controls) if self._helping else (),
            )
        )

    @property
    def asked(self) -> frozenset[str]:
        """Keys that the next step goes by."""
        return frozenset(self._held | self._tapped)

    def next_action(self) -> np.ndarray:
        """The action (A,) of the next step; whoever lets the session take it calls `stepped`."""
        return self.session.next_action(self.asked, self._pointer or self._clicked)

    def stepped(self) -> None:
        """The session has taken a step by what was asked for."""
        held = self.asked
        self._tapped.clear()
        self._clicked = None
        self._shown_keys = held
        self._ticks_since_end = 0
        self._add_to_recording()

    @property
    def recorded(self) -> int | None:
        """Frames recorded so far; None where nothing is recorded."""
        return None if self._recording is None else len(self._recording)

    def save_recording(self) -> None:
        """Write the video that is being recorded, if there is one."""
        recording = self.end_recording()
        if recording is not None:
            recording.save()
            self.session.message = f"saved {recording.path}"

    def end_recording(self) -> Recording | None:
        """Record no more; what was recorded, if there is anything, for the caller to save."""
        recording, self._recording = self._recording, None
        if recording is not None:
            self.videos.append(recording.path)
        return recording

    def close(self) -> None:
        """Save the video, close window and session."""
        self.save_recording()
        self.session.close()
        pygame.display.quit()

    def _step(self) -> None:
        if self.session.ending is None:
            self.session.step(self.asked, self._pointer or self._clicked)
            self.stepped()

    def _goes_on(self) -> bool:
        ended = self.session.ending is not None and not self._auto_reset
        return self.running and not self.paused and not ended

    def _start_recording(self) -> None:
        name = f"irasim-play-{datetime.now():%Y%m%d-%H%M%S}.mp4"
        path = self._record or self._folder / name
        if path in self.videos:
            path = path.with_stem(f"{path.stem}-{len(self.videos) + 1}")
        try:
            self._recording = Recording(path, self.fps, self._about)
        except (ValueError, OSError) as error:
            if not self.videos and path == self._record:
                raise  # Asked for on the command line.
            self.session.message = str(error)
            return
        self._add_to_recording()

    def _add_to_recording(self) -> None:
        if self._recording is not None:
            pixels = pygame.surfarray.array3d(self.picture())  # (W, H, 3)
            self._recording.add(pixels.swapaxes(0, 1))


def help_lines(controls: KeyControls) -> tuple[tuple[str, str], ...]:
    """Keys and what they do, in pairs."""
    return (
        *controls.help,
        ("SPACE", COMMANDS["space"]),
        ("N or .", COMMANDS["n"]),
        ("R", COMMANDS["r"]),
        ("[ ] or 0 to 9", "choose the start"),
        ("G", COMMANDS["g"]),
        ("V", COMMANDS["v"]),
        ("H", COMMANDS["h"]),
        ("Q or ESC", COMMANDS["q"]),
    )
