"""Self-rollouts that continue across optimizer steps, on the world's own frames.

Rollouts of a few predictions (objective.py) do not show what hundreds of steps do to frames:
fringes, grain, haze. These rows begin somewhere in an episode and continue from one optimizer step
to the next, with the current weights, to its end; each step trains on the window that they have
just walked (as persistent chains do: Tieleman, ICML 2008; and Self-Forcing's
rollouts, arXiv 2506.08009, but of any length at the cost of one window). States are
reset to the recorded ones after each frame, so that the recorded frame stays the right target
however deep a row is.

Dimensions: R rows, T frames, C channels, h w latent cells, S components of all states.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from training.data.clips import Clips, ClipStore
from training.streaming.objective import scaled_states
from world_model import StreamingWorld
from world_model.runtime.counter_rng import counted_index
from world_model.streaming.state import StreamingState

# Stream of the counted numbers that say where a row begins anew.
BEGIN = 7


class SelfRollout:
    """Rows of one process; which episodes they walk along depends on (seed, row) alone."""

    def __init__(
        self,
        world: StreamingWorld,
        store: ClipStore,
        seed: int,
        rows: Tensor,
        total: int,
        autocast: Callable[..., AbstractContextManager[Any]] = nullcontext,
    ):
        """Let rows begin.

        Args:
            world: Whose frames.
            store: Of the recorded episodes.
            seed: Of the run.
            rows: int64 (R,), their numbers among those of all processes.
            total: How many these are.
            autocast: Around what the network draws.
        """
        self.world, self.store, self.seed, self.total = world, store, seed, total
        self.autocast = autocast
        scaled = scaled_states(world, store.states)
        parts = [scaled[name] for name in world.config.tracked]
        self.states = torch.cat(parts or [store.actions[:, :0]], dim=-1)  # (F, S)
        self.samples = rows.clone()  # numbers of each row's present walk
        self.at = self._begins()  # int64 (R,): flat numbers of their newest frames
        self.state = self._start(self.at)

    @torch.no_grad()
    def begin_anew(self) -> None:
        """Let rows whose episode has ended begin elsewhere."""
        ended = torch.nonzero(self.at >= self.store.last[self.at])[:, 0]
        if len(ended):
            self.samples[ended] += self.total
            self.at[ended] = self._begins()[ended]
            self.state.put(ended, self._start(self.at[ended]))

    def left(self, num_steps: int) -> Tensor:
        """How many of the next `num_steps` steps lead to frames that count, in all."""
        return self.store.window(self.at, num_steps + 1)[1][:, 1:].sum()

    @torch.no_grad()
    def walk(self, num_frames: int) -> tuple[Clips, Tensor]:
        """Walk on by `num_frames` - 1 steps, after `begin_anew`.

        Returns:
            What was recorded of the frames from where the rows stood, and the frames as the world
            drew them, (R, T, C, h, w); past an episode's end they mean nothing.
        """
        begins, state = self.at, self.state
        index, _, before = self.store.window(begins, num_frames)
        clips = self.store.clips(begins, num_frames)
        made, earlier = [state.latents.clone()], before
        for t in range(1, num_frames):
            now = index[:, t - 1]
            self.world.conditioner.recall_(state.memory, self.states[earlier], self.states[now])
            shown = torch.stack((self.states[now], self.states[index[:, t]]), dim=1)
            with self.autocast():
                self.world.advance(state, clips.actions[:, t], shown)
            made.append(state.latents.clone())
            earlier = now
        self.at = index[:, -1].clone()
        return clips, torch.stack(made, dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """All that a resume needs, by name; rows first."""
        state = self.state.tensors
        for name in ("keys", "values"):
            state[name] = state[name].movedim(1, 0)
        return {"samples": self.samples, "at": self.at, **state}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Be as when `tensors` gave these."""
        for name, mine in self.tensors().items():
            mine.copy_(tensors[name])

    def _begins(self) -> Tensor:
        """Where the rows' present walks begin, flat frame numbers (R,)."""
        seeds = torch.full_like(self.samples, self.seed)
        choice = self.store.clip_starts
        return choice[counted_index(seeds, self.samples, len(choice), stream=BEGIN)]

    def _start(self, begins: Tensor) -> StreamingState:
        clips = self.store.clips(begins, 1)
        started = self.world.start(clips.frames, clips.actions[:, 1:], torch.zeros_like(begins))
        assert isinstance(started, StreamingState)
        return started
