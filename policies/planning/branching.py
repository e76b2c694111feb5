"""A simulator in a process of its own that can be branched exactly, at any moment.

Poses set by hand are not exact in contact, and replaying all actions for each candidate takes as
long as the episode has lasted. The process keeps a simulator at the newest moment and forks itself
for each candidate: the copy is exact, whatever the simulator keeps in memory, and costs a
millisecond. It imports no torch, so that there is little to copy.

Dimensions: B environments, K candidates, H horizon, A action, n actions so far.
"""

import gc
import importlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any

import gymnasium as gym
import numpy as np

from world_model.lazy_names import load

# For the process: no window, and one thread, since a fork copies one only.
ENVIRONMENT = {"SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

Measure = Callable[[Any], float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """Where an episode of a simulator is: replaying it leads there exactly."""

    seed: int
    """Of the simulator's reset."""
    actions: np.ndarray
    """float32 (n, A): every action since."""


class BranchingSimulator:
    """Tries action sequences in a simulator, from anywhere in an episode.

    Args:
        env_id: Environment as gymnasium.make takes it; "module:id" imports the module first.
        env_kwargs: Its arguments; without pixels it is faster.
        workers: Candidates tried at the same time.
        measure: Import path "module:function"; function(env) after each step replaces
            the reward.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: dict[str, Any] | None = None,
        *,
        workers: int = 1,
        measure: str | None = None,
    ):
        if workers < 1:
            raise ValueError(f"workers is {workers}, expected at least 1")
        if not hasattr(os, "fork"):
            raise ValueError(
                "trying candidates in the simulator needs os.fork, which this system lacks; use "
                "Linux or macOS"
            )
        self._connection, theirs = Pipe()
        code = f"from policies.planning.branching import serve; serve({theirs.fileno()})"
        # A fresh interpreter rather than multiprocessing's: that one imports the caller's main
        # module, and torch with it, which makes each fork dearer.
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            # Whether it can be made is checked now.
            self._ask((env_id, env_kwargs or {}, workers, measure))
        except RuntimeError:
            self.close()
            raise

    def try_actions(
        self, experiences: list[Experience], actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Try candidates from B moments, each in a copy of the simulator.

        The episode that an experience goes on with is kept where it is, so a later moment of it
        costs only the actions in between.

        Args:
            experiences: B of them.
            actions: float32 (B, K, H, A).

        Returns:
            Rewards float64 (B, K, H) and ends bool (B, K, H). After an end nothing is stepped:
            rewards are 0 and ends False there.

        Raises:
            RuntimeError: The simulator failed; the message says how.
        """
        return self._ask((experiences, np.asarray(actions, np.float32)))

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "BranchingSimulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Any) -> Any:
        try:
            self._connection.send(question)
            answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(
                "the simulator's process has ended; its own message is above"
            ) from error
        if isinstance(answer, str):
            raise RuntimeError(f"the simulator failed:\n{answer}")
        return answer


@dataclass(eq=False)
class _Episode:
    """A simulator, and what it has gone through."""

    env: Any
    seed: int | None = None
    actions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    ended: bool = False

    def go_to(self, experience: Experience) -> None:
        """Step on, or reset and replay where the experience is no continuation."""
        mine, theirs = self.actions, np.asarray(experience.actions, np.float32)
        known = len(mine)
        continues = (
            self.seed == experience.seed
            and known <= len(theirs)
            and (known == 0 or np.array_equal(mine, theirs[:known]))
        )
        if not continues:
            self.env.reset(seed=int(experience.seed))
            self.ended, known = False, 0
        for action in theirs[known:]:
            _, _, terminated, truncated, _ = self.env.step(action)
            self.ended = bool(terminated or truncated)
        self.seed, self.actions = experience.seed, theirs.copy()


def serve(descriptor: int) -> None:
    """Answer questions until the other end is closed: first what to simulate, then candidates."""
    connection = Connection(descriptor)
    episodes: list[_Episode] = []
    made: tuple[str, dict[str, Any]] | None = None
    workers, measure = 1, None
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            if made is None:
                env_id, kwargs, workers, path = question
                measure = load(path) if path else None
                episodes.append(_Episode(_make(env_id, kwargs)))
                made = (env_id, kwargs)
                connection.send(True)
                # Forks share what is not written to, and a collection writes to everything.
                gc.collect()
                gc.freeze()
                continue
            experiences, actions = question
            while len(episodes) < len(experiences):
                episodes.append(_Episode(_make(*made)))
            rewards, ends = [], []
            for episode, experience, tried in zip(episodes, experiences, actions, strict=False):
                episode.go_to(experience)
                reward, ended = _branch(episode, tried, workers, measure)
                rewards.append(reward)
                ends.append(ended)
            connection.send((np.stack(rewards), np.stack(ends)))
        except Exception:
            connection.send(traceback.format_exc())


def _make(env_id: str, kwargs: dict[str, Any]) -> Any:
    module, colon, _ = env_id.partition(":")
    if colon:
        importlib.import_module(module)
    return gym.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)


def _branch(
    episode: _Episode, candidates: np.ndarray, workers: int, measure: Measure | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and ends (K, H) of candidates (K, H, A), each in a fork of this process."""
    count, horizon = candidates.shape[:2]
    rewards, ends = np.zeros((count, horizon)), np.zeros((count, horizon), bool)
    running: list[tuple[int, int, int]] = []  # candidate, process, pipe
    for k in range(count + workers):
        if len(running) == workers or (k >= count and running):
            candidate, process, pipe = running.pop(0)
            with os.fdopen(pipe, "rb") as answer:
                result = answer.read()
            _, status = os.waitpid(process, 0)
            if status or len(result) != 16 * horizon:
                raise RuntimeError(
                    f"candidate {candidate} failed: {result.decode(errors='replace')}"
                )
            rewards[candidate], ended = np.frombuffer(result, np.float64).reshape(2, horizon)
            ends[candidate] = ended > 0
        if k < count:
            running.append((k, *_fork(episode, candidates[k], measure)))
    return rewards, ends


def _fork(episode: _Episode, actions: np.ndarray, measure: Measure | None) -> tuple[int, int]:
    """Start a copy of this process that tries actions (H, A): its id, and where it will answer."""
    answer, result = os.pipe()
    process = os.fork()
    if process:
        os.close(result)
        return process, answer
    try:
        gc.disable()
        outcome = np.zeros((2, len(actions)))
        if episode.ended:
            raise ValueError("the episode has ended; nothing can be tried from there")
        for h, action in enumerate(actions):
            _, reward, terminated, truncated, _ = episode.env.step(action)
            told_now = reward if measure is None else measure(episode.env)
            outcome[:, h] = float(told_now), bool(terminated)
            if terminated or truncated:
                break
        _write(result, outcome.tobytes())
        os._exit(0)
    except BaseException:
        _write(result, traceback.format_exc().encode())
        sys.stderr.flush()
        os._exit(1)


def _write(pipe: int, content: bytes) -> None:
    while content:
        content = content[os.write(pipe, content) :]
