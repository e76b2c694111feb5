"""How held keys and the mouse become an action: arithmetic only, no window and no model.

A component whose bounds are symmetric about 0 is a velocity (a delta, a force): keys hold it at a
value, released it is 0. Any other is a position (an absolute target): keys move it, released it
stays. Dimensions: A action components.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from world_model import Start

Direction = Literal["right", "left", "down", "up"]
OPPOSITE: dict[Direction, Direction] = {
    "right": "left",
    "left": "right",
    "down": "up",
    "up": "down",
}
LETTER: dict[Direction, str] = {"right": "d", "left": "a", "down": "s", "up": "w"}
# Keys of the components after the first two: one adds, the other takes away.
FURTHER_KEYS = (("u", "j"), ("i", "k"), ("o", "l"), ("p", ";"), ("t", "f"), ("x", "z"))
# At speed 1 a held key moves a position by this share of its range a step ...
POSITION_STEP = 0.04
# ... and holds a velocity at this share of its bound.
VELOCITY_SHARE = 0.5
# The observation that says where the agent is, in the units of a position action, unless the
# world's task says otherwise: gym's and LeRobot's environments call it so.
AGENT_POSITION = "agent_pos"


@dataclass(frozen=True, kw_only=True)
class KeyControls:
    """Keys and mouse of a world's actions.

    The arrows (or W A S D) drive the first two components, pairs of letters the next six; what is
    beyond stays at rest. The mouse sets the first two while its button is held: the picture is
    their range, so a position goes to the pointer where the camera looks straight down on it, and a
    velocity grows with the pointer's distance from the middle.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    names: tuple[str, ...] = ()
    """Names of the components, or none."""
    directions: tuple[Direction, Direction] = ("right", "down")
    """Where the first and the second component grow, as seen in the picture."""
    speed: float = 1.0
    """Factor on how far a held key moves a position, or how fast a velocity it gives."""
    velocity: float | None = None
    """What a held key sets a velocity to at speed 1; None is half its bound."""
    place: str = AGENT_POSITION
    """The observation that says where the agent is."""

    def __post_init__(self) -> None:
        first, second = self.directions
        if second in (first, OPPOSITE[first]):
            raise ValueError(
                f"directions are {first} and {second}, expected one of left and right and one of "
                "up and down, such as right down"
            )
        if not self.speed > 0:
            raise ValueError(f"speed is {self.speed}, expected a positive number")

    @property
    def pairs(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """By component: names of the keys that add, names of those that take away."""
        arrows = [
            ((d, LETTER[d]), (OPPOSITE[d], LETTER[OPPOSITE[d]]))
            for d in self.directions[: len(self.low)]
        ]
        further = [((add,), (take,)) for add, take in FURTHER_KEYS[: max(0, len(self.low) - 2)]]
        return tuple(arrows + further)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all keys that change an action."""
        return tuple(key for pair in self.pairs for keys in pair for key in keys)

    @property
    def labels(self) -> tuple[str, ...]:
        """What to call each component."""
        return self.names or tuple(f"action {i}" for i in range(len(self.low)))

    @property
    def help(self) -> tuple[tuple[str, str], ...]:
        """Keys and what they do, in pairs."""
        labels, velocity = self.labels, bool(self.is_velocity[0])
        lines = [
            (
                "arrows or W A S D",
                f"{'velocity' if velocity else 'target'}: {', '.join(labels[:2])}",
            ),
            (
                "mouse held down",
                "away from the middle" if velocity else "target under the pointer",
            ),
        ]
        for label, (add, take) in zip(labels[2:], self.pairs[2:], strict=False):
            lines.append((f"{add[0].upper()} / {take[0].upper()}", f"{label} up / down"))
        if len(labels) > len(self.pairs):
            lines.append(("no keys", ", ".join(labels[len(self.pairs) :])))
        return tuple(lines)

    @property
    def is_velocity(self) -> np.ndarray:
        """bool (A,): which components are velocities."""
        return np.array(self.low) == -np.array(self.high)

    def first_action(self, start: "Start | None" = None) -> np.ndarray:
        """The action before any key, float32 (A,): which keeps an agent at rest.

        Velocities are 0. Positions are the agent's own, where the start knows it; else those of
        the last action before the start, else the middle of their range.
        """
        action = (np.array(self.low) + np.array(self.high)) / 2
        if start is not None:
            position = start.states.get(self.place)
            if position is not None and position.shape[1:] == action.shape:
                action = np.asarray(position[-1], np.float64)
            elif len(start.actions):
                action = np.asarray(start.actions[-1], np.float64)
        return self._within_bounds(np.where(self.is_velocity, 0.0, action))

    def held_direction(self, held: Collection[str]) -> np.ndarray:
        """What held keys ask of each component: -1, 0 or 1, float32 (A,)."""
        direction = np.zeros(len(self.low), np.float32)
        for i, (add, take) in enumerate(self.pairs):
            direction[i] = any(key in held for key in add) - any(key in held for key in take)
        return direction

    def move(self, previous: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The action one step after `previous`, float32 (A,), for a direction (A,) in [-1, 1]."""
        low, high = np.array(self.low), np.array(self.high)
        position = previous + direction * self.speed * POSITION_STEP * (high - low)
        fastest = VELOCITY_SHARE * high if self.velocity is None else self.velocity
        velocity = direction * self.speed * fastest
        return self._within_bounds(np.where(self.is_velocity, velocity, position))

    def next_action(
        self,
        previous: np.ndarray,
        held: Collection[str],
        pointer: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """The action one step after `previous`, float32 (A,).

        Args:
            previous: The action before, (A,).
            held: Names of the keys held, as pygame calls them.
            pointer: The mouse in the picture while its button is held: shares of the picture's
                width from the left and of its height from the top.
        """
        action = self.move(previous, self.held_direction(held))
        if pointer is not None:
            for i, direction in enumerate(self.directions[: len(self.low)]):
                share = np.clip(_seen_along(direction, pointer), 0, 1)
                action[i] = self.low[i] + share * (self.high[i] - self.low[i])
        return action

    def target(self, action: np.ndarray) -> tuple[float, float] | None:
        """Where in the picture an action (A,) points, as `pointer`; None for velocities."""
        if len(self.low) < 2 or self.is_velocity[:2].any():
            return None
        point = [0.0, 0.0]
        for i, direction in enumerate(self.directions):
            share = float((action[i] - self.low[i]) / (self.high[i] - self.low[i]))
            axis = 0 if direction in ("right", "left") else 1
            point[axis] = share if direction in ("right", "down") else 1 - share
        return point[0], point[1]

    def _within_bounds(self, action: np.ndarray) -> np.ndarray:
        return np.clip(action, self.low, self.high).astype(np.float32)


def _seen_along(direction: Direction, pointer: tuple[float, float]) -> float:
    """How far a point of the picture lies along a direction, as a share of the picture."""
    share = pointer[0] if direction in ("right", "left") else pointer[1]
    return share if direction in ("right", "down") else 1 - share
