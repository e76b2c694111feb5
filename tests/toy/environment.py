"""A dot that is to be driven to a goal: a Gymnasium environment."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIZE = 32  # pixels along each side
BLUE, GREEN = (30, 60, 220), (120, 220, 120)


class Dot(gym.Env):
    """Observes the picture and the dot's place (x, y); where the goal is no observation says."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.action_space = spaces.Box(-3, 3, (2,), np.float32)  # pixels to the right, and up
        self.observation_space = spaces.Dict(
            pixels=spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
            place=spaces.Box(0, SIZE, (2,), np.float64),
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(4, 12, 2)
        self.goal = self.np_random.uniform(16, 28, 2)
        return self._observe(), {"goal": self.goal.copy()}

    def step(self, action):
        self.place = np.clip(self.place + (action[0], -action[1]), 3, SIZE - 3)
        distance = np.linalg.norm(self.place - self.goal)
        reward = 1 - distance / SIZE
        return self._observe(), reward, bool(distance < 3), False, {"goal": self.goal.copy()}

    def render(self):
        frame = np.full((SIZE, SIZE, 3), 255, np.uint8)
        for (x, y), colour in ((self.goal.astype(int), GREEN), (self.place.astype(int), BLUE)):
            frame[y - 2 : y + 2, x - 2 : x + 2] = colour
        return frame

    def _observe(self):
        return {"pixels": self.render(), "place": self.place.copy()}


gym.register("Toy/Dot-v0", entry_point=Dot, max_episode_steps=30)
