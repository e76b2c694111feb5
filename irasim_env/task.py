"""A world as a decision process: what the single and the vector environment share.

Dimensions: B environments, T frames of a clip, H W pixels, A action components, k actions of a
chunk, n components of a low-dimensional observation.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from irasim_env.actions import action_shape, action_space, check_chunk
from irasim_env.beginning import Beginning
from irasim_env.reward_fn import RewardFn, check_judged, check_reward_fn
from irasim_env.uncertainty import check_samples, disagreement, draw_others
from world_model import StepOutput, WorldModel, WorldState
from world_model.config import DEFAULT_WORLD
from world_model.tasks import task_of

Array = np.ndarray | Tensor
Observation = Array | dict[str, Array]
Output = Literal["numpy", "torch"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a batch of environments shows now, in memory of its own: NumPy arrays on the host, or
    with `output="torch"` tensors on the world's device."""

    frame: Array
    """uint8 (B, H, W, 3)"""
    states: dict[str, Array]
    """Low-dimensional observations by name, (B, n), within their spaces; tensors are float32."""
    reward: Array
    """float64 (B,), of the transition that led here; 0 after a reset. Tensors are float32."""
    terminated: Array
    """bool (B,), alike; False after a reset."""
    chunk_frames: Array | None = None
    """uint8 (B, k, H, W, 3), all frames of the last step where it took k actions at once."""
    uncertainty: Array | None = None
    """float64 (B,), of the last step, where samples were asked for; grey levels. Tensors are
    float32."""

    def ended(self) -> np.ndarray:
        """`terminated` on the host, bool (B,): with tensors, one small copy from the device."""
        return to_host(self.terminated, np.bool_)

    def each(self, taken: Callable[[Array, type], Any]) -> "Outcome":
        """One of what `taken` makes of each array and the type that it has on the host."""
        chunk_frames, uncertainty = self.chunk_frames, self.uncertainty
        return Outcome(
            frame=taken(self.frame, np.uint8),
            states={name: taken(values, np.float64) for name, values in self.states.items()},
            reward=taken(self.reward, np.float64),
            terminated=taken(self.terminated, np.bool_),
            chunk_frames=None if chunk_frames is None else taken(chunk_frames, np.uint8),
            uncertainty=None if uncertainty is None else taken(uncertainty, np.float64),
        )

    def select(self, rows: Sequence[int]) -> "Outcome":
        """A copy that holds environments `rows` only, in that order (repeats allowed)."""
        return self.each(lambda array, _: array[rows])

    def put(self, rows: Sequence[int], other: "Outcome") -> None:
        """Make row `rows[j]` of this one row j of `other`, in place."""
        for mine, theirs in zip(self._arrays(), other._arrays(), strict=True):
            mine[rows] = theirs

    def _arrays(self) -> tuple[Any, ...]:
        return self.frame, self.reward, self.terminated, *self.states.values()


class WorldTask:
    """Spaces, first frames, steps, observations, rewards and infos of a world, for any batch.

    It holds no episode: the environments keep the world's state and pass it in.

    Args:
        world: Name of a shipped world, directory, Hub id, or a loaded `WorldModel`; None is a
            mistake, which says so.
        device: Where to run; None is the CPU, or where a loaded model already is.
        obs_type: "pixels", or "pixels_" followed by the names of the world's low-dimensional
            observations, as in "pixels_agent_pos".
        reward_fn: Judges transitions instead of the world's head; see `WorldEnv`.
        chunk: Number of actions that a step takes; None is one, without an axis of its own.
        uncertainty_samples: Samples of each prediction whose disagreement is its uncertainty;
            None is no uncertainty.
        output: "numpy", or "torch" for tensors on the world's device.

    Raises:
        ValueError: no such world, no such `obs_type` in it, another device than the model's, a
            `chunk` that is no positive number, fewer than two samples, no such output, or a
            `reward_fn` that cannot be called.
    """

    def __init__(
        self,
        world: str | Path | WorldModel | None,
        *,
        device: str | None = None,
        obs_type: str = "pixels",
        reward_fn: RewardFn | None = None,
        chunk: int | None = None,
        uncertainty_samples: int | None = None,
        output: Output = "numpy",
    ):
        self.output: Output = check_output(output, reward_fn)
        self.chunk = check_chunk(chunk)
        self.samples = check_samples(uncertainty_samples)
        self.world = load_world(world, device)
        self.config = config = self.world.config
        names = tuple(config.observations)
        choices = {"pixels": ()} | ({"pixels_" + "_".join(names): names} if names else {})
        if not isinstance(obs_type, str) or obs_type not in choices:
            raise ValueError(
                f"obs_type is {obs_type!r}, world {config.name!r} offers {' and '.join(choices)}"
            )
        self.names: tuple[str, ...] = choices[obs_type]
        self.reward_fn = check_reward_fn(reward_fn)
        self.reward_available = config.reward_head or reward_fn is not None
        self.action_shape = action_shape(config, self.chunk)
        self.action_space = action_space(config, self.chunk)
        self._state_spaces = {
            name: spaces.Box(np.array(bounds.low), np.array(bounds.high), dtype=np.float64)
            for name, bounds in config.observations.items()
        }
        self._state_bounds = {
            name: (space.low, space.high)
            if output == "numpy"
            else (
                torch.as_tensor(space.low, dtype=torch.float32, device=self.world.device),
                torch.as_tensor(space.high, dtype=torch.float32, device=self.world.device),
            )
            for name, space in self._state_spaces.items()
        }
        self.observation_space: spaces.Space = spaces.Box(
            0, 255, (config.height, config.width, 3), np.uint8
        )
        if self.names:
            chosen = {name: self._state_spaces[name] for name in self.names}
            self.observation_space = spaces.Dict({"pixels": self.observation_space, **chosen})

    @property
    def name(self) -> str:
        """Name of the world's task, or of the world where there is none."""
        task = task_of(self.config)
        return self.config.name if task is None else task.name

    @property
    def render_fps(self) -> int | float:
        """Frames a second, an integer where it is whole: some writers of videos want one."""
        fps = self.config.fps
        return int(fps) if fps == int(fps) else fps

    @property
    def description(self) -> str:
        """What is to be done, in words, where the world's task has them; else its name."""
        task = task_of(self.config)
        return (None if task is None else task.description) or self.name

    def begin(self, beginnings: Sequence[Beginning]) -> tuple[WorldState, Outcome]:
        """Start B episodes, of one reset: all at starts of the world, or all with given clips of
        one length. The world's state and what it shows."""
        seeds = np.array([b.noise_seed for b in beginnings], np.int64)
        starts = [b.start for b in beginnings if b.start is not None]
        if starts:
            state = self.world.begin(starts, seeds)
        else:
            state = self.world.start(
                np.stack([b.frames for b in beginnings]),
                np.stack([b.actions for b in beginnings]),
                seeds,
                {
                    name: np.stack([b.observations[name] for b in beginnings])
                    for name in beginnings[0].observations
                },
            )
        outcome = self._read(state.output)
        outcome.reward[:], outcome.terminated[:] = 0.0, False
        return state, outcome

    def step(
        self,
        state: WorldState,
        actions: np.ndarray,
        before: Outcome,
        rows: Sequence[int] | None = None,
    ) -> Outcome:
        """Advances `state` in place by one action, or `chunk` of them; what it shows then.

        An episode that ends within a chunk has the rewards up to its end, and shows the end. Where
        `reward_fn` fails, the state is as it was before, so that the step can be taken again.

        Args:
            state: The world's state of B environments.
            actions: float32 (B, A), or (B, k, A) with `chunk`, checked.
            before: What the environments showed before the actions.
            rows: Environments whose transition counts for `reward_fn`; default all.

        Raises:
            ValueError: `reward_fn` returned something else than a reward and whether it ends.
        """
        with self._undone_on_failure(state):
            others = None
            if self.samples is not None:  # drawn first, as the step changes the state
                others = draw_others(self.world, state, actions, self.samples)
            if self.chunk is None:
                output = self.world.step_(state, actions)
                outcome = self._read(output, others)
                self._judge(before, actions, outcome, rows)
                return outcome
            made = self.world.step_chunk_(state, actions)
            outcome = before
            total: Any = before.reward * 0
            running = np.isin(range(len(actions)), range(len(actions)) if rows is None else rows)
            for j in range(len(made)):
                after = self._read(made.at(j))
                still, over = np.flatnonzero(running).tolist(), np.flatnonzero(~running).tolist()
                self._judge(outcome, actions[:, j], after, still)
                total[still] += after.reward[still]
                after.put(over, outcome.select(over))
                running &= ~after.ended()
                outcome = after
            return replace(
                outcome,
                reward=total,
                chunk_frames=self._take(made.frames, np.uint8),
                uncertainty=self._uncertainty(others, made.frames),
            )

    @contextmanager
    def _undone_on_failure(self, state: WorldState) -> Iterator[None]:
        """Put a state back where a `reward_fn` fails; without one nothing is copied."""
        kept = None if self.reward_fn is None else state.clone()
        try:
            yield
        except BaseException:
            if kept is not None:
                state.put(range(len(state)), kept)
            raise

    def _judge(
        self,
        before: Outcome,
        actions: np.ndarray,
        outcome: Outcome,
        rows: Sequence[int] | None,
    ) -> None:
        """Set reward and end of `rows` (default all) in `outcome` to what `reward_fn` says."""
        if self.reward_fn is not None:
            for row in range(len(actions)) if rows is None else rows:
                frames = np.stack((before.frame[row], outcome.frame[row]))  # (2, H, W, 3)
                judged = check_judged(self.reward_fn(frames, actions[row].copy()))
                outcome.reward[row], outcome.terminated[row] = judged

    def _read(self, output: StepOutput, others: Tensor | None = None) -> Outcome:
        """Copy the model's output; states into their spaces' type and bounds."""
        states = {
            name: self._take(output.states[name], np.float64).clip(low, high)
            for name, (low, high) in self._state_bounds.items()
        }
        reward, terminated = output.reward, output.terminated
        if not self.config.reward_head or self.reward_fn is not None:
            reward, terminated = torch.zeros_like(reward), torch.zeros_like(terminated)
        return Outcome(
            frame=self._take(output.frame, np.uint8),
            states=states,
            reward=self._take(reward, np.float64),
            terminated=self._take(terminated, np.bool_),
            uncertainty=self._uncertainty(others, output.frame[:, None]),
        )

    def _take(self, tensor: Tensor, dtype: type) -> Any:
        """A copy of what the model has made: an array of `dtype`, or a tensor as it is."""
        return to_host(tensor, dtype) if self.output == "numpy" else tensor.clone()

    def as_handed_out(self, outcome: Outcome) -> Outcome:
        """A copy of an outcome, of this or another `output`, as this task hands out its own."""
        device, arrays = self.world.device, self.output == "numpy"

        def taken(array: Array, dtype: type) -> Any:
            if arrays:
                return to_host(array, dtype)
            array = torch.as_tensor(array).to(device, copy=True)
            return array.float() if dtype is np.float64 else array

        return outcome.each(taken)

    def _uncertainty(self, others: Tensor | None, taken: Tensor) -> Array | None:
        """How far the other samples of a step are from the one taken, (B,)."""
        return None if others is None else self._take(disagreement(others, taken), np.float64)

    def observations(self, outcome: Outcome) -> Observation:
        """A copy of the observations of all B environments, batched."""
        if not self.names:
            return copy_of(outcome.frame)
        states = {name: copy_of(outcome.states[name]) for name in self.names}
        return {"pixels": copy_of(outcome.frame)} | states

    def observation(self, outcome: Outcome, row: int) -> Observation:
        """A copy of the observation of environment `row`."""
        if not self.names:
            return copy_of(outcome.frame[row])
        states = {name: copy_of(outcome.states[name][row]) for name in self.names}
        return {"pixels": copy_of(outcome.frame[row])} | states

    def info(
        self, outcome: Outcome, row: int, ended: np.ndarray, beginning: Beginning | None = None
    ) -> dict[str, Any]:
        """Info of environment `row`; with the episode's `beginning` after a reset.

        Args:
            outcome: What the environments show.
            row: Whose info.
            ended: `outcome.ended()`, read once for all rows.
            beginning: How its episode began, after a reset.
        """
        info: dict[str, Any] = {"reward_available": self.reward_available}
        if self.config.success_on_termination:
            info["is_success"] = bool(ended[row])
        if beginning is not None:
            info |= {"start": beginning.start, "noise_seed": beginning.noise_seed}
            return info
        if outcome.chunk_frames is not None:
            info["frames"] = copy_of(outcome.chunk_frames[row])
        if outcome.uncertainty is not None:
            info["uncertainty"] = float(outcome.uncertainty[row])
        return info


def load_world(
    world: str | Path | WorldModel | None, device: str | torch.device | None
) -> WorldModel:
    """Load a world by name, directory or Hub id, or take a loaded one.

    Raises:
        ValueError: no world is given, there is no such world or device, or a loaded world is on
            another device than asked for.
    """
    if world is None:
        raise ValueError(
            'no world is given; name one that is shipped, as in gymnasium.make("IRASim/World-v0", '
            f'world="{DEFAULT_WORLD}"), or give a directory that `irasim train` wrote, a Hub id, '
            "or a loaded WorldModel"
        )
    if not isinstance(world, WorldModel):
        device = "cpu" if device is None else device
        return WorldModel.from_pretrained(cast(str, world), device=device)
    # "cuda" is any CUDA device, as in torch.
    if device is not None and str(device) not in (str(world.device), world.device.type):
        raise ValueError(
            f"device is {str(device)!r}, but the given WorldModel is on {str(world.device)!r}; "
            "leave device out, or load the world on that device"
        )
    return world


def check_output(output: str, reward_fn: RewardFn | None) -> Output:
    """The kind of arrays that steps hand out.

    Raises:
        ValueError: no such kind, or tensors where a `reward_fn` judges arrays on the host.
    """
    if output not in get_args(Output):
        raise ValueError(f"output is {output!r}, expected one of {', '.join(get_args(Output))}")
    if output == "torch" and reward_fn is not None:
        raise ValueError(
            'output is "torch", but reward_fn judges NumPy frames on the host; take output='
            '"numpy", or judge the tensors that step returns'
        )
    return cast(Output, output)


def copy_of(array: Any) -> Any:
    """A copy of an array, or of a tensor on its device."""
    return array.clone() if isinstance(array, Tensor) else array.copy()


def to_host(array: Array, dtype: type) -> np.ndarray:
    """A copy as a NumPy array of `dtype`."""
    return np.array(array.cpu().numpy() if isinstance(array, Tensor) else array, dtype=dtype)
