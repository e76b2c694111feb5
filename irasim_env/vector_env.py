"""Many episodes in one learned world, one batched model call a step."""

import copy
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from irasim_env.actions import check_actions
from irasim_env.beginning import Asked, Beginning, check_mapping, check_options, draw_beginning
from irasim_env.env import check_render_mode
from irasim_env.snapshot import VectorSnapshot, check_snapshot, fingerprint
from irasim_env.task import (
    Array,
    Observation,
    Outcome,
    Output,
    RewardFn,
    WorldTask,
    copy_of,
    to_host,
)
from world_model import WorldModel, WorldState


class WorldVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Environment i rolls out as a single `WorldEnv` with its seed does, all in one batch.

    Observations, rewards, flags and infos are what `gymnasium.vector.SyncVectorEnv` gives over
    `WorldEnv`s with time limits, in each of its three autoreset modes. Actions of environments
    that an autoreset is about to reset are not looked at. `snapshot()` and `restore(snapshot)` keep
    a moment of all of them and return to it.

    Args:
        world: Name, directory, Hub id, or a loaded `WorldModel`.
        num_envs: Size of the batch, B.
        device: As for `WorldEnv`.
        render_mode: None or "rgb_array".
        obs_type: As for `WorldEnv`.
        reward_fn: As for `WorldEnv`; called for each environment.
        chunk: As for `WorldEnv`: a step takes (B, k, A) actions.
        uncertainty_samples: As for `WorldEnv`.
        output: "numpy", or "torch": observations, rewards (float32) and flags are tensors on the
            world's device, copies that later steps leave alone. Actions may be tensors, on any
            device. Only actions and ends cross to the host, for checks and resets.
        max_episode_steps: Time limit, one for all or one each; None or -1 is none.
        autoreset_mode: "NextStep", "SameStep" or "Disabled", or Gymnasium's enum (which
            `spec.to_json()` cannot write). In "Disabled", reset what has ended with
            `reset(options={"reset_mask": mask})`, mask bool (B,).

    Raises:
        ValueError: an argument of the wrong form; the message tells.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        world: str | Path | WorldModel | None = None,
        num_envs: int = 1,
        *,
        device: str | None = None,
        render_mode: str | None = None,
        obs_type: str = "pixels",
        reward_fn: RewardFn | None = None,
        chunk: int | None = None,
        uncertainty_samples: int | None = None,
        output: Output = "numpy",
        max_episode_steps: int | Sequence[int] | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ):
        num_envs = _check_num_envs(num_envs)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.num_envs = num_envs
        self.autoreset_mode = _check_autoreset_mode(autoreset_mode)
        self._limits = _time_limits(max_episode_steps, num_envs)
        self.task = WorldTask(
            world,
            device=device,
            obs_type=obs_type,
            reward_fn=reward_fn,
            chunk=chunk,
            uncertainty_samples=uncertainty_samples,
            output=output,
        )
        self.metadata = {
            **self.metadata,
            "render_fps": self.task.config.fps,
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._random: list[tuple[np.random.Generator, int] | None] = [None] * num_envs
        self._episodes: tuple[WorldState, Outcome] | None = None
        self._elapsed = np.zeros(num_envs, np.int64)
        self._over = np.zeros(num_envs, bool)
        self._fingerprint: str | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin episodes in all environments, or in those of `options["reset_mask"]`.

        A reset that fails changes nothing.

        Args:
            seed: s for seeds s, s + 1, ..., or one seed (or None) each.
            options: Those of `WorldEnv.reset`, the same for each environment, except that "start"
                may be a sequence of one each; and "reset_mask".

        Raises:
            ValueError: seeds, mask or options of the wrong form.
            gym.error.ResetNeeded: a mask that leaves some out, before all have been reset once.
        """
        seeds = _seeds(seed, self.num_envs)
        # Read, not popped: wrappers around this environment look at the same dictionary.
        options = dict(check_mapping(options))
        rows = list(range(self.num_envs))
        if "reset_mask" in options:
            mask = _check_mask(options.pop("reset_mask"), self.num_envs)
            rows = np.flatnonzero(mask).tolist()
            if self._episodes is None and len(rows) < self.num_envs:
                raise gym.error.ResetNeeded(
                    "reset_mask leaves out environments that were never reset; call reset() once "
                    "without it"
                )
        asked = self._check(rows, options)  # a mistake in any of them changes nothing
        for row in rows:
            if (row_seed := seeds[row]) is not None:
                self._random[row] = seeding.np_random(row_seed)
        beginnings = self._begin(asked)
        _, outcome = self._begun_episodes()
        infos: dict[str, Any] = {}
        ended = outcome.ended()
        for row, beginning in beginnings.items():
            infos = self._add_info(infos, self.task.info(outcome, row, ended, beginning), row)
        return self.task.observations(outcome), infos

    def step(  # type: ignore[override]
        self, actions: Any
    ) -> tuple[Observation, Array, Array, Array, dict[str, Any]]:
        """Step all environments with actions (B, A), or (B, k, A) with `chunk=k`.

        Returns:
            Observations, rewards float64 (B,), terminations and truncations bool (B,), infos;
            tensors, rewards float32, with `output="torch"`.

        Raises:
            gym.error.InvalidAction: wrong shape or type, NaN or infinite.
            gym.error.ResetNeeded: before the first reset or, in "Disabled", with an environment
                that has ended.
            ValueError: `reward_fn` returned something else than (reward, terminated), or NaN.
        """
        state, outcome = self._begun_episodes()
        ended = np.flatnonzero(self._over).tolist()
        if ended and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"cannot step: the episodes of environments {ended} are over; reset them with "
                "reset(options={'reset_mask': mask})"
            )
        shape = (self.num_envs, *self.task.action_shape)
        actions = check_actions(self.task.config, actions, shape, ignored=self._over)
        asked = self._check(ended, {})
        running = np.flatnonzero(~self._over).tolist()
        if running:
            outcome = self.task.step(state, actions, outcome, running)
            self._episodes = state, outcome
            self._elapsed[running] += 1
        beginnings = self._begin(asked)  # "NextStep": instead of a step
        rewards, terminated = copy_of(outcome.reward), copy_of(outcome.terminated)
        ends, truncated = outcome.ended(), self._elapsed >= self._limits
        self._over = ends | truncated
        infos = [self.task.info(outcome, i, ends, beginnings.get(i)) for i in range(self.num_envs)]
        finals: dict[int, dict[str, Any]] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            ended = np.flatnonzero(self._over).tolist()
            for row in ended:
                last = self.task.observation(outcome, row)
                finals[row] = {"final_obs": last, "final_info": infos[row]}
            none = np.zeros(self.num_envs, bool)
            for row, beginning in self._begin(self._check(ended, {})).items():
                infos[row] = self.task.info(outcome, row, none, beginning)
        vector_infos: dict[str, Any] = {}
        for row, info in enumerate(infos):
            vector_infos = self._add_info(vector_infos, finals.get(row, {}) | info, row)
        if self.task.output == "torch":
            truncated = torch.as_tensor(truncated, device=self.task.world.device)
        return self.task.observations(outcome), rewards, terminated, truncated, vector_infos

    def snapshot(self) -> VectorSnapshot:
        """The present moment of all environments, for `restore`.

        Raises:
            gym.error.ResetNeeded: before the first reset.
        """
        state, outcome = self._begun_episodes()
        return VectorSnapshot(
            world=self._world_fingerprint(),
            precision=self.task.world.precision,
            state=state.clone(),
            outcome=self.task.as_handed_out(outcome),
            over=self._over.copy(),
            elapsed=self._elapsed.copy(),
            random=copy.deepcopy(self._random),
        )

    def restore(self, snapshot: VectorSnapshot) -> None:
        """Return to a snapshot, of this or another vector environment of as many over the same
        world: what follows is identical, the random numbers of later resets included.

        Raises:
            ValueError: the snapshot is none, is of another world or number of environments, or of
                the same on another device or in another precision.
        """
        check_snapshot(
            snapshot, VectorSnapshot, self._world_fingerprint(), self.task.world.precision
        )
        if len(snapshot.over) != self.num_envs:
            raise ValueError(
                f"the snapshot is of {len(snapshot.over)} environments, these are {self.num_envs}; "
                "restore it in as many"
            )
        self._episodes = snapshot.state.clone(), self.task.as_handed_out(snapshot.outcome)
        self._over, self._elapsed = snapshot.over.copy(), snapshot.elapsed.copy()
        self._random = copy.deepcopy(snapshot.random)

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """The present frame of each environment, uint8 (H, W, 3)."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() shows nothing as render_mode is None; make the environments with "
                'render_mode="rgb_array"'
            )
            return None
        return tuple(to_host(self._begun_episodes()[1].frame, np.uint8))

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random number generator of each environment."""
        return tuple(self._random_of(row)[0] for row in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each environment's generator."""
        return tuple(self._random_of(row)[1] for row in range(self.num_envs))

    def _random_of(self, row: int) -> tuple[np.random.Generator, int]:
        """Generator and seed of an environment; from the system's entropy if never seeded."""
        random = self._random[row]
        if random is None:
            random = self._random[row] = seeding.np_random()
        return random

    def _check(self, rows: Sequence[int], options: dict[str, Any]) -> dict[int, Asked]:
        """What environments `rows` are asked to begin with, by row."""
        world = self.task.world
        starts = _starts(options, self.num_envs)
        if starts is None:
            return dict.fromkeys(rows, check_options(world, options)) if rows else {}
        return {row: check_options(world, {**options, "start": starts[row]}) for row in rows}

    def _begin(self, asked: dict[int, Asked]) -> dict[int, Beginning]:
        """Begin new episodes in environments, by row; how each began."""
        if not asked:
            return {}
        rows = list(asked)
        beginnings = {
            row: draw_beginning(self.task.world, self._random_of(row)[0], asked[row])
            for row in rows
        }
        state, outcome = self.task.begin(list(beginnings.values()))
        if self._episodes is None:
            self._episodes = state, outcome
        else:
            self._episodes[0].put(rows, state)
            self._episodes[1].put(rows, outcome)
        self._elapsed[rows] = 0
        self._over[rows] = False
        return beginnings

    def _world_fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.task.world)
        return self._fingerprint

    def _begun_episodes(self) -> tuple[WorldState, Outcome]:
        if self._episodes is None:
            raise gym.error.ResetNeeded(
                "there are no episodes before the first reset; call reset()"
            )
        return self._episodes


def _check_num_envs(num_envs: Any) -> int:
    """Check the size of the batch."""
    whole = isinstance(num_envs, int | np.integer) and not isinstance(num_envs, bool)
    if not whole or num_envs < 1:
        raise ValueError(f"num_envs is {num_envs!r}, expected a whole number of at least 1")
    return int(num_envs)


def _check_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Gymnasium's enum of a mode."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            f"autoreset_mode is {mode!r}, expected one of "
            f"{', '.join(known.value for known in AutoresetMode)}"
        ) from None


def _time_limits(limits: int | Sequence[int] | None, num_envs: int) -> np.ndarray:
    """Steps after which each environment truncates, int64 (B,)."""
    if limits is None or (isinstance(limits, int) and limits == -1):
        return np.full(num_envs, np.iinfo(np.int64).max)
    array = np.asarray(limits)
    if array.shape not in ((), (num_envs,)) or array.dtype.kind not in "iu" or (array < 1).any():
        raise ValueError(
            f"max_episode_steps is {limits!r}, expected a positive integer, one for each of "
            f"{num_envs} environments, or None (-1) for no limit"
        )
    return np.broadcast_to(array, num_envs).astype(np.int64)


def _seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """One seed, or None, for each environment.

    Raises:
        ValueError: another number of seeds, or one that is no integer of at least 0.
    """
    if seed is None:
        return [None] * num_envs
    try:
        seeds = list(seed)  # type: ignore[arg-type]
    except TypeError:
        first = _check_seed(seed)
        return [first + i for i in range(num_envs)]
    if len(seeds) != num_envs:
        raise ValueError(
            f"reset got {len(seeds)} seeds for {num_envs} environments; give one each (None "
            "keeps an environment's random numbers), or one for all"
        )
    return [None if each is None else _check_seed(each) for each in seeds]


def _check_seed(seed: Any) -> int:
    """Check a seed."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(
            f"reset got the seed {seed!r}, expected an integer of at least 0, one for each "
            "environment, or None"
        )
    return number


def _starts(options: dict[str, Any], num_envs: int) -> Sequence[Any] | None:
    """The option "start" where it is a sequence of one for each environment, else None."""
    starts = options.get("start")
    if isinstance(starts, str) or not isinstance(starts, Sequence | np.ndarray):
        return None
    if isinstance(starts, np.ndarray) and not starts.ndim:
        return None
    if len(starts) != num_envs:
        raise ValueError(
            f"reset got {len(starts)} starts for {num_envs} environments; give one each, or one "
            "for all"
        )
    return list(starts)


def _check_mask(mask: Any, num_envs: int) -> np.ndarray:
    """Check the option `reset_mask`."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        form = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(
            f"options['reset_mask'] is {form}, expected a NumPy array bool ({num_envs},)"
        )
    if not mask.any():
        raise ValueError("options['reset_mask'] selects no environment, expected at least one")
    return mask
