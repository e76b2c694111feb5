"""One learned world as a `gymnasium.Env`."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

from irasim_env.actions import check_actions
from irasim_env.beginning import check_options, draw_beginning, own_options
from irasim_env.snapshot import InWorld, Snapshot, check_snapshot
from irasim_env.task import (
    Observation,
    Outcome,
    Output,
    RewardFn,
    WorldTask,
    copy_of,
    to_host,
)
from world_model import WorldModel, WorldState
from world_model.state import joined

if TYPE_CHECKING:
    from irasim_env.window import Window


class WorldEnv(InWorld, gym.Env[Observation, np.ndarray]):
    """
    ## Description

    A robot simulator learned from recorded episodes. After each action an action-conditioned
    video diffusion model predicts the next camera frame, and a head reads reward, end and
    low-dimensional observations from what the model has computed. The model is a *world*: a name
    of a shipped one, a directory or a repository on the Hub.

    ## Action Space

    `Box(float32)` with the bounds of the simulator that the world was learned from; the
    shipped world's: the position (x, y) that the disc moves to, in [0, 512]. Any real numbers of
    the right shape are taken as float32. An action out of bounds is clipped, as the world has seen
    none (a simulator may follow it out of the picture). A wrong shape, a type that is no number,
    NaN and infinity are refused with `gymnasium.error.InvalidAction`.

    Where the simulator's actions are discrete, so are these: the same `Discrete`, `MultiDiscrete`
    or `MultiBinary`. The world sees them as one-hot vectors, which `step` takes too, as does
    `reset` with recorded actions: that is how recordings hold them.

    With `chunk=k` a step takes k actions at once, (k, A), without an observation in between. The
    observation is the last frame's, the reward the sum; `info["frames"]` has the frame after each
    action, uint8 (k, H, W, 3). Where the episode ends on the way, observation and sum are those of
    its end. A time limit counts steps, not actions. A world with the chunk engine (an imported
    one) predicts up to 15 actions at the cost of one, and sees what they are together, so that its
    frames differ a little from those of single steps.

    ## Observation Space

    With `obs_type="pixels"` a frame, `Box(0, 255, (H, W, 3), uint8)`. With "pixels_" and the names
    of the world's low-dimensional observations (as in "pixels_agent_pos") a
    `Dict` of "pixels" and each of them, `Box(float64)`, predicted and clipped into bounds.

    With `output="torch"` observations, rewards and flags are tensors on the world's device instead
    (float32 where arrays are float64), for learning where the world runs. They are copies: nothing
    that follows changes them. At a time limit of `gymnasium.make`, its wrapper's `truncated` is
    True, a bool (a vector environment keeps the time itself: always a tensor). Actions may be
    tensors then. Gymnasium's checker and spaces know arrays only: use
    `gymnasium.make(..., output="torch", disable_env_checker=True)`.

    ## Rewards

    What the world's head predicts, in the simulator's range. A world without a reward head
    (an imported one) gives 0, never terminates and says `info["reward_available"] = False`.
    A `reward_fn(frames, action) -> (reward, terminated)` replaces either: `frames` is uint8
    (2, H, W, 3), the frame before the action and the frame that it led to, and `action` float32
    (A,) as the world got it. It is called once an action and environment. Where it fails, the
    step has not been taken: the same step can be taken again.

    ## Starting State

    One of the world's starts (recorded clips), drawn by the seed; so is the seed of the model's
    noise. The same seed, device and version give the same rollout, bit for bit. `reset` takes

    - `options={"start": i}`: start i of the world, with the noise that the seed gives any start;
    - `options={"frames": f, "actions": a, "observations": o}`: a clip of your own, uint8
      (T, H, W, 3) and float32 (T - 1, A), where `a[t]` leads from `f[t]` to `f[t + 1]`; `a` may be
      left out when T is 1. Actions out of bounds are clipped, as those of steps are.
      `o` is what was observed beside the frames, `{"agent_pos": (T, 2)}` in the recording's own
      units: a robot knows its own state better than a picture shows it. What is left out is
      estimated from the frames.

    The world's starts carry what was observed when they were recorded, and begin from it. Options
    of other programs have no effect, which a warning says; a misspelt one is an error.

    `info` after a reset has "start" (None for a clip of your own) and "noise_seed".

    ## Uncertainty

    With `uncertainty_samples=n` each step is predicted n times, all but the one that is taken with
    other noise and from states a little other (`WorldModel.doubt_`), and `info["uncertainty"]`
    says how far the n frames disagree: the root of the variance over the samples, averaged over
    pixels, in grey levels. The episode stays what it is without.

    ## Episode End

    Termination: the predicted probability of the end exceeds the world's threshold (or
    `reward_fn` says so); `info["is_success"]` is given where the end is success, as
    in the shipped world.
    Truncation: `gymnasium.make` applies the time limit, 300 steps for `IRASim/PushT-v0` and none
    for `IRASim/World-v0` unless `max_episode_steps` says so (-1: no limit). After termination,
    `step` asks for a reset. After truncation the world itself goes on, as
    in any Gymnasium environment.

    ## Arguments

    ```python
    >>> import gymnasium as gym
    >>> import irasim_env
    >>> env = gym.make("IRASim/PushT-v0", obs_type="pixels_agent_pos", render_mode="rgb_array")
    >>> env = gym.make("IRASim/World-v0", world="path/to/world", device="cuda")
    ```

    | Parameter     | Default    | Description                                                    |
    |---------------|------------|----------------------------------------------------------------|
    | `world`       |            | name, directory, Hub id, or a loaded `WorldModel`              |
    | `device`      | `None`     | where it runs: None is the CPU, or where a loaded model is     |
    | `render_mode` | `None`     | None, "rgb_array" or "human": a pygame window, which without a |
    |               |            | display is drawn offscreen                                     |
    | `obs_type`    | `"pixels"` | see Observation Space                                          |
    | `reward_fn`   | `None`     | see Rewards                                                    |
    | `output`      | `"numpy"`  | "torch": tensors on the device; see Observation Space          |
    | `chunk`       | `None`     | number of actions that a step takes; see Action Space          |
    | `uncertainty_samples` | `None` | at least 2; see Uncertainty                                |

    ## Snapshots

    `snapshot()` gives the present moment and `restore(snapshot)` returns to it, in this or another
    environment over the same world on the same device, in the same precision: what follows is
    identical, the random numbers of later resets included. The other environment may hand out
    another `obs_type` or `output`, or take another `chunk`. Wrappers keep their own state: a time
    limit its count of steps, and those of `gymnasium.make` want one `reset()` before the first
    `step` of a new environment.

    ## Version History

    * v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        world: str | Path | WorldModel | None = None,
        *,
        device: str | None = None,
        render_mode: str | None = None,
        obs_type: str = "pixels",
        reward_fn: RewardFn | None = None,
        chunk: int | None = None,
        uncertainty_samples: int | None = None,
        output: Output = "numpy",
    ):
        check_render_mode(render_mode, self.metadata["render_modes"])
        self._task = WorldTask(
            world,
            device=device,
            obs_type=obs_type,
            reward_fn=reward_fn,
            chunk=chunk,
            uncertainty_samples=uncertainty_samples,
            output=output,
        )
        self.metadata = {**self.metadata, "render_fps": self._task.render_fps}
        self.render_mode = render_mode
        self.observation_space = self._task.observation_space
        self.action_space = self._task.action_space
        self._episode: tuple[WorldState, Outcome] | None = None
        self._over = False
        self._passed_over: set[str] = set()  # options of other programs that were warned of
        self._window = self._open_window() if render_mode == "human" else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; see "Starting State". A reset that fails changes nothing.

        Raises:
            ValueError: a misspelt option, no such start, or a clip of the wrong form (its actions
                and observations too; actions out of bounds are clipped).
            gym.error.Error: a seed that is no integer, or negative.
        """
        own = own_options(options, self._passed_over)
        asked = check_options(self._task.world, own)  # a mistake in them changes nothing
        super().reset(seed=seed)
        beginning = draw_beginning(self._task.world, self.np_random, asked)
        self._episode = _, outcome = self._task.begin([beginning])
        self._over = False
        if self.render_mode == "human":
            self.render()
        info = self._task.info(outcome, 0, outcome.ended(), beginning)
        return self._task.observation(outcome, 0), info

    def step(self, action: Any) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        """Predict what `action` leads to: (A,), or (k, A) with `chunk=k`.

        Returns:
            Observation, reward, terminated, truncated and info: a float and bools, or with
            `output="torch"` tensors of no dimension, float32 and bool. (A wrapper's time limit
            replaces `truncated` by True, a bool.)

        Raises:
            gym.error.InvalidAction: wrong shape or type, NaN or infinite.
            gym.error.ResetNeeded: before the first reset, or after the end.
            ValueError: `reward_fn` returned something else than (reward, terminated), or NaN.
        """
        state, before = self._running_episode()
        action = check_actions(self._task.config, action, self._task.action_shape)
        return self._show(state, self._task.step(state, action[None], before))

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The present frame, uint8 (H, W, 3); shown in the window for "human"."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() shows nothing as render_mode is None; make the environment with "
                'render_mode="rgb_array" or "human"'
            )
            return None
        frame = to_host(self._begun_episode("render")[1].frame[0], np.uint8)
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:  # closed, or of a copy
            self._window = self._open_window()
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle or a copy holds: all but the window, which opens anew where it is used."""
        return {**self.__dict__, "_window": None}

    @property
    def task(self) -> str:
        """Name of the world's task, or of the world where no installed package brings its task."""
        return self._task.name

    @property
    def task_description(self) -> str:
        """What is to be done, in words, for policies that read them; else the same as `task`."""
        return self._task.description

    @property
    def samples(self) -> int | None:
        """Samples by which uncertainty is told, None for none; may be changed between steps."""
        return self._task.samples

    @samples.setter
    def samples(self, count: int | None) -> None:
        self._task.samples = count

    def snapshot(self) -> Snapshot:
        """The present moment, for `restore`.

        Raises:
            gym.error.ResetNeeded: before the first reset.
        """
        state, outcome = self._begun_episode("take a snapshot")
        return Snapshot(
            world=self._world_fingerprint(),
            precision=self._task.world.precision,
            state=state.clone(),
            outcome=outcome,
            over=self._over,
            np_random=copy.deepcopy(self.np_random),
            np_random_seed=self._np_random_seed,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a snapshot, of this or another environment over the same world.

        Raises:
            ValueError: the snapshot is none, is of another world, or of the same on another device
                or in another precision.
        """
        check_snapshot(snapshot, Snapshot, self._world_fingerprint(), self._task.world.precision)
        self._episode = snapshot.state.clone(), self._task.as_handed_out(snapshot.outcome)
        self._over = snapshot.over
        self._np_random = copy.deepcopy(snapshot.np_random)
        self._np_random_seed = snapshot.np_random_seed
        if self.render_mode == "human":
            self.render()

    def _show(
        self, state: WorldState, outcome: Outcome
    ) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        """Go to where a step has led, and return what `step` does."""
        self._episode = state, outcome
        ended = outcome.ended()
        self._over = terminated = bool(ended[0])
        if self.render_mode == "human":
            self.render()
        observation, info = self._task.observation(outcome, 0), self._task.info(outcome, 0, ended)
        if self._task.output == "numpy":
            return observation, float(outcome.reward[0]), terminated, False, info
        flags = copy_of(outcome.terminated[0])
        return observation, copy_of(outcome.reward[0]), flags, torch.zeros_like(flags), info

    def _open_window(self) -> "Window":
        from irasim_env.window import Window  # pygame greets on stdout: only where it is used

        return Window(self._task.config.name, self._task.config.fps)

    def _begun_episode(self, what: str) -> tuple[WorldState, Outcome]:
        if self._episode is None:
            raise gym.error.ResetNeeded(f"cannot {what} before the first reset; call reset()")
        return self._episode

    def _running_episode(self) -> tuple[WorldState, Outcome]:
        episode = self._begun_episode("step")
        if self._over:
            raise gym.error.ResetNeeded("cannot step: the episode has terminated; call reset()")
        return episode


def step_together(
    envs: Sequence[WorldEnv], actions: Sequence[Any]
) -> list[tuple[Observation, Any, Any, Any, dict[str, Any]]]:
    """Step environments over one loaded world in one call of the model.

    Each rolls out as its own `step` does, as the environments of a batch do. On a GPU the batch is
    filled up to a power of two: each size is captured once.

    Args:
        envs: Environments with the same `WorldModel` and the same settings, each once.
        actions: One each, as `step` takes it.

    Returns:
        What each `step` returns.

    Raises:
        ValueError: the environments have not one world and one `uncertainty_samples`, or there is a
            `reward_fn` or a `chunk`.
        gym.error.Error: as `step`; none has been stepped then.
    """
    task = envs[0]._task
    for other in (env._task for env in envs):
        same = other.world is task.world and other.samples == task.samples
        if not same or other.output != task.output or other.chunk or other.reward_fn:
            raise ValueError(
                "step_together takes environments over one loaded world with the same settings, "
                "without chunk and reward_fn; call step() of each instead"
            )
    episodes = [env._running_episode() for env in envs]
    checked = [check_actions(task.config, action, task.action_shape) for action in actions]
    size = 1 << (len(envs) - 1).bit_length() if task.world.device.type == "cuda" else len(envs)
    filled = [min(row, len(envs) - 1) for row in range(size)]
    states = [episodes[row][0] for row in filled]
    # `joined` hands a single state on as it is, and a step that fails would have changed it.
    state = joined([[row] for row in range(size)], states) if size > 1 else states[0].clone()
    # Neither reward_fn nor chunk: what was shown before does not matter.
    outcome = task.step(state, np.stack([checked[row] for row in filled]), episodes[0][1])
    return [env._show(state.select([row]), outcome.select([row])) for row, env in enumerate(envs)]


def check_render_mode(render_mode: str | None, known: list[str]) -> None:
    """Raise gym.error.UnsupportedMode unless `render_mode` is None or known."""
    if render_mode is not None and render_mode not in known:
        raise gym.error.UnsupportedMode(
            f"render_mode is {render_mode!r}, expected None or one of {', '.join(known)}"
        )
