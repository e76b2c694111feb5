"""Windows of recorded episodes to measure a world on: context frames, then what followed.

Time contract: `frames[t]` is the frame before `actions[t]`, which leads to `frames[t + 1]`.
C context frames, L predicted frames, A action; predicted frame h (from 1) is `frames[C - 1 + h]`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.episodes import SPLITS, Episode, list_episodes, read_annotation
from training.data.missing_split import cure_for_missing

EXPERT = "expert"  # the kind of policy that half of the episodes are taken from


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Context frames of an episode and the L steps after them."""

    episode_id: str
    policy: str
    seed: int | None
    """Of the ground truth's reset; None where the recording has none."""
    replay: np.ndarray
    """float32 (n, A): all actions from that reset to the last context frame."""
    frames: np.ndarray
    """uint8 (C + L, H, W, 3)"""
    actions: np.ndarray
    """float32 (C + L - 1, A)"""
    rewards: np.ndarray
    """float64 (L,), of the predicted steps"""
    terminated: np.ndarray
    """bool (L,)"""
    states: dict[str, np.ndarray]
    """Low-dimensional observations at the predicted frames, float64 (L, n) each."""
    context_states: dict[str, np.ndarray] = field(default_factory=dict)
    """Those at the context frames, float64 (C, n) each: what a world may be handed."""

    @property
    def num_predicted(self) -> int:
        """L, the number of steps to predict."""
        return len(self.rewards)

    @property
    def num_context(self) -> int:
        """C, the number of frames given."""
        return len(self.frames) - self.num_predicted

    @property
    def context(self) -> np.ndarray:
        """Frames given, uint8 (C, H, W, 3)."""
        return self.frames[: self.num_context]

    @property
    def context_actions(self) -> np.ndarray:
        """Actions between them, float32 (C - 1, A)."""
        return self.actions[: self.num_context - 1]

    @property
    def future(self) -> np.ndarray:
        """Frames to predict, uint8 (L, H, W, 3)."""
        return self.frames[self.num_context :]

    @property
    def future_actions(self) -> np.ndarray:
        """Actions that lead to them, float32 (L, A)."""
        return self.actions[self.num_context - 1 :]

    @property
    def end(self) -> int | None:
        """The step (from 1) that ended the episode, None where none did."""
        return int(np.argmax(self.terminated)) + 1 if self.terminated.any() else None


def episode_lengths(root: Path, split: str) -> dict[str, tuple[str, int]]:
    """Of each episode of a split, by its id: the kind of policy, and the number of steps.

    Raises:
        ValueError: There are none; says which splits have some.
    """
    ids = list_episodes(root, split)
    if not ids:
        others = [name for name in SPLITS if list_episodes(root, name)]
        cure = f"measure on another, --split {' or '.join(others)}" if others else "give its --data"
        raise ValueError(
            f"{root} has no {split} episodes (expected {root}/annotation/{split}/*.json): {cure}, "
            f"or {cure_for_missing(root, split)}"
        )
    annotations = [read_annotation(root, split, episode_id) for episode_id in ids]
    kinds = [(content["policy"], len(content["actions"])) for content in annotations]
    return dict(zip(ids, kinds, strict=True))


def choose_episodes(root: Path, split: str, count: int, num_context: int) -> list[str]:
    """Ids of held-out episodes: the expert's for one half, every other kind in turn for the rest.

    Where a half has too few, the other fills it. Episodes too short to predict one frame are left
    out.

    Raises:
        ValueError: The split is empty or holds fewer than `count` episodes that are long enough.
    """
    kinds: dict[str, list[str]] = {}
    lengths = episode_lengths(root, split)
    for episode_id, (policy, num_steps) in lengths.items():
        if num_steps >= num_context:
            kinds.setdefault(policy, []).append(episode_id)
    available = sum(map(len, kinds.values()))
    if available < count:
        longest = max(num_steps for _, num_steps in lengths.values())
        fewer = "" if available else f" (the longest has {longest}: give fewer frames, --context)"
        raise ValueError(
            f"{root} has {available} {split} episodes of at least {num_context} steps{fewer}, "
            f"asked for are {count}: ask for fewer with --episodes, or "
            f"{cure_for_missing(root, split)}"
        )
    expert = kinds.pop(EXPERT, [])
    others = [i for turn in itertools.zip_longest(*kinds.values()) for i in turn if i is not None]
    num_others = min(len(others), max(count // 2, count - len(expert)))
    return sorted([*expert[: count - num_others], *others[:num_others]])


def opening(episode: Episode, num_context: int, horizon: int) -> Window:
    """The window at an episode's beginning, of up to `horizon` predicted frames."""
    return cut(episode, 0, num_context, horizon)


def ending(episode: Episode, num_context: int, horizon: int) -> Window:
    """The window that closes with an episode's last frame, of up to `horizon` predicted frames."""
    begin = max(0, len(episode.frames) - num_context - horizon)
    return cut(episode, begin, num_context, horizon)


def cut(episode: Episode, begin: int, num_context: int, horizon: int) -> Window:
    """The window from a frame on, of up to `horizon` predicted frames."""
    first = begin + num_context - 1  # the step that leads to the first predicted frame
    last = min(first + horizon, len(episode.actions))
    assert first < last, f"episode {episode.episode_id} has nothing to predict after {first}"
    return Window(
        episode_id=episode.episode_id,
        policy=episode.policy,
        seed=episode.seed,
        replay=episode.actions[:first],
        frames=episode.frames[begin : last + 1],
        actions=episode.actions[begin:last],
        rewards=episode.rewards[first:last],
        terminated=episode.terminated[first:last],
        states={name: values[first + 1 : last + 1] for name, values in episode.states.items()},
        context_states={name: values[begin : first + 1] for name, values in episode.states.items()},
    )


def count_by_policy(windows: Sequence[Window]) -> dict[str, int]:
    """Number of windows of each kind of policy, by name."""
    kinds = sorted(window.policy for window in windows)
    return {kind: len(list(same)) for kind, same in itertools.groupby(kinds)}
