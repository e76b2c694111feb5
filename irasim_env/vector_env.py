"""Many episodes in one learned world, one batched model call a step."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from irasim_env.actions import check_actions
from irasim_env.batch.arguments import (
    check_autoreset_mode,
    check_mask,
    check_num_envs,
    check_seeds,
    check_starts,
)
from irasim_env.batch.each import EachEnvironment, time_limits
from irasim_env.beginning import (
    RESET_OPTIONS,
    Asked,
    Beginning,
    check_options,
    draw_beginning,
    own_options,
)
from irasim_env.env import check_render_mode
from irasim_env.snapshot import InWorld, VectorSnapshot, check_snapshot
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


class WorldVectorEnv(InWorld, EachEnvironment):
    """Environment i rolls out as a single `WorldEnv` with its seed does, all in one batch.

    Observations, rewards, flags and infos are what `gymnasium.vector.SyncVectorEnv` gives over
    `WorldEnv`s with time limits, in each of its three autoreset modes. Actions of environments
    that an autoreset is about to reset are ignored. `snapshot()` and `restore(snapshot)` keep
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
        ValueError: an argument of the wrong form; the message says which.
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
        super().__init__()
        num_envs = check_num_envs(num_envs)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.num_envs = num_envs
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self._limits = time_limits(max_episode_steps, num_envs)
        self._task = WorldTask(
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
            "render_fps": self._task.render_fps,
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.single_observation_space = self._task.observation_space
        self.single_action_space = self._task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._random: list[tuple[np.random.Generator, int] | None] = [None] * num_envs
        self._episodes: tuple[WorldState, Outcome] | None = None
        self._elapsed = np.zeros(num_envs, np.int64)
        self._over = np.zeros(num_envs, bool)
        self._passed_over: set[str] = set()  # options of other programs that were warned of

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
        seeds = check_seeds(seed, self.num_envs)
        # Read, not popped: wrappers around this environment look at the same dictionary.
        options = own_options(options, self._passed_over, (*RESET_OPTIONS, "reset_mask"))
        rows = list(range(self.num_envs))
        if "reset_mask" in options:
            mask = check_mask(options.pop("reset_mask"), self.num_envs)
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
            infos = self._add_info(infos, self._task.info(outcome, row, ended, beginning), row)
        return self._task.observations(outcome), infos

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
        shape = (self.num_envs, *self._task.action_shape)
        actions = check_actions(self._task.config, actions, shape, ignored=self._over)
        asked = self._check(ended, {})
        running = np.flatnonzero(~self._over).tolist()
        if running:
            outcome = self._task.step(state, actions, outcome, running)
            self._episodes = state, outcome
            self._elapsed[running] += 1
        beginnings = self._begin(asked)  # "NextStep": instead of a step
        rewards, terminated = copy_of(outcome.reward), copy_of(outcome.terminated)
        ends, truncated = outcome.ended(), self._elapsed >= self._limits
        self._over = ends | truncated
        infos = [self._task.info(outcome, i, ends, beginnings.get(i)) for i in range(self.num_envs)]
        finals: dict[int, dict[str, Any]] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            ended = np.flatnonzero(self._over).tolist()
            for row in ended:
                last = self._task.observation(outcome, row)
                finals[row] = {"final_obs": last, "final_info": infos[row]}
            none = np.zeros(self.num_envs, bool)
            for row, beginning in self._begin(self._check(ended, {})).items():
                infos[row] = self._task.info(outcome, row, none, beginning)
        vector_infos: dict[str, Any] = {}
        for row, info in enumerate(infos):
            vector_infos = self._add_info(vector_infos, finals.get(row, {}) | info, row)
        if self._task.output == "torch":
            truncated = torch.as_tensor(truncated, device=self._task.world.device)
        return self._task.observations(outcome), rewards, terminated, truncated, vector_infos

    def snapshot(self) -> VectorSnapshot:
        """The present moment of all environments, for `restore`.

        Raises:
            gym.error.ResetNeeded: before the first reset.
        """
        state, outcome = self._begun_episodes()
        return VectorSnapshot(
            world=self._world_fingerprint(),
            precision=self._task.world.precision,
            state=state.clone(),
            outcome=self._task.as_handed_out(outcome),
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
            snapshot, VectorSnapshot, self._world_fingerprint(), self._task.world.precision
        )
        if len(snapshot.over) != self.num_envs:
            raise ValueError(
                f"the snapshot is of {len(snapshot.over)} environments, these are {self.num_envs}; "
                "restore it in as many"
            )
        self._episodes = snapshot.state.clone(), self._task.as_handed_out(snapshot.outcome)
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
        world = self._task.world
        starts = check_starts(options, self.num_envs)
        if starts is None:
            return dict.fromkeys(rows, check_options(world, options)) if rows else {}
        return {row: check_options(world, {**options, "start": starts[row]}) for row in rows}

    def _begin(self, asked: dict[int, Asked]) -> dict[int, Beginning]:
        """Begin new episodes in environments, by row; how each began."""
        if not asked:
            return {}
        rows = list(asked)
        beginnings = {
            row: draw_beginning(self._task.world, self._random_of(row)[0], asked[row])
            for row in rows
        }
        state, outcome = self._task.begin(list(beginnings.values()))
        if self._episodes is None:
            self._episodes = state, outcome
        else:
            self._episodes[0].put(rows, state)
            self._episodes[1].put(rows, outcome)
        self._elapsed[rows] = 0
        self._over[rows] = False
        return beginnings

    def _begun_episodes(self) -> tuple[WorldState, Outcome]:
        if self._episodes is None:
            raise gym.error.ResetNeeded(
                "there are no episodes before the first reset; call reset()"
            )
        return self._episodes
