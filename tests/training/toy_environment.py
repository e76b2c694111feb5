"""A Gymnasium environment that is made quickly; `tests/Square-v0` once this module is imported."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class Square(gym.Env[np.ndarray, np.ndarray]):
    """A white square that moves by its action."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    render_mode = "rgb_array"
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (48, 48, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Somewhere."""
        super().reset(seed=seed)
        self.place = self.np_random.uniform(0, 40, 2)
        return self.render(), {}

    def step(self, action: np.ndarray):
        """Three pixels at most."""
        self.place = np.clip(self.place + 3 * action, 0, 40)
        return self.render(), float(self.place[0] > 20), False, False, {}

    def render(self) -> np.ndarray:
        """The picture."""
        picture = np.zeros((48, 48, 3), np.uint8)
        x, y = self.place.astype(int)
        picture[y : y + 8, x : x + 8] = 255
        return picture


gym.register("tests/Square-v0", entry_point=Square, max_episode_steps=6)
