"""Many players at once on a server that runs: how fast each advances, and what it waits for.

    irasim play --browser --port 8765 &
    python -m tests.irasim_env.browser.load 127.0.0.1:8765 --players 20 --seconds 60

Prints the least and most steps of a player, and the median and 95th percentile of the time from a
key's message to the first picture of a step that went by it.
"""

import asyncio
import json
import time
from dataclasses import dataclass

import numpy as np
import tyro
from websockets.asyncio.client import connect

from irasim_env.browser.messages import unpack

KEYS = ("right", "down", "left", "up")


async def play(address: str, token: str, wait: float, seconds: float) -> tuple[int, list[float]]:
    """Steps of one player, and the seconds from each of its keys to its picture."""
    await asyncio.sleep(wait)
    steps, latencies, seq, asked = 0, [], 0, 0.0
    async with connect(
        f"ws://{address}/play", origin=f"http://{address}", compression=None, max_size=None
    ) as line:
        await line.send(json.dumps({"type": "join", "token": token}))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            message = await line.recv()
            if isinstance(message, str):
                continue
            view, _ = unpack(message)
            await line.send(json.dumps({"type": "ack", "frame": view["frame"]}))
            if view["ending"]:
                await line.send(json.dumps({"type": "command", "key": "r"}))
            steps += 1
            if seq and view["seen"] < seq:
                continue
            if seq:
                latencies.append(time.perf_counter() - asked)
            seq, asked = seq + 1, time.perf_counter()
            held = [KEYS[seq // 5 % 4]]
            await line.send(
                json.dumps({"type": "input", "seq": seq, "held": held, "pointer": None})
            )
    return steps, latencies


@dataclass(frozen=True, kw_only=True)
class Load:
    """Play with many players at once on a server that runs."""

    address: tyro.conf.Positional[str]
    """Host and port, as in 127.0.0.1:8765."""
    token: str = ""
    players: int = 20
    seconds: float = 60.0


async def main(asked: Load) -> None:
    """Play, and print."""
    results = await asyncio.gather(
        *(  # one after the other: a server lets a few join at once
            play(asked.address, asked.token, number / 5, asked.seconds)
            for number in range(asked.players)
        )
    )
    steps = [count for count, _ in results]
    latencies = 1000 * np.concatenate([times for _, times in results])
    print(
        f"{asked.players} players, {asked.seconds:g} s: {min(steps)} to {max(steps)} views each; "
        f"key to picture median {np.median(latencies):.0f} ms, p95 "
        f"{np.percentile(latencies, 95):.0f} ms"
    )


if __name__ == "__main__":
    asyncio.run(main(tyro.cli(Load)))
