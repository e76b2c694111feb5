"""WorldModel: what the camera sees after each action, one batched call a step.

This is the face of every world. How it predicts is its engine's: `StreamingWorld`
(streaming/world.py) one frame at a time over a ring of its past, `ChunkWorld` (chunk/world.py)
many frames at once from the last one.

Dimensions: B environments, K candidates, H horizon, k actions of a chunk, A action, C channels,
h w latent cells.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from world_model.codec import make_codec
from world_model.config import WorldConfig
from world_model.engines import ENGINES
from world_model.given_states import check_observations, known_states
from world_model.io.checkpoint import Card, WorldFiles, read_weights, read_world, write_world
from world_model.io.sound_weights import check_fits, shapes_in
from world_model.io.starts import Starts
from world_model.lazy_names import load
from world_model.runtime.check_inputs import (
    as_indices,
    as_numbers,
    as_seeds,
    as_tensor,
    check_finite,
    find_device,
)
from world_model.runtime.counter_rng import candidate_seeds
from world_model.runtime.precision import Precision, in_own_precision
from world_model.state import ChunkOutput, RolloutOutput, StepOutput, WorldState, joined


class WorldModel(nn.Module, ABC):
    """A learned simulator: codec and denoiser, and the starts of its episodes."""

    stored_dtype: ClassVar[torch.dtype]
    """Precision of the weights in `model.safetensors`."""
    built_on: ClassVar[str] = "cpu"
    """Where a world is made whose weights are about to be loaded."""
    graph: bool | None = None
    """Whether steps are captured CUDA graphs; None: on a GPU they are. False is eager, which runs
    the same kernels one by one. May be changed between steps."""
    card: Card | None = None
    """The card that the world was loaded with."""
    precision: Precision = "float32"
    """float32, or bf16 for speed where the engine gains by it; see there. May be changed between
    steps."""

    def __init__(self, config: WorldConfig, starts: Starts | None = None):
        super().__init__()
        self.config = config
        self.starts = starts if starts is not None else Starts()
        self.codec = make_codec(config.codec)
        self.register_load_state_dict_post_hook(_weights_changed)

    @classmethod
    def create(cls, config: WorldConfig, starts: Starts | None = None) -> "WorldModel":
        """A world with random weights, ready to step, of the engine that its config is for."""
        kind = _engine(config) if cls is WorldModel else cls
        return kind(config, starts).eval()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str | torch.device = "cpu",
        *,
        revision: str | None = None,
    ) -> "WorldModel":
        """Load a shipped world by name, a world directory, or a repository on the Hub.

        Args:
            name_or_path: Which one; a repository is `owner/name`.
            device: Where it shall run.
            revision: Branch, tag or commit of a repository; default: the newest.

        Raises:
            ValueError: No such world or device, one of the world's files is damaged or unknown, or
                a revision is given of what is not on the Hub.
        """
        place = find_device(device)
        return cls._loaded(read_world(name_or_path, revision)).to(place).eval()

    @classmethod
    def _loaded(cls, files: WorldFiles) -> "WorldModel":
        kind, path = _engine(files.config), files.weights
        shapes = {kind.current_name(name): shape for name, shape in shapes_in(path).items()}
        world = check_fits(lambda: kind(files.config), shapes, path)
        if kind.built_on != "meta":
            world = kind(files.config)
        # Assigned, not copied: gigabytes in a chunk world.
        kinds = {name: own.dtype for name, own in world.state_dict().items()}
        stored = {kind.current_name(k): w for k, w in read_weights(path).items()}
        weights = {name: weight.to(kinds[name]) for name, weight in stored.items()}
        world.load_state_dict(weights, strict=True, assign=True)
        world.starts, world.card = files.starts, files.card
        return world

    @classmethod
    def current_name(cls, parameter: str) -> str:
        """What a parameter is called now, by the name that it has in a world's file."""
        return parameter

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json`, `model.safetensors`, `starts.safetensors`, and where there is none a
        `README.md`: the card that the world was loaded with, or one that says what it is.
        """
        dtype = self.stored_dtype
        weights = {
            k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype)
            for k, v in self.state_dict().items()
        }
        write_world(Path(directory), self.config, weights, self.starts, self.card)

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the world runs."""

    @property
    def captures(self) -> bool:
        """Whether steps run as captured CUDA graphs.

        Raises:
            ValueError: `graph` is True on a device that has none.
        """
        if self.graph and self.device.type != "cuda":
            raise ValueError(
                f"graph is True, but the world is on {str(self.device)!r}: CUDA graphs need a "
                "CUDA device; leave graph None, or set it to False"
            )
        return self.device.type == "cuda" if self.graph is None else self.graph

    @torch.inference_mode(False)  # a state can be reset outside of a caller's inference mode
    @in_own_precision
    def start(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
        observations: Mapping[str, np.ndarray | Tensor] | None = None,
    ) -> WorldState:
        """Take in recorded clips.

        Args:
            frames: uint8 (B, T, H, W, 3), B and T at least 1.
            actions: float (B, T - 1, A), in the environment's own units; action t leads from
                frame t to frame t + 1. Here as in steps and rollouts, actions that already lie on
                a CUDA device are not checked for NaN and infinity, which would wait for it.
            seeds: 64-bit ints (B,): each environment's stream of noise.
            observations: What was observed at each frame beside it, by the names of the world's
                observations (all or some), float (B, T, n) each, in the environment's own units:
                the robot's own state is known where there is a robot. What is not given is
                estimated from the frames.

        Returns:
            A state at the last frame, its `output` what the world reads there.

        Raises:
            ValueError: A shape or type is wrong, a number is not finite, a seed no integer, or an
                observation is unknown or far out of its bounds.
        """
        return self.started(*self._check_clips(frames, actions, seeds, observations))

    @abstractmethod
    def started(
        self, frames: Tensor, actions: Tensor, seeds: Tensor, observations: dict[str, Tensor]
    ) -> WorldState:
        """`start`, checked: what the engine makes of it, on the world's device."""

    def begin(
        self, starts: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray | Tensor
    ) -> WorldState:
        """As `start`, with starts of the world's own, and the observations that they carry.

        Args:
            starts: Their indices (B,) in `self.starts`, B at least 1.
            seeds: 64-bit ints (B,): each environment's stream of noise.

        Raises:
            ValueError: There is no such start, or a seed is no integer.
        """
        indices = as_indices("starts", starts, len(self.starts))
        return self._begin(indices, as_seeds(seeds, len(indices)))

    def _begin(self, starts: list[int], seeds: Tensor) -> WorldState:
        """`begin`, checked; clips of one length and like observations start in one call."""
        clips = [self.starts[start] for start in starts]
        known = [known_states(self.config, clip.states) for clip in clips]
        rows: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for row, clip in enumerate(clips):
            rows.setdefault((len(clip.frames), tuple(known[row])), []).append(row)
        parts = [
            self.start(
                np.stack([clips[row].frames for row in alike]),
                np.stack([clips[row].actions for row in alike]),
                seeds[alike],
                {name: np.stack([known[row][name] for row in alike]) for name in names},
            )
            for (_, names), alike in rows.items()
        ]
        return joined(list(rows.values()), parts)

    def step(self, state: WorldState, action: np.ndarray | Tensor) -> tuple[WorldState, StepOutput]:
        """Predict the frame after `action` (B, A), in the environment's own units.

        The given state stays as it was, to step again from; `step_` saves the copy.

        Raises:
            ValueError: The action has a wrong shape or type, or is not finite (see `start`).
        """
        state = state.clone()
        return state, self.step_(state, action)

    @abstractmethod
    def step_(self, state: WorldState, action: np.ndarray | Tensor) -> StepOutput:
        """As `step`, changing `state` in place."""

    def step_chunk_(self, state: WorldState, actions: np.ndarray | Tensor) -> ChunkOutput:
        """Predict the frames after each of `actions` (B, k, A), changing `state` in place."""
        actions = self._check_chunk(state, actions)
        outputs = [self.step_(state, actions[:, j]) for j in range(actions.shape[1])]
        return ChunkOutput(
            frames=torch.stack([out.frame for out in outputs], 1),
            reward=torch.stack([out.reward for out in outputs], 1),
            terminated=torch.stack([out.terminated for out in outputs], 1),
            states={
                name: torch.stack([out.states[name] for out in outputs], 1)
                for name in outputs[0].states
            },
        )

    @torch.no_grad()
    def rollout(
        self,
        state: WorldState,
        actions: np.ndarray | Tensor,
        *,
        return_frames: bool = False,
        share_noise: bool = True,
    ) -> RolloutOutput:
        """Try K sequences of H actions from each environment.

        Args:
            state: B environments; it stays as it was.
            actions: (B, K, H, A), in the environment's own units, K and H at least 1.
            return_frames: Decode the frames too.
            share_noise: Candidates of one environment share its noise, so that they differ by
                their actions alone. False: each has noise of its own, a function of the
                environment's seed and the candidate's number; candidate 0 keeps the seed's.

        Raises:
            ValueError: Actions have a wrong shape or type, or are not finite (see `start`).
        """
        rows, actions, shape = self._check_candidates(state, actions)
        seeds, state = state.seeds, state.select(rows)
        if not share_noise:
            state.seeds = candidate_seeds(seeds, shape[1])
        return self.rolled_out(state, actions, shape, frames=return_frames)

    @abstractmethod
    def rolled_out(
        self, state: WorldState, actions: Tensor, shape: tuple[int, int], *, frames: bool
    ) -> RolloutOutput:
        """`rollout`, checked: of B * K = `shape` rows, which may be changed, by actions
        (B * K, H, A)."""

    def doubt_(self, state: WorldState, scale: float = 1.0) -> None:
        """Change in place what a state says without being sure of it, by noise of its seeds and
        steps: nothing, but in engines that know how sure they are.

        Args:
            state: It is changed.
            scale: How many times less sure than that.
        """

    def weights_changed(self) -> None:
        """Drop what was made from the weights: graphs, copies in another precision, cached starts.

        Loading weights, moving, converting, `train()` and `eval()` call it. Call it after changing
        weights in place in another way, such as by an optimizer's step.
        """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """torch's own way to move or convert a module."""
        self.weights_changed()
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> Self:
        """torch's own way to switch between training and evaluation."""
        self.weights_changed()
        return super().train(mode)

    def _check_candidates(
        self, state: WorldState, actions: np.ndarray | Tensor
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """For a rollout of B * K rows: environment of each, actions (B * K, H, A), and (B, K)."""
        num_envs = len(state)
        expected = f"(B, K, H, A) = ({num_envs}, K, H, {self.config.action_dim})"
        actions = as_numbers("actions", actions, expected)
        if actions.ndim != 4 or 0 in actions.shape[1:3]:
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, expected {expected} with at least one "
                "candidate (K) of at least one step (H)"
            )
        num_candidates, horizon = actions.shape[1:3]
        actions = self._check_actions(actions, (num_envs, num_candidates, horizon))
        rows = torch.arange(num_envs).repeat_interleave(num_candidates)
        return rows, actions.flatten(0, 1), (num_envs, num_candidates)

    def _check_clips(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
        observations: Mapping[str, np.ndarray | Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        config = self.config
        expected = f"uint8 (B, T, {config.height}, {config.width}, 3) with B and T at least 1"
        frames = as_tensor("frames", frames, expected)
        if (
            frames.ndim != 5
            or frames.dtype != torch.uint8
            or tuple(frames.shape[2:]) != (config.height, config.width, 3)
            or 0 in frames.shape[:2]
        ):
            raise ValueError(
                f"frames are {frames.dtype} {tuple(frames.shape)}, expected {expected}"
            )
        num_envs, num_frames = frames.shape[:2]
        seeds = as_seeds(seeds, num_envs)
        expected = (num_envs, num_frames - 1, config.action_dim)
        actions = as_numbers("actions", actions, f"float32 {expected}: those between the frames")
        if num_frames == 1 and actions.numel() == 0:
            actions = torch.zeros(expected)
        known = check_observations(config, observations, (num_envs, num_frames))
        return (
            frames.to(self.device),
            self._check_actions(actions, expected[:2]),
            seeds.to(self.device),
            {name: values.to(self.device) for name, values in known.items()},
        )

    def _check_actions(self, actions: np.ndarray | Tensor, leading: tuple[int, ...]) -> Tensor:
        config = self.config
        expected = (*leading, config.action_dim)
        actions = as_numbers("actions", actions, str(expected))
        if tuple(actions.shape) != expected:
            names = ": " + " ".join(config.action_names) if config.action_names else ""
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, expected {expected}{names}"
            )
        actions = actions.to(torch.float32)
        check_finite(
            "actions",
            actions,
            f"expected numbers within {list(config.action_low)} and {list(config.action_high)}; "
            "look for a division by zero in what chose them",
        )
        return actions.to(self.device)

    def _check_chunk(self, state: WorldState, actions: np.ndarray | Tensor) -> Tensor:
        expected = f"(B, k, A) = ({len(state)}, k, {self.config.action_dim}) with k at least 1"
        actions = as_numbers("actions", actions, expected)
        if actions.ndim != 3 or not actions.shape[1]:
            raise ValueError(f"actions have shape {tuple(actions.shape)}, expected {expected}")
        return self._check_actions(actions, (len(state), actions.shape[1]))


def _weights_changed(world: WorldModel, _: object) -> None:
    # A function of the module, so that worlds can be pickled.
    world.weights_changed()


def _engine(config: WorldConfig) -> type[WorldModel]:
    """The class of the worlds that a config describes."""
    return load(ENGINES[config.engine].world)
