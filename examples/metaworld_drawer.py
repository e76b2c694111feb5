"""A drawer of Meta-World as an environment of pictures, and a policy that records it.

From this directory: `irasim collect --env-id metaworld_drawer:Drawer-v0 --policy
metaworld_drawer:record --out drawer`. Needs `pip install metaworld==3.1.1`; docs/metaworld.md goes
through all of it.
"""

from typing import Any, ClassVar

import cv2
import gymnasium as gym
import metaworld  # type: ignore[import-not-found]  # noqa: F401 (registers Meta-World/MT1)
import numpy as np
from gymnasium.spaces import Box, Dict
from metaworld.policies import ENV_POLICY_MAP  # type: ignore[import-not-found]

TASK, CAMERA, SIZE = "drawer-open-v3", "corner4", 96


class Drawer(gym.Env):
    """The drawer as a camera and the arm's own measurements show it.

    Observation: `pixels`, uint8 (96, 96, 3), and `hand`, float32 (4,): where the gripper is, in
    metres, and how far it is open. `info["handle"]` is where the drawer's handle is, (3,) m. An
    episode ends when the drawer is open.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 80}
    render_mode = "rgb_array"

    def __init__(self):
        made = gym.make(
            "Meta-World/MT1",
            env_name=TASK,
            render_mode="rgb_array",
            camera_name=CAMERA,
            width=2 * SIZE,
            height=2 * SIZE,
            disable_env_checker=True,
        )
        made.reset()
        # Without MT1's wrappers, which draw from fifty places that are others in each process.
        self.inside: Any = made.unwrapped
        self.inside._freeze_rand_vec, self.inside.seeded_rand_vec = False, True
        self.action_space = self.inside.action_space
        self.observation_space = Dict(
            {
                "pixels": Box(0, 255, (SIZE, SIZE, 3), np.uint8),
                "hand": Box(-np.inf, np.inf, (4,), np.float32),
            }
        )
        self.full = np.zeros(39)  # what Meta-World observes, for its expert

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple:
        """Another place of the drawer, by the seed."""
        if seed is not None:
            self.inside.seed(seed)
        self.full, _ = self.inside.reset()
        return self._observation(), self._info(False)

    def step(self, action: np.ndarray) -> tuple:
        """One step; the reward is Meta-World's, in [0, 1]."""
        self.full, reward, _, truncated, info = self.inside.step(action)
        opened = bool(info["success"])
        return self._observation(), float(reward) / 10, opened, truncated, self._info(opened)

    def render(self) -> np.ndarray:
        """The picture, uint8 (96, 96, 3). Meta-World's cameras hang upside down."""
        picture = np.flip(self.inside.render(), axis=(0, 1))
        return cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    def close(self) -> None:
        """Let go of the simulator."""
        self.inside.close()

    def _observation(self) -> dict[str, np.ndarray]:
        return {"pixels": self.render(), "hand": self.full[:4].astype(np.float32)}

    def _info(self, opened: bool) -> dict[str, Any]:
        return {"is_success": opened, "handle": self.full[4:7].astype(np.float32)}


class Recorder:
    """Meta-World's expert with a hand that trembles, or wanders off for a while.

    A world learns what actions do only from actions that differ: half of the episodes are the
    expert's with noise, half are interrupted by stretches in which it moves one random way.
    """

    max_steps = 100

    def __init__(self, env: gym.Env, seed: int):
        self.drawer: Any = env.unwrapped
        self.rng = np.random.default_rng(seed)
        self.expert = ENV_POLICY_MAP[TASK]()
        self.noise = self.rng.choice([0.0, 0.2, 0.5])
        self.wanders = self.rng.random() < 0.5
        self.kind = "wandering" if self.wanders else "expert"
        self.left, self.way = 0, np.zeros(4)

    def __call__(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """An action, float32 (4,) in [-1, 1]."""
        action = self.expert.get_action(self.drawer.full)
        if self.wanders and self.left == 0 and self.rng.random() < 0.04:
            self.left, self.way = int(self.rng.integers(8, 25)), self.rng.uniform(-1, 1, 4)
        if self.left > 0:
            self.left, action = self.left - 1, self.way
        return np.clip(action + self.noise * self.rng.normal(size=4), -1, 1).astype(np.float32)


def record(env: gym.Env, seed: int) -> Recorder:
    """What `irasim collect --policy metaworld_drawer:record` calls for each episode."""
    return Recorder(env, seed)


gym.register("Drawer-v0", entry_point="metaworld_drawer:Drawer", max_episode_steps=150)
