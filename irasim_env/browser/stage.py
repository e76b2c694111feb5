"""Where players step: one thread that owns world, simulators and pictures.

The server's own thread never waits for a model. Players that are due while a step runs go together
into the next one, so twenty of them cost few calls, and none waits for more than two.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from irasim_env.env import step_together
from irasim_env.player import Player

T = TypeVar("T")
log = logging.getLogger(__name__)


class Stage:
    """Runs calls one after the other in a thread of its own, steps of several players as one.

    Args:
        most: Most players in one call of the model.
    """

    def __init__(self, most: int = 32):
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="world")
        self._waiting: list[tuple[Player, Callable[[], Any], asyncio.Future[Any]]] = []
        self._stepping: asyncio.Task[None] | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """What a call returns; it may touch players, and nothing else touches them meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def step(self, player: Player, show: Callable[[], T]) -> T:
        """Let a player take a step, together with those that wait for one, too.

        Args:
            player: Who steps, unless it is paused or its episode has ended.
            show: Called right after the step, before anything else touches the player.

        Returns:
            What `show` returns.

        Raises:
            Exception: what that player's own step, or `show`, raised.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((player, show, future))
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._step_all())
        return await future

    def close(self) -> None:
        """End the thread, when what it does is done."""
        self._thread.shutdown(wait=True)

    async def _step_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            taken = [one for one in taken if not one[2].cancelled()]
            shown = await self.run(lambda taken=taken: _step_and_show(taken))
            for (_, _, future), result in zip(taken, shown, strict=True):
                if future.cancelled():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)


def _step_and_show(taken: Sequence[tuple[Player, Callable[[], Any], Any]]) -> list[Any]:
    """What each player shows after its step, or what went wrong with it."""
    failures = step_players([player for player, _, _ in taken])
    shown: list[Any] = []
    for player, show, _ in taken:
        try:
            shown.append(failures.get(id(player)) or show())
        except Exception as failure:
            shown.append(failure)
    return shown


def step_players(players: Sequence[Player]) -> dict[int, Exception]:
    """Let players step, in one call of the model for those that draw as many samples.

    Args:
        players: Each once. One that is paused, or whose episode has ended, stays as it is.

    Returns:
        What went wrong, by the id() of the player; another's mistake keeps no player from stepping.
    """
    failures: dict[int, Exception] = {}
    groups: dict[int | None, list[Player]] = {}
    for player in players:
        if player.session.ending is None and not player.paused:
            groups.setdefault(player.session.env.samples, []).append(player)
    for group in groups.values():
        results, seconds = _step_worlds(group)
        for player, result in zip(group, results, strict=True):
            try:
                if result is None:
                    player.tick()
                else:
                    player.session.take(result[0], result[1], seconds)
                    player.stepped()
            except Exception as failure:
                failures[id(player)] = failure
    return failures


def _step_worlds(group: Sequence[Player]) -> tuple[list[Any], float]:
    """Action and outcome of each player's step, and what one took; None where the step could not
    be taken together, and so has not been taken."""
    began = time.perf_counter()
    try:
        actions = [player.next_action() for player in group]
        outcomes = step_together([player.session.env for player in group], actions)
    except Exception:
        log.exception("%d players failed to step together; each now steps alone", len(group))
        return [None] * len(group), 0.0
    return list(zip(actions, outcomes, strict=True)), time.perf_counter() - began
