"""Where plans are carried out: the real simulator, or a learned world.

A scene keeps one episode, and gives the model that plans in it the state to begin from. What
happens next is the scene's alone: a planner never sees the noise of the world that it acts in.

Dimensions: T frames, H W pixels, A action, n actions so far.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

import irasim_env  # noqa: F401  registers the ids
from irasim_env.ground_truth import GroundTruth
from policies.planning.branching import Experience
from policies.planning.learned import settled
from world_model import Start, WorldConfig, WorldModel, WorldState
from world_model.config import DEFAULT_WORLD
from world_model.given_states import known_states
from world_model.tasks import task_of

# Noise that a plan is made with differs from that of the world it is carried out in, and from
# decision to decision.
PLANNING_SEED = 1_000_003


@dataclass(frozen=True, kw_only=True)
class Transition:
    """What an action led to."""

    reward: float
    terminated: bool
    success: bool
    outcome: Mapping[str, float] = field(default_factory=dict)
    """How far the goal is reached, by name, if the simulator measures it."""


class Scene(Protocol):
    """One running episode."""

    def reset(self, seed: int) -> np.ndarray:
        """Begin an episode; a first action (A,) to search around."""
        ...

    def state(self) -> Any:
        """What the model plans from, for B = 1."""
        ...

    def step(self, action: np.ndarray) -> Transition:
        """Carry out an action (A,)."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class RealScene:
    """The simulator that a world was learned from.

    Args:
        config: The world's; it names the simulator and how its frames look.
        model: The world to plan in, started at each decision from the last real frames, actions and
            observations; None plans in the simulator itself, and then nothing is drawn.
    """

    def __init__(self, config: WorldConfig, model: WorldModel | None):
        self.config = config
        self.model = model
        if model is None:
            self._truth = None
            self.env = make_simulator(config)
        else:
            self._truth = GroundTruth(config)
            self.env = self._truth.env
        self._task = task_of(config)
        self._outcome = None
        if self._task is not None and self._task.outcome is not None:
            self._outcome = self._task.load("outcome")
        self._seed = 0
        self._frames: list[np.ndarray] = []
        self._observed: list[dict[str, np.ndarray]] = []
        self._actions: list[np.ndarray] = []

    def reset(self, seed: int) -> np.ndarray:
        """See `Scene.reset`: what the task says is rest, or the middle of the actions' range."""
        self._seed = seed
        self._actions = []
        if self._truth is None:
            self.env.reset(seed=seed)
        else:
            shape = (1, *self._truth.frame_shape)
            nothing = np.zeros((0, self.config.action_dim), np.float32)
            observation = self._truth.reset_to(
                Start(frames=np.zeros(shape, np.uint8), actions=nothing, seed=seed, replay=nothing)
            )
            self._frames, self._observed = [self._truth.frame], [self._known(observation)]
        if self._task is not None and self._task.rest_action is not None:
            return self._task.load("rest_action")(self.env)
        return (np.array(self.config.action_low) + np.array(self.config.action_high)) / 2

    @property
    def experience(self) -> Experience:
        """Seed and actions so far."""
        shape = (-1, self.config.action_dim)
        return Experience(
            seed=self._seed, actions=np.array(self._actions, np.float32).reshape(shape)
        )

    def state(self) -> list[Experience] | WorldState:
        """See `Scene.state`."""
        if self.model is None:
            return [self.experience]
        kept = self.config.context
        frames = np.stack(self._frames[-kept - 1 :])
        actions = self.experience.actions[len(self._actions) - len(frames) + 1 :]
        # Each decision uses other noise, determined by how far the episode is.
        seed = self._seed * PLANNING_SEED + len(self._actions)
        observed = self._observed[-len(frames) :]
        known = {name: np.stack([each[name] for each in observed])[None] for name in observed[0]}
        return self.model.start(frames[None], actions[None], [seed], known)

    def step(self, action: np.ndarray) -> Transition:
        """See `Scene.step`."""
        action = settled(self.config, np.asarray(action, np.float32))
        step = self.env.step if self._truth is None else self._truth.step
        observation, reward, terminated, _, info = step(action)
        self._actions.append(action)
        if self._truth is not None:
            kept = self.config.context
            self._frames = [*self._frames[-kept:], self._truth.frame]
            self._observed = [*self._observed[-kept:], self._known(observation)]
        success = info.get("is_success", terminated and self.config.success_on_termination)
        return Transition(
            reward=float(reward),
            terminated=bool(terminated),
            success=bool(success),
            outcome={} if self._outcome is None else self._outcome(info),
        )

    def close(self) -> None:
        """Close the simulator."""
        self.env.close()

    def _known(self, observation: Any) -> dict[str, np.ndarray]:
        """What the simulator observes of the state that the model plans from."""
        observed = observation if isinstance(observation, dict) else {}
        return {} if self.model is None else known_states(self.model.config, observed)


class LearnedScene:
    """A learned world, planned in with the same world but other noise.

    Args:
        world: The world.
    """

    def __init__(self, world: WorldModel):
        self.config = world.config
        self.env = gym.make("IRASim/World-v0", world=world, max_episode_steps=-1)
        self._seed = 0
        self._steps = 0

    def reset(self, seed: int) -> np.ndarray:
        """See `Scene.reset`; the last action of the clip that the episode begins with."""
        self._seed, self._steps = seed, 0
        world = self.env.unwrapped.world  # type: ignore[attr-defined]
        if not world.starts:
            raise ValueError(f"world {self.config.name!r} has no starts to plan from")
        index = seed % len(world.starts)
        self.env.reset(seed=seed, options={"start": index})
        actions = world.starts[index].actions
        if len(actions):
            return np.asarray(actions[-1], np.float32)
        return (np.array(self.config.action_low) + np.array(self.config.action_high)) / 2

    def state(self) -> WorldState:
        """See `Scene.state`."""
        state = self.env.unwrapped.snapshot().state  # type: ignore[attr-defined]
        return replace(state, seeds=state.seeds * PLANNING_SEED + self._steps + 1)

    def step(self, action: np.ndarray) -> Transition:
        """See `Scene.step`."""
        _, reward, terminated, _, _ = self.env.step(
            settled(self.config, np.asarray(action, np.float32))
        )
        self._steps += 1
        return Transition(
            reward=float(reward),
            terminated=terminated,
            success=terminated and self.config.success_on_termination,
        )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def simulator_settings(config: WorldConfig) -> tuple[str, dict[str, Any]]:
    """Id and arguments of a world's simulator that make it step without drawing."""
    truth = config.ground_truth
    if truth is None:
        raise ValueError(
            f"world {config.name!r} names no ground truth in its config.json, so there is no "
            f"simulator to plan or act in; use a world that does, such as {DEFAULT_WORLD!r}"
        )
    task = task_of(config)
    return truth.env_id, {**truth.kwargs, **(task.undrawn_kwargs if task else {})}


def make_simulator(config: WorldConfig) -> gym.Env:
    """A world's simulator, without drawing and without a time limit."""
    env_id, kwargs = simulator_settings(config)
    return gym.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)
