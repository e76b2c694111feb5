"""What the player's window shows: the frames enlarged, and everything one wants to know below."""

import textwrap
from dataclasses import dataclass, field

import numpy as np
import pygame

from irasim_env.controls import LETTER, Direction, KeyControls

BACKGROUND, RAISED, LINE = (22, 24, 29), (38, 41, 48), (64, 69, 79)
TEXT, DIM = (232, 234, 238), (154, 160, 171)
BLUE, GREEN, RED, AMBER = (88, 166, 255), (86, 211, 100), (255, 92, 92), (240, 180, 70)
# Pixels of the window.
HEADER, MARGIN, GAP, ROW, MESSAGE_ROW = 30, 14, 4, 22, 16
MIN_WIDTH = 480
MIN_ROWS = 5


@dataclass(frozen=True, kw_only=True)
class View:
    """What there is to show at one moment."""

    frame: np.ndarray
    """uint8 (H, W, 3), of the learned world."""
    action: np.ndarray
    """(A,)"""
    start: int
    """Number of the episode's start."""
    num_starts: int
    held: frozenset[str] = frozenset()
    reward: float | None = None
    real_frame: np.ndarray | None = None
    real_reward: float | None = None
    real_note: str = ""
    steps: int = 0
    pace: float | None = None
    """Steps a second."""
    latency_ms: float | None = None
    """What a step of the world takes."""
    ending: str = ""
    """Shown across the picture."""
    paused: bool = False
    recording: bool = False
    message: str = ""
    help: tuple[tuple[str, str], ...] = field(default=())
    """Keys and what they do; shown over the picture where there are any."""


class Overlay:
    """Draws views.

    Args:
        controls: Whose action is shown.
        title: What to call the world.
        frame_shape: Height and width of a frame.
        reward_range: Ends of the reward's bar.
        scale: Factor by which frames are enlarged.
        smooth: Interpolate between pixels instead of showing squares.
    """

    def __init__(
        self,
        controls: KeyControls,
        title: str,
        frame_shape: tuple[int, int],
        *,
        reward_range: tuple[float, float] = (0.0, 1.0),
        scale: int = 5,
        smooth: bool = False,
    ):
        pygame.font.init()
        sizes = (20, 23, 38)
        self._small, self._text, self._large = (pygame.font.Font(None, 2 * n) for n in sizes)
        self._controls = controls
        self._title = title
        self._reward_range = reward_range
        self.smooth = smooth
        self._picture = pygame.Rect(0, HEADER, frame_shape[1] * scale, frame_shape[0] * scale)
        self._picture.centerx = max(self._picture.width, MIN_WIDTH) // 2
        rows = max(MIN_ROWS, len(controls.low))
        self._panel_height = 2 * MARGIN + rows * ROW + 2 * MESSAGE_ROW

    def size(self, with_reality: bool) -> tuple[int, int]:
        """Width and height of the window: even, as videos have them."""
        pictures = 1 + with_reality
        width = max(MIN_WIDTH, self._picture.width) * pictures + GAP * with_reality
        height = HEADER + self._picture.height + self._panel_height
        return width + width % 2, height + height % 2

    def pointer(self, position: tuple[int, int]) -> tuple[float, float] | None:
        """Where a point of the window lies in a picture, as shares of it; None outside."""
        for left in (self._picture.left, self._picture.left + self._pitch):
            x, y = position[0] - left, position[1] - self._picture.top
            if 0 <= x < self._picture.width and 0 <= y < self._picture.height:
                return x / (self._picture.width - 1), y / (self._picture.height - 1)
        return None

    def draw(self, view: View) -> pygame.Surface:
        """A picture of the whole window."""
        surface = pygame.Surface(self.size(view.real_frame is not None))
        surface.fill(BACKGROUND)
        start = f"start {view.start} (0 to {view.num_starts - 1})"
        self._draw_frame(surface, view.frame, self._picture, f"learned: {self._title}", start)
        target = self._controls.target(view.action)
        pictures = [self._picture]
        if view.real_frame is not None:
            pictures.append(self._picture.move(self._pitch, 0))
            note = view.real_note
            self._draw_frame(surface, view.real_frame, pictures[1], "real simulator", note)
        for picture in pictures:
            if target is not None:
                _draw_target(surface, picture, target)
        self._draw_panel(surface, view)
        if view.help:
            self._draw_help(surface, view.help)
        elif view.ending or view.paused:
            self._draw_banner(surface, view)
        return surface

    @property
    def _pitch(self) -> int:
        """From the learned picture to the real one."""
        return max(MIN_WIDTH, self._picture.width) + GAP

    def _draw_frame(
        self,
        surface: pygame.Surface,
        frame: np.ndarray,
        picture: pygame.Rect,
        title: str,
        note: str,
    ) -> None:
        pixels = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        enlarge = pygame.transform.smoothscale if self.smooth else pygame.transform.scale
        surface.blit(enlarge(pixels, picture.size), picture)
        left, right = (picture.centerx + side * (self._pitch - GAP) // 2 for side in (-1, 1))
        self._write(surface, title, (left + MARGIN, HEADER // 2), TEXT, "midleft")
        self._write(surface, note, (right - MARGIN, HEADER // 2), DIM, "midright", self._small)

    def _draw_banner(self, surface: pygame.Surface, view: View) -> None:
        title = view.ending or "paused"
        color = GREEN if view.ending.startswith("success") else AMBER
        hint = "R starts again" if view.ending else "SPACE goes on, N takes one step"
        band = pygame.Rect(0, 0, self._pitch - GAP, 78)
        band.bottom = self._picture.bottom
        _shade(surface, band)
        self._write(surface, title, (band.centerx, band.top + 28), color, "center", self._large)
        self._write(surface, hint, (band.centerx, band.top + 58), TEXT, "center")

    def _draw_help(self, surface: pygame.Surface, lines: tuple[tuple[str, str], ...]) -> None:
        area = pygame.Rect(0, HEADER, self._pitch - GAP, self._picture.height)
        room = surface.get_height() - HEADER  # Small pictures: over the panel too.
        area.height = min(room, max(area.height, 2 * MARGIN + ROW * len(lines)))
        _shade(surface, area, 235)
        pitch = min(27, (area.height - 2 * MARGIN) // len(lines))
        middle = area.width * 2 // 5
        for i, (keys, effect) in enumerate(lines):
            y = area.top + MARGIN + i * pitch + pitch // 2
            self._write(surface, keys, (middle - 8, y), BLUE, "midright")
            self._write(surface, effect, (middle + 8, y), TEXT, "midleft")

    def _draw_panel(self, surface: pygame.Surface, view: View) -> None:
        top = self._picture.bottom + MARGIN
        self._draw_arrow_keys(surface, (MARGIN, top), view.held)
        direction = self._controls.held_direction(view.held)
        for i, (label, value) in enumerate(zip(self._controls.labels, view.action, strict=True)):
            y = top + i * ROW + ROW // 2
            low, high = self._controls.low[i], self._controls.high[i]
            self._write(surface, label, (124, y), DIM, "midleft", self._small)
            self._write(surface, _short(value, high - low), (232, y), TEXT, "midright")
            color = BLUE if direction[i] else DIM
            _draw_bar(surface, (240, y), float(value), low, high, color)
        self._draw_numbers(surface, view, pygame.Rect(334, top, MIN_WIDTH - 334 - MARGIN, 0))
        self._draw_message(surface, view.message)
        if view.recording:
            x, y = surface.get_width() - MARGIN, surface.get_height() - MARGIN - MESSAGE_ROW // 2
            pygame.draw.circle(surface, RED, (x - 40, y), 5)
            self._write(surface, "REC", (x, y), RED, "midright", self._small)

    def _draw_message(self, surface: pygame.Surface, message: str) -> None:
        columns = (surface.get_width() - 2 * MARGIN - 60) // 7
        lines = textwrap.wrap(message or "H shows the keys", columns)
        area = surface.get_rect()
        area.top = area.bottom - MARGIN - len(lines) * MESSAGE_ROW
        if len(lines) > 1:  # Long ones cover what is above them.
            _shade(surface, area.inflate(0, MESSAGE_ROW), 235)
        for i, line in enumerate(lines):
            at = (MARGIN, area.top + i * MESSAGE_ROW + MESSAGE_ROW // 2)
            self._write(surface, line, at, AMBER if message else DIM, "midleft", self._small)

    def _draw_numbers(self, surface: pygame.Surface, view: View, area: pygame.Rect) -> None:
        y = area.top + ROW // 2
        rewards = [("reward", view.reward, BLUE)]
        if view.real_frame is not None:
            rewards.append(("real", view.real_reward, GREEN))
        for label, reward, color in rewards:
            self._write(surface, label, (area.left, y), DIM, "midleft", self._small)
            words = "-" if reward is None else f"{reward:.2f}"
            self._write(surface, words, (area.left + 88, y), TEXT, "midright")
            if reward is not None:
                _draw_bar(surface, (area.left + 96, y), reward, *self._reward_range, color, 36)
            y += ROW
        pace = "-" if view.pace is None else f"{view.pace:.1f}"
        latency = "-" if view.latency_ms is None else f"{view.latency_ms:.0f}"
        for label, words in (("step", str(view.steps)), ("steps/s", pace), ("ms/step", latency)):
            self._write(surface, label, (area.left, y), DIM, "midleft", self._small)
            self._write(surface, words, (area.left + 112, y), TEXT, "midright")
            y += ROW

    def _draw_arrow_keys(
        self, surface: pygame.Surface, corner: tuple[int, int], held: frozenset[str]
    ) -> None:
        bound = self._controls.keys
        places: dict[Direction, tuple[int, int]] = {
            "up": (1, 0),
            "left": (0, 1),
            "down": (1, 1),
            "right": (2, 1),
        }
        for direction, (column, row) in places.items():
            if direction not in bound:
                continue
            key = pygame.Rect(corner[0] + column * 32, corner[1] + row * 32, 28, 28)
            lit = bool({direction, LETTER[direction]} & held)
            pygame.draw.rect(surface, BLUE if lit else RAISED, key, border_radius=5)
            pygame.draw.rect(surface, BLUE if lit else LINE, key, 1, border_radius=5)
            _draw_arrow(surface, key.center, direction, BACKGROUND if lit else DIM)

    def _write(
        self,
        surface: pygame.Surface,
        words: str,
        at: tuple[int, int],
        color: tuple[int, int, int],
        anchor: str,
        font: pygame.font.Font | None = None,
    ) -> None:
        text = (font or self._text).render(words, True, color)
        # Drawn at twice the size and shrunk, letters are spaced evenly.
        text = pygame.transform.smoothscale(text, (text.get_width() // 2, text.get_height() // 2))
        surface.blit(text, text.get_rect(**{anchor: at}))


def _draw_target(
    surface: pygame.Surface, picture: pygame.Rect, target: tuple[float, float]
) -> None:
    """A ring with a cross where a position action points, light on dark to be seen anywhere."""
    x = picture.left + round(target[0] * (picture.width - 1))
    y = picture.top + round(target[1] * (picture.height - 1))
    surface.set_clip(picture)
    for color, width in ((BACKGROUND, 4), (RED, 2)):
        pygame.draw.circle(surface, color, (x, y), 10 + width // 2, width)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            inner, outer = (x + 6 * dx, y + 6 * dy), (x + 15 * dx, y + 15 * dy)
            pygame.draw.line(surface, color, inner, outer, width)
    surface.set_clip(None)


def _draw_arrow(
    surface: pygame.Surface,
    center: tuple[int, int],
    direction: Direction,
    color: tuple[int, int, int],
) -> None:
    x, y = center
    along = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}[direction]
    across = along[1], along[0]
    tip = (x + 6 * along[0], y + 6 * along[1])
    base = [
        (x - 5 * along[0] + side * 6 * across[0], y - 5 * along[1] + side * 6 * across[1])
        for side in (1, -1)
    ]
    pygame.draw.polygon(surface, color, [tip, *base])


def _draw_bar(
    surface: pygame.Surface,
    middle_left: tuple[int, int],
    value: float,
    low: float,
    high: float,
    color: tuple[int, int, int],
    width: int = 70,
) -> None:
    """A bar from 0, or from the low end where 0 is not within."""
    bar = pygame.Rect(middle_left[0], middle_left[1] - 4, width, 8)
    pygame.draw.rect(surface, RAISED, bar, border_radius=3)
    ends = [np.clip((v - low) / (high - low), 0, 1) for v in (max(low, min(0.0, high)), value)]
    left, right = sorted(bar.left + round(float(end) * width) for end in ends)
    pygame.draw.rect(surface, color, (left, bar.top, max(2, right - left), 8), border_radius=3)


def _shade(surface: pygame.Surface, area: pygame.Rect, opacity: int = 200) -> None:
    shade = pygame.Surface(area.size, pygame.SRCALPHA)
    shade.fill((*BACKGROUND, opacity))
    surface.blit(shade, area)


def _short(value: float, span: float) -> str:
    """A number with the digits that matter within a span."""
    return f"{value:.0f}" if span >= 100 else f"{value:.2f}" if span >= 1 else f"{value:.3f}"
