"""Small Gymnasium environments such as people bring, `Name-v0` by `register`."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIDE = 64


class Square(gym.Env):
    """A white square that moves by its action; pixels are the only observation."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    actions: ClassVar[spaces.Space] = spaces.Box(-1, 1, (2,), np.float32)
    length = 12

    def __init__(self, render_mode: str | None = "rgb_array"):
        self.render_mode, self.action_space = render_mode, self.actions
        self.observation_space = self.space()

    def space(self) -> spaces.Space:
        return spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)

    def observe(self) -> Any:
        return self.render()

    def way(self, action: Any) -> np.ndarray:
        return np.resize(np.asarray(action, float), 2)

    def render(self) -> Any:
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        x, y = (int(v) % SIDE for v in self.place)
        picture[max(0, y - 4) : y + 4, max(0, x - 4) : x + 4] = 255
        return picture

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.place, self.t = self.np_random.uniform(10, 50, 2), 0
        return self.observe(), {}

    def step(self, action: Any):
        self.place = self.place + 3 * self.way(action)
        self.t += 1
        return self.observe(), float(self.place[0] > 40), self.t >= self.length, False, {}


class NoReward(Square):
    """Reward 0 always: video and actions, nothing else."""

    def step(self, action: Any):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, 0.0, terminated, truncated, info


class OneStep(Square):
    """Over after one step."""

    length = 1


class FourWays(Square):
    """Discrete actions, right, down, left, up."""

    actions = spaces.Discrete(4)

    def way(self, action: Any) -> np.ndarray:
        return np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][int(action)], float)


class FromOne(FourWays):
    """Discrete actions that are counted from 1."""

    actions = spaces.Discrete(4, start=1)

    def way(self, action: Any) -> np.ndarray:
        return super().way(int(action) - 1)


class TwoWheels(Square):
    """Two choices at once."""

    actions = spaces.MultiDiscrete([3, 2])

    def way(self, action: Any) -> np.ndarray:
        return np.array([action[0] - 1, action[1]], float)


class Buttons(Square):
    """Two buttons, each up or down."""

    actions = spaces.MultiBinary(2)


class ChannelsFirst(Square):
    """Pictures with their channels first."""

    def space(self) -> spaces.Space:
        return spaces.Box(0, 255, (3, SIDE, SIDE), np.uint8)

    def observe(self) -> Any:
        return self.render().transpose(2, 0, 1)  # not contiguous


class Grey(Square):
    """Pictures of one channel."""

    def space(self) -> spaces.Space:
        return spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)

    def observe(self) -> Any:
        return self.render()[:, :, :1]


class Flat(Square):
    """Pictures without an axis for channels."""

    def space(self) -> spaces.Space:
        return spaces.Box(0, 255, (SIDE, SIDE), np.uint8)

    def observe(self) -> Any:
        return self.render()[:, :, 0]


class Scaled(Square):
    """Pictures of another type, white being `white`."""

    dtype: ClassVar[type] = np.float32
    black: ClassVar[float] = 0.0
    white: ClassVar[float] = 1.0

    def space(self) -> spaces.Space:
        return spaces.Box(self.black, self.white, (SIDE, SIDE, 3), self.dtype)  # type: ignore[arg-type]

    def observe(self) -> Any:
        share = self.render() / 255
        return (self.black + share * (self.white - self.black)).astype(self.dtype)


class Float255(Scaled):
    white = 255.0


class Centred(Scaled):
    black = -1.0


class Deep(Scaled):
    dtype = np.uint16
    white = 65535


class Unbounded(Scaled):
    """Pictures of which nobody says what is white."""

    def space(self) -> spaces.Space:
        return spaces.Box(-np.inf, np.inf, (SIDE, SIDE, 3), np.float32)


class Alpha(Square):
    """Pictures with a fourth channel."""

    def space(self) -> spaces.Space:
        return spaces.Box(0, 255, (SIDE, SIDE, 4), np.uint8)

    def observe(self) -> Any:
        return np.concatenate([self.render(), np.full((SIDE, SIDE, 1), 255, np.uint8)], axis=2)


class Odd(Square):
    """Pictures whose sides no usual patch divides."""

    def space(self) -> spaces.Space:
        return spaces.Box(0, 255, (50, 70, 3), np.uint8)

    def observe(self) -> Any:
        picture = np.zeros((50, 70, 3), np.uint8)
        picture[:, :SIDE] = self.render()[:50]
        return picture


class TwoCameras(Square):
    """Two cameras and a state."""

    def space(self) -> spaces.Space:
        camera = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        state = spaces.Box(-1e3, 1e3, (2,), np.float32)
        return spaces.Dict({"front": camera, "wrist": camera, "state": state})

    def observe(self) -> Any:
        picture = self.render()
        return {"front": picture, "wrist": picture[::-1], "state": self.place.astype("f4")}


class Nested(TwoCameras):
    """Dictionaries within a dictionary, a tuple, and a text."""

    def space(self) -> spaces.Space:
        joints = {"angles": spaces.Box(-10, 100, (2,), np.float64), "grip": spaces.Discrete(2)}
        return spaces.Dict(
            {
                "view": spaces.Dict({"front": super().space()["front"]}),  # type: ignore[index]
                "robot": spaces.Dict(joints),
                "pair": spaces.Tuple(
                    (spaces.Box(-10, 100, (2, 2), np.float32), spaces.MultiBinary(3))
                ),
                "task": spaces.Text(8),
            }
        )

    def observe(self) -> Any:
        place = self.place
        return {
            "view": {"front": self.render()},
            "robot": {"angles": place.copy(), "grip": np.int64(self.t % 2)},
            "pair": (np.outer([1, 0], place).astype("f4"), np.array([1, 0, 1], np.int8)),
            "task": "push",
        }


class OnlyRenders(Square):
    """Observes numbers, and renders."""

    def space(self) -> spaces.Space:
        return spaces.Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,), np.float32)

    def observe(self) -> Any:
        return self.place.astype("f4")


class Boundless(Square):
    """Actions without bounds, in double precision."""

    actions = spaces.Box(-np.inf, np.inf, (2,), np.float64)


class OneNumber(Square):
    """An action that is a number of no dimension."""

    actions = spaces.Box(-1, 1, (), np.float64)


class Table(Square):
    """An action that is a table."""

    actions = spaces.Box(-1, 1, (1, 2), np.float32)


class NamedActions(Square):
    """Actions by name."""

    actions = spaces.Dict({"move": spaces.Box(-1, 1, (2,), np.float32), "grip": spaces.Discrete(2)})

    def way(self, action: Any) -> np.ndarray:
        return action["move"]


class Truncates(Square):
    """Ends by a truncation of its own, without a TimeLimit."""

    def step(self, action: Any):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, self.t >= self.length, info


class Endless(Square):
    """Nothing ends it."""

    def step(self, action: Any):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info


class NoRenderMode(OnlyRenders):
    """Says that it renders, and does not take `render_mode`."""

    def __init__(self) -> None:
        super().__init__(None)


KINDS = (
    *(Square, NoReward, OneStep, FourWays, FromOne, TwoWheels, Buttons, ChannelsFirst, Grey),
    *(Flat, Scaled, Float255, Centred, Deep, Unbounded, Alpha, Odd, TwoCameras, Nested),
    *(OnlyRenders, Boundless, OneNumber, Table, NamedActions, Truncates, Endless, NoRenderMode),
)


def register() -> None:
    """Register them all, as brought/Name-v0; those that are there already stay."""
    for kind in KINDS:
        if f"brought/{kind.__name__}-v0" not in gym.registry:
            gym.register(f"brought/{kind.__name__}-v0", entry_point=kind)


register()
