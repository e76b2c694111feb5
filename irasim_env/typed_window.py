"""The window of typed actions: letters are collected, predicted, and shown frame by frame."""

import time
from collections.abc import Sequence

import pygame

from irasim_env.typed import TypedSession

HELP = "ENTER predicts, BACKSPACE takes back, R starts again, [ ] another start, Q quits"


class TypedWindow:
    """Plays a typed session in a window.

    With chunks of one action each key acts at once. With longer ones keys are collected, and
    predicted when the chunk is full or on ENTER.

    Args:
        session: What is played.
        fps: Frames a second at which the frames of a chunk appear.
    """

    def __init__(self, session: TypedSession, fps: float):
        self.session = session
        self.fps = fps
        self.running = True
        self.pending: list[str] = []
        pygame.display.set_caption(f"irasim play: {session.world.config.name}")
        self._screen = pygame.display.set_mode(session.overlay.size(with_reality=False))

    def run(self) -> None:
        """Play until the window is closed."""
        self._show()
        while self.running:
            for event in [pygame.event.wait(), *pygame.event.get()]:
                self.handle(event)

    def handle(self, event: pygame.event.Event) -> None:
        """Take an event of the window."""
        if event.type == pygame.QUIT:
            self.running = False
        elif event.type in (pygame.WINDOWEXPOSED, pygame.WINDOWSHOWN):
            self._show()
        elif event.type == pygame.KEYDOWN and self.running:
            self._press(pygame.key.name(event.key))

    def _press(self, key: str) -> None:
        session = self.session
        if key in (*session.controls.keys, "."):
            self.pending.append(key)
        elif key == "backspace":
            self.pending = self.pending[:-1]
        elif key == "r":
            self._begin(session.start)
        elif key in ("[", "]"):
            by = 1 if key == "]" else -1
            self._begin((session.start + by) % len(session.world.starts))
        elif key in ("q", "escape"):
            self.running = False
        if self.pending and (key == "return" or len(self.pending) == session.chunk):
            self._play(self.pending)
            self.pending = []
        self._show()

    def _begin(self, start: int) -> None:
        self.pending = []
        self.session.begin(start)

    def _play(self, keys: Sequence[str]) -> None:
        """Predict, and show each frame for its time."""
        self._show("predicting ...")
        due = time.perf_counter()
        for _ in self.session.take(keys):
            self._show()
            due = max(due, time.perf_counter()) + 1 / self.fps
            pygame.time.wait(round(1000 * (due - time.perf_counter())))

    def _show(self, message: str = "") -> None:
        if self.pending and not message:
            message = f"typed {len(self.pending)} of {self.session.chunk}: {' '.join(self.pending)}"
        self._screen.blit(self.session.picture(message or HELP), (0, 0))
        pygame.display.flip()
