"""How to push one block to another: go behind it, then push it along, steering on the way."""

from dataclasses import dataclass

import numpy as np

from policies.tabletop.routes import next_corner
from policies.tabletop.scene import BLOCKS, NAMES, PUSHER_RADIUS, REACH_HIGH, REACH_LOW, STEP, TABLE

RADII = np.array([block.radius for block in BLOCKS])
# How far around a block the pusher's axis passes, and behind it stops, m.
PASSING, BEHIND = 0.004, 0.003
# How a push is steered: back to the line per distance off it; off by more, in radii, it begins
# anew.
STEERING, OFF_LINE = 1.0, 0.75


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """How well it is done."""

    pace: float = 0.8
    """Share of the pusher's speed while it pushes."""
    looks_around: bool = True
    """Goes around the other blocks, and pushes around them, instead of straight on."""


class BlockPusher:
    """Chooses the pusher's moves.

    Args:
        move: The block that is pushed.
        to: The block that it is pushed to.
        config: How well.
    """

    def __init__(self, move: str, to: str, config: PushConfig | None = None):
        self._move, self._to = NAMES.index(move), NAMES.index(to)
        self._config = config or PushConfig()
        self._pushing = False

    def forget(self) -> None:
        """Begin anew at the next step, as after a disturbance."""
        self._pushing = False

    def __call__(self, blocks: np.ndarray, pusher: np.ndarray) -> np.ndarray:
        """The next action (2,), for the places of blocks (4, 2) and of the pusher (2,), m."""
        at = blocks[self._move]
        goal = self._way_of_block(blocks)
        line = (goal - at) / max(float(np.linalg.norm(goal - at)), 1e-9)
        aside = np.array([-line[1], line[0]])
        touching = RADII[self._move] + PUSHER_RADIUS
        from_block = pusher - at
        off = float(from_block @ aside)
        behind = -float(from_block @ line)
        limit = OFF_LINE if self._pushing else OFF_LINE / 2
        self._pushing = behind > 0 and abs(off) < limit * touching and behind < touching + 0.02
        if self._pushing:
            wanted = line * STEP * self._config.pace - STEERING * off * aside
            return _action(wanted, self._config.pace)
        start = np.clip(at - line * (touching + BEHIND), REACH_LOW, REACH_HIGH)
        if np.linalg.norm(start - pusher) < 0.004:  # beside a rim, where it cannot get behind
            self._pushing = True
            return _action(line * STEP, self._config.pace)
        return _action(self._way_of_pusher(blocks, pusher, start) - pusher, 1.0)

    def _way_of_block(self, blocks: np.ndarray) -> np.ndarray:
        """Where the block is pushed to first."""
        at, goal = blocks[self._move], blocks[self._to]
        others = [i for i in range(len(BLOCKS)) if i not in (self._move, self._to)]
        if not self._config.looks_around:
            return goal
        room = np.array(TABLE) - RADII[self._move] - 0.005
        clear = RADII[others] + RADII[self._move] + 0.002
        return next_corner(at, goal, blocks[others], clear, -room, room)

    def _way_of_pusher(
        self, blocks: np.ndarray, pusher: np.ndarray, goal: np.ndarray
    ) -> np.ndarray:
        """Where the pusher goes first."""
        around = list(range(len(BLOCKS))) if self._config.looks_around else [self._move]
        clear = RADII[around] + PUSHER_RADIUS + PASSING
        return next_corner(pusher, goal, blocks[around], clear, REACH_LOW, REACH_HIGH)


def _action(move: np.ndarray, most: float) -> np.ndarray:
    """The action that makes a move (2,), m, at most so fast along either axis."""
    action = move / STEP
    return (action * min(1.0, most / max(float(np.abs(action).max()), 1e-9))).astype(np.float32)
