"""Push-T policies that act on what can be seen: `{"pixels", "agent_pos"}`, in any Push-T.

The same policy therefore runs in gym-pusht and in a world learned from it. Each is made by
`factory(env, seed)` and called as `policy(observation) -> action`; `env` gives the action space
alone. The planner's own simulator (of one T and one disc) is the policy's knowledge of physics,
as a person has it, not the environment's state.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from policies.observed import check_observation
from policies.pusht.geometry import GOAL, Pose
from policies.pusht.push_planner import PlannerConfig
from policies.pusht.reading import WORLD_SIZE, read_t
from policies.pusht.recorders import Expert
from policies.unsteady import Unsteady


class SeenState:
    """The scene as an observation shows it: the disc from `agent_pos`, the T from the pixels.

    Where the T cannot be made out, it is taken to be where it was seen last; before it was ever
    seen, in the middle.
    """

    goal = GOAL

    def __init__(self) -> None:
        self._last = Pose(x=256.0, y=256.0, angle=0.0)

    def disc(self, observation: Any) -> np.ndarray:
        """Where the disc is now (2,)."""
        return np.asarray(check_observation(observation, "agent_pos")["agent_pos"], np.float64)

    def block(self, observation: Any) -> Pose:
        """Where the block is now."""
        frame = check_observation(observation, "agent_pos")["pixels"]
        x, y, angle = read_t(frame)
        if not np.isnan(x):
            scale = WORLD_SIZE / len(frame)
            self._last = Pose(x=float(x * scale), y=float(y * scale), angle=float(angle))
        return self._last


class PixelExpert:
    """The push-sampling expert on pixels, with a chosen budget and a chosen unsteadiness.

    Args:
        env: Any Push-T that observes "pixels_agent_pos".
        seed: Of its choices and of its trembling.
        candidates: Pushes tried before each push; the fewer, the worse it chooses.
        tremble: Standard deviation of its targets around those meant, px; neighbouring steps'
            errors are alike, as a hand's are.
        slips: Share of the steps in which a slip begins: for a second it goes anywhere.
    """

    kind = "pixel_expert"
    max_steps: int | None = None

    def __init__(
        self,
        env: gym.Env,
        seed: int,
        *,
        candidates: int = 48,
        tremble: float = 0.0,
        slips: float = 0.0,
    ):
        refined = max(1, min(4, candidates // 8))
        planner = PlannerConfig(
            num_candidates=candidates, num_refined=refined, refinements=6 if candidates > 8 else 0
        )
        self._expert = Expert(env, seed, state=SeenState(), planner=planner)
        self._hand = Unsteady(
            np.random.default_rng([seed, 5]),
            tremble=tremble,
            steadiness=0.8,
            slips=slips,
            slip_steps=10,
            anywhere=(0, 512),
        )

    def __call__(self, observation: Any) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        slip, begins = self._hand.step()
        if begins:
            self._expert.forget_plan()
        target = self._expert(observation) if slip is None else slip
        return np.clip(target + self._hand.tremble, 0, 512).astype(np.float32)


class Hold:
    """Asks the disc to stay where it is: how fresh starts are recorded."""

    kind = "hold"
    max_steps: int | None = None

    def __init__(self, env: gym.Env, seed: int):
        pass

    def __call__(self, observation: Any) -> np.ndarray:
        """The disc's own place (2,), px."""
        disc = np.asarray(check_observation(observation, "agent_pos")["agent_pos"], np.float32)
        return np.clip(disc, 0, 512)
