"""The ground truth of the tabletop: an arm with a pusher among four blocks, in MuJoCo."""

from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from policies.tabletop.drawing import load_mujoco, painter
from policies.tabletop.model import SUBSTEPS, lead, model_xml
from policies.tabletop.scene import (
    BLOCKS,
    NAMES,
    REACH_HIGH,
    REACH_LOW,
    SIZE,
    STEP,
    TABLE,
    TOUCHING,
)

OBSERVED = ("pixels", "pixels_effector_pos", "state")
RENDERED = 384  # pixels along each side of what `render` gives
# How blocks and pusher lie at first, m.
FROM_RIM, APART, PAIR_APART, PUSHER_APART = 0.045, 0.055, 0.09, 0.045


@dataclass(frozen=True, kw_only=True, eq=False)
class TabletopSnapshot:
    """A moment of an episode."""

    move: str
    to: str
    physics: np.ndarray
    """All that the next step depends on, as MuJoCo counts it (mjSTATE_INTEGRATION)."""
    distance: float
    ended: bool
    random: dict[str, Any]
    """State of the random numbers of later resets."""


class TabletopSim(gym.Env[Any, np.ndarray]):
    """
    ## Description

    An arm with a cylindrical pusher over a table with a rim, on which lie a red cube, a blue
    cylinder, a yellow three-sided prism and a green cross. One block is to be pushed to another. A
    fixed camera looks down at the table from its front, in perspective. The task is that of
    Language-Table (Lynch et al., arXiv 2210.06407), with blocks named by arguments instead of
    language; the scene is our own.

    Blocks slide and turn on the table and rest within a step once nothing pushes them; they neither
    tip nor leave it. The pusher is held by limited force: it stalls where a block at the rim
    stops it. What the arm's joints do follows from the pusher's place, and they touch nothing.

    ## Action Space

    `Box(-1.0, 1.0, (2,), float32)`: how far the pusher moves within the step of 0.1 s, to the right
    and away from the camera, in units of 1.5 cm. Its target stays over the table. Values beyond the
    bounds are clipped; NaN, infinity and wrong shapes are refused.

    ## Observation Space

    With `obs_type="pixels"` the picture, `Box(0, 255, (96, 96, 3), uint8)`. With
    "pixels_effector_pos" a `Dict` of "pixels" and "effector_pos", the pusher's place (x, y) on the
    table in metres, `Box(float64)`, from the table's middle to the right and away from the camera.
    With "state" nothing is drawn: `Box(float64, (14,))`, the pusher's place, then x, y (m) and the
    angle (rad) of cube, cylinder, prism and cross.

    ## Rewards

    By how much the two blocks' middles came nearer in the step, in units of 1.5 cm: negative where
    they parted. The sum over an episode is the way that was made good.

    ## Starting State

    Four blocks and the pusher at random places that do not overlap, drawn by the seed; the two
    blocks of the task are at least 9 cm apart.

    ## Episode End

    Termination: the middles of the two blocks are within 4 cm, where they touch. Truncation: after
    100 steps, by `gymnasium.make`.

    ## Info

    `is_success`; `distance` between the two blocks' middles, m; and `cube_pose`, `cylinder_pose`,
    `prism_pose` and `cross_pose`, x, y (m) and angle (rad) of each block, for measuring.

    ## Arguments

    | Parameter     | Default      | Description                                              |
    |---------------|--------------|----------------------------------------------------------|
    | `move`        | `"cube"`     | the block that is to be pushed: cube, cylinder, prism or |
    |               |              | cross                                                    |
    | `to`          | `"cylinder"` | the block that it is to be pushed to                     |
    | `obs_type`    | `"pixels"`   | see Observation Space                                    |
    | `render_mode` | `None`       | "rgb_array": `render()` gives (384, 384, 3)              |

    ## Snapshots

    `snapshot()` gives the present moment and `restore(snapshot)` returns to it, in this or another
    environment with the same blocks to move: what follows is identical, the random numbers of
    later resets included.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        move: str = "cube",
        to: str = "cylinder",
        obs_type: Literal["pixels", "pixels_effector_pos", "state"] = "pixels",
        render_mode: str | None = None,
    ):
        for name, value in (("move", move), ("to", to)):
            if value not in NAMES:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(NAMES)}")
        if move == to:
            raise ValueError(f"move and to are both {move!r}, expected two different blocks")
        if obs_type not in OBSERVED:
            raise ValueError(f"obs_type is {obs_type!r}, expected one of {', '.join(OBSERVED)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}, expected rgb_array or None")
        self.move, self.to = move, to
        self.obs_type, self.render_mode = obs_type, render_mode
        self._mujoco = mujoco = load_mujoco()
        self._model = mujoco.MjModel.from_xml_string(model_xml())
        self._data = mujoco.MjData(self._model)
        self._distance = float("nan")
        self._ended = True
        self._placed = False
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = self._observed_space()

    @property
    def effector_pos(self) -> np.ndarray:
        """The pusher's place (2,), m."""
        return self._data.qpos[3 * len(BLOCKS) :].copy()

    @property
    def poses(self) -> np.ndarray:
        """x, y (m) and angle (rad, in [-pi, pi)) of each block, in the order of `scene.BLOCKS`,
        (4, 3)."""
        poses = self._data.qpos[: 3 * len(BLOCKS)].reshape(-1, 3).copy()
        poses[:, 2] = (poses[:, 2] + np.pi) % (2 * np.pi) - np.pi
        return poses

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode at places that the seed draws."""
        if options:
            raise ValueError(f"options are {sorted(options)}, but this environment takes none")
        super().reset(seed=seed)
        places = self._draw_places()
        self._mujoco.mj_resetData(self._model, self._data)
        angles = self.np_random.uniform(-np.pi, np.pi, len(BLOCKS))
        self._data.qpos[:-2] = np.column_stack((places[:-1], angles)).ravel()
        self._data.qpos[-2:] = self._data.ctrl[:] = places[-1]
        self._distance = self._measured_distance()
        self._ended, self._placed = False, True
        return self._observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move the pusher by `STEP` times the action (2,)."""
        move = np.asarray(action)
        if move.shape != (2,) or move.dtype.kind not in "fiu" or not np.isfinite(move).all():
            raise gym.error.InvalidAction(
                f"action is {action!r}, expected two finite numbers in [-1, 1]: right, away"
            )
        if self._ended:
            raise gym.error.ResetNeeded("the episode is over; call reset()")
        # Sums and products in float64, whatever the type of the action.
        begin = self.effector_pos
        end = begin + STEP * move.astype(np.float64).clip(-1, 1)
        end = end.clip(REACH_LOW, REACH_HIGH)
        for substep in range(1, SUBSTEPS + 1):
            self._data.ctrl[:] = lead(substep, begin, end)
            self._mujoco.mj_step(self._model, self._data)
        before, self._distance = self._distance, self._measured_distance()
        self._ended = self._distance <= TOUCHING
        reward = (before - self._distance) / STEP
        return self._observe(), float(reward), self._ended, False, self._info()

    def render(self) -> np.ndarray | None:
        """A large picture, uint8 (384, 384, 3), with `render_mode="rgb_array"`."""
        if self.render_mode is None:
            gym.logger.warn('render() does nothing: make it with render_mode="rgb_array"')
            return None
        return self._picture(RENDERED)

    def snapshot(self) -> TabletopSnapshot:
        """The present moment.

        Raises:
            gym.error.ResetNeeded: there is none yet.
        """
        if not self._placed:
            raise gym.error.ResetNeeded("there is nothing to snapshot yet; call reset()")
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        physics = np.empty(self._mujoco.mj_stateSize(self._model, kind))
        self._mujoco.mj_getState(self._model, self._data, physics, kind)
        return TabletopSnapshot(
            move=self.move,
            to=self.to,
            physics=physics,
            distance=self._distance,
            ended=self._ended,
            random=dict(self.np_random.bit_generator.state),
        )

    def restore(self, snapshot: TabletopSnapshot) -> None:
        """Return to a moment.

        Raises:
            ValueError: it is none, or one of other blocks to move.
        """
        if not isinstance(snapshot, TabletopSnapshot):
            raise ValueError(
                f"restore got {type(snapshot).__name__} {snapshot!r}, expected what snapshot() gave"
            )
        if (snapshot.move, snapshot.to) != (self.move, self.to):
            raise ValueError(
                f"the snapshot is of {snapshot.move} to {snapshot.to}, this environment moves "
                f"{self.move} to {self.to}; make it with the same move and to"
            )
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(self._model, self._data, snapshot.physics, kind)
        self._distance, self._ended, self._placed = snapshot.distance, snapshot.ended, True
        self.np_random.bit_generator.state = snapshot.random

    def _observed_space(self) -> spaces.Space:
        pixels = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        # The pusher gives way a little where it is pressed, so its bounds are the table's.
        effector = spaces.Box(-np.array(TABLE), np.array(TABLE), dtype=np.float64)
        if self.obs_type == "pixels":
            return pixels
        if self.obs_type == "pixels_effector_pos":
            return spaces.Dict(pixels=pixels, effector_pos=effector)
        pose = np.array([*TABLE, np.pi])
        high = np.concatenate([effector.high, *[pose] * len(BLOCKS)])
        return spaces.Box(-high, high, dtype=np.float64)

    def _observe(self) -> Any:
        place = self.effector_pos.clip(-np.array(TABLE), TABLE)
        if self.obs_type == "state":
            poses = self.poses
            poses[:, :2] = poses[:, :2].clip(-np.array(TABLE), TABLE)
            return np.concatenate((place, poses.ravel()))
        pixels = self._picture(SIZE)
        if self.obs_type == "pixels":
            return pixels
        return {"pixels": pixels, "effector_pos": place}

    def _picture(self, size: int) -> np.ndarray:
        # Where bodies are is one substep old after a step; nothing that it writes is stepped on.
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)
        return painter(size).picture(self._data, self.effector_pos)

    def _info(self) -> dict[str, Any]:
        poses = {f"{name}_pose": pose for name, pose in zip(NAMES, self.poses, strict=True)}
        return {"is_success": self._ended, "distance": self._distance, **poses}

    def _measured_distance(self) -> float:
        poses = self.poses
        between = poses[NAMES.index(self.move), :2] - poses[NAMES.index(self.to), :2]
        return float(np.linalg.norm(between))

    def _draw_places(self) -> np.ndarray:
        """Places of the blocks and, last, of the pusher (5, 2), m."""
        high = np.array(TABLE) - FROM_RIM
        pair = [NAMES.index(self.move), NAMES.index(self.to)]
        while True:
            blocks = self.np_random.uniform(-high, high, (len(BLOCKS), 2))
            pusher = self.np_random.uniform(REACH_LOW, REACH_HIGH)
            between = np.linalg.norm(blocks[:, None] - blocks, axis=-1)
            np.fill_diagonal(between, np.inf)
            clear = np.linalg.norm(blocks - pusher, axis=-1).min() >= PUSHER_APART
            if between.min() >= APART and between[pair[0], pair[1]] >= PAIR_APART and clear:
                return np.vstack((blocks, pusher))
