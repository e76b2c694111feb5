"""Actions typed as letters, "wwaasd", predicted one at a time or several at once, all recorded.

The reference's keyboard application: nothing moves until something is typed. Knows no window.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from gymnasium.utils import seeding

from irasim_env.beginning import check_options, draw_beginning
from irasim_env.controls import KeyControls
from irasim_env.overlay import Overlay, View
from irasim_env.recording import Recording
from world_model import WorldModel

# A letter that holds no key.
REST = "."


class TypedSession:
    """An episode that takes letters, and its video.

    Args:
        world: The world.
        controls: What the letters do.
        overlay: What it looks like.
        chunk: Most actions to predict at once.
        start: Start of the episode; None lets the seed draw it.
        seed: Decides the start and all noise, as for an environment's reset.
        record: The video of the session: its first frame, then one after each action.
        fps: Frames a second of that video.
        about: What a JSON beside it says of how it was made; None writes none.

    Attributes:
        frame: What the world shows, uint8 (H, W, 3).
        action: The last action (A,), or the one at rest.
        reward: Of the last action; None before the first, and where the world knows no reward.
        start: Index of the episode's start.
        steps: Actions taken in this episode.
        total_steps: Actions in all.
        ending: Empty, or how the episode ended.
        seconds: What each call of the model took.
        saved: The video is written.
    """

    def __init__(
        self,
        world: WorldModel,
        controls: KeyControls,
        overlay: Overlay,
        *,
        chunk: int,
        start: int | None = None,
        seed: int = 0,
        record: Path,
        fps: float,
        about: dict[str, Any] | None = None,
    ):
        self.world = world
        self.controls = controls
        self.overlay = overlay
        self.chunk = chunk
        self.total_steps = 0
        self.seconds: list[float] = []
        self._pace: float | None = None  # Actions a second of the last prediction.
        self._random, _ = seeding.np_random(seed)
        self._held: frozenset[str] = frozenset()
        self._place(start)
        self.saved = False
        self._recording = Recording(record, fps, about)
        self._record()

    @property
    def letters(self) -> str:
        """The letters that there are."""
        return "".join(key for key in self.controls.keys if len(key) == 1) + REST

    @property
    def video(self) -> Path:
        """Where the video goes."""
        return self._recording.path

    def begin(self, start: int | None) -> None:
        """Begin an episode at a start, or at one that is drawn."""
        self._place(start)
        self._record()

    def parse(self, text: str) -> list[str]:
        """The letters of a line, blanks left out.

        Raises:
            ValueError: a letter that there is not.
        """
        letters = [letter for letter in text.lower() if not letter.isspace()]
        for letter in letters:
            if letter not in self.letters:
                raise ValueError(
                    f"{letter!r} in {text.strip()!r} is no action; this world's are "
                    f"{' '.join(self.letters[:-1])}, and {REST} for none"
                )
        return letters

    def take(self, letters: Sequence[str]) -> Iterator[np.ndarray]:
        """Act; gives each frame, uint8 (H, W, 3), when it is the one that is shown.

        The letters are predicted `chunk` at a time. What is left after an end is not taken.
        """
        for begin in range(0, len(letters), self.chunk):
            if self.ending:
                return
            part = letters[begin : begin + self.chunk]
            actions = self._actions(part)
            began = time.perf_counter()
            made = self.world.step_chunk_(self._state, actions[None])
            frames = made.frames[0].cpu().numpy()
            self.seconds.append(time.perf_counter() - began)
            self._pace = len(part) / self.seconds[-1]
            for j, letter in enumerate(part):
                self.frame, self.action, self._held = frames[j], actions[j], frozenset({letter})
                self.steps += 1
                self.total_steps += 1
                if self.world.config.reward_head:
                    self.reward = float(made.reward[0, j])
                if made.terminated[0, j]:
                    self.ending = f"over after {self.steps} actions"
                self._record()
                yield self.frame
                if self.ending:
                    return

    def picture(self, message: str = "") -> pygame.Surface:
        """What there is to see, with the keys of the last action lit."""
        return self.overlay.draw(
            View(
                frame=self.frame,
                action=self.action,
                held=self._held,
                reward=self.reward,
                start=self.start,
                num_starts=len(self.world.starts),
                steps=self.steps,
                pace=self._pace,
                ending=self.ending,
                recording=True,
                message=message or f"actions are typed: {' '.join(self.letters)}",
            )
        )

    def save(self) -> None:
        """Write the video."""
        self._recording.save()
        self.saved = True

    def discard(self) -> None:
        """End without a video."""
        self._recording.discard()

    def summary(self) -> str:
        """One line: actions, what they took, where the video is if there is one."""
        words = f"{self.total_steps} actions"
        if self.seconds:
            per_action = sum(self.seconds) / self.total_steps
            words += f" in {len(self.seconds)} predictions, {per_action:.2f} s an action"
        return f"{words}; video: {self.video}" if self.saved else words

    def _place(self, start: int | None) -> None:
        options = None if start is None else {"start": start}
        asked = check_options(self.world, options)
        beginning = draw_beginning(self.world, self._random, asked)
        assert beginning.start is not None, "a start was asked for"
        self.start = beginning.start
        self._state = self.world.begin([self.start], [beginning.noise_seed])
        self.frame = beginning.frames[-1]
        self.action = self.controls.first_action(self.world.starts[self.start])
        self.reward: float | None = None
        self.steps = 0
        self.ending = ""
        self._held = frozenset()

    def _actions(self, letters: Sequence[str]) -> np.ndarray:
        """float32 (k, A)"""
        actions = [self.action]
        for letter in letters:
            actions.append(self.controls.next_action(actions[-1], {letter}))
        return np.stack(actions[1:])

    def _record(self) -> None:
        self._recording.add(pygame.surfarray.array3d(self.picture()).swapaxes(0, 1))


def run_typed(session: TypedSession, lines: Iterable[str]) -> None:
    """Play lines of letters without a window; says what each one took.

    Raises:
        ValueError: a letter that there is not.
    """
    for line in lines:
        letters = session.parse(line)
        if not letters or session.ending:
            continue
        before = len(session.seconds)
        count = sum(1 for _ in session.take(letters))
        took = sum(session.seconds[before:])
        print(f"{''.join(letters[:count])}: {count} frames in {took:.2f} s", flush=True)
        if session.ending:
            print(f"the episode is {session.ending}", flush=True)
