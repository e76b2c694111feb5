"""Push-T expert: samples straight pushes, checks them in a second simulator, takes the best.

The block meets no friction on the ground and stops when nothing pushes it, so what a push does
depends on poses alone. A push is therefore planned by moving the disc along a line in a simulator
of its own, and the point of the line where the block lies best is where it ends.

Lengths are simulator pixels (512 x 512 a side), angles radians.
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from policies.pusht.geometry import (
    DISC_RADIUS,
    HIGH,
    LOW,
    OUTLINE,
    Contacts,
    Pose,
    RoadMap,
    approach,
    block_distance,
    rotation,
    sample_contacts,
)

try:
    import pymunk
    from gym_pusht.envs.pusht import PushTEnv
except ImportError as error:
    raise ImportError(
        "the Push-T policies need the simulator: pip install 'irasim-env[pusht]'"
    ) from error


@dataclass(frozen=True, kw_only=True)
class Push:
    """A straight push: the disc's centre goes from `start` to `end`, both (2,)."""

    start: np.ndarray
    end: np.ndarray


class PushSimulator:
    """A second Push-T of pymunk alone, put at any pose of the block, for trying pushes."""

    SUBSTEP_LENGTH = 1.0  # the disc's way in one physics step of 10 ms

    def __init__(self, goal: Pose):
        self._space = pymunk.Space()
        self._space.damping = 0.0
        corners = [(5, 5), (506, 5), (506, 506), (5, 506)]
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            self._space.add(PushTEnv.add_segment(self._space, a, b, 2))
        self._disc = PushTEnv.add_circle(self._space, (256, 400), DISC_RADIUS)
        self._block, _ = PushTEnv.add_tee(self._space, (256, 300), 0)
        self._goal_points = goal.to_world(OUTLINE)

    def cost(self, pose: Pose) -> float:
        """Mean distance of the outline's corners to where the goal wants them."""
        error = pose.to_world(OUTLINE) - self._goal_points
        return float(np.sqrt((error**2).sum(axis=1)).mean())

    def try_push(
        self, pose: Pose, start: np.ndarray, direction: np.ndarray, length: float, every: int = 3
    ) -> tuple[float, float]:
        """Push the block at `pose` and find where to stop.

        Returns:
            The lowest cost on the way, and the disc's way to it. A push that only makes things
            worse is given up early.
        """
        self._block.velocity = (0, 0)
        self._block.angular_velocity = 0
        # The angle first: it turns the body about its centre of mass, which moves the frame.
        self._block.angle = pose.angle
        self._block.position = (pose.x, pose.y)
        self._disc.position = tuple(start)
        self._disc.velocity = tuple(direction * (self.SUBSTEP_LENGTH / 0.01))
        self._space.reindex_shapes_for_body(self._block)
        self._space.reindex_shapes_for_body(self._disc)
        best, best_way = np.inf, 0.0
        for substep in range(1, int(length / self.SUBSTEP_LENGTH) + 1):
            self._space.step(0.01)
            if substep % every:
                continue
            x, y = self._block.position
            cost = self.cost(Pose(x=x, y=y, angle=self._block.angle))
            if cost < best:
                best, best_way = cost, substep * self.SUBSTEP_LENGTH
            elif cost > best + 12:
                break
        return best, best_way


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """How much the expert thinks before each push.

    Attributes:
        num_candidates: pushes tried at random.
        num_refined: best of them that are varied.
        refinements: variations of each.
        clearance: gap between disc and block where a push begins, px.
        max_length: longest push, px.
        patience: a push may cost a factor e less and take this many px more travel to be as good.
    """

    num_candidates: int = 48
    num_refined: int = 4
    refinements: int = 6
    clearance: float = 8.0
    max_length: float = 130.0
    patience: float = 900.0


class PushPlanner:
    """Chooses the next push for a pose of the block."""

    def __init__(self, goal: Pose, rng: np.random.Generator, config: PlannerConfig | None = None):
        self._config = config or PlannerConfig()
        self._simulator = PushSimulator(goal)
        self._roads = RoadMap()
        self._rng = rng

    def plan(self, pose: Pose, disc: np.ndarray) -> tuple[list[np.ndarray], Push]:
        """The way to the best push found and the push itself, for a disc at `disc` (2,)."""
        config = self._config
        contacts = sample_contacts(self._rng, config.num_candidates)
        tried = self._try(pose, disc, contacts)
        tried.sort(key=lambda trial: trial[0])
        best = tried[: config.num_refined]
        if best:
            picked = np.repeat([index for _, index, _ in best], config.refinements)
            refined = Contacts(
                side=contacts.side[picked],
                along=np.clip(
                    contacts.along[picked] + self._rng.normal(0, 0.08, len(picked)), 0, 1
                ),
                slant=contacts.slant[picked] + self._rng.normal(0, 0.15, len(picked)),
            )
            tried += self._try(pose, disc, refined)
            tried.sort(key=lambda trial: trial[0])
        for _, _, push in tried:
            route = self._roads.route(pose, disc, push.start)
            if route is not None:
                return route, push
        # Nothing reaches the block (it lies in a corner): back to the middle and look again.
        middle = np.array([256.0, 256.0])
        return [disc], Push(start=disc, end=disc + np.clip(middle - disc, -40, 40))

    def _try(
        self, pose: Pose, disc: np.ndarray, contacts: Contacts
    ) -> list[tuple[float, int, Push]]:
        """Score (lower is better), index and push of every contact that can be reached."""
        config = self._config
        starts, directions = approach(contacts, config.clearance)
        free = block_distance(starts) > DISC_RADIUS + 2
        starts = pose.to_world(starts)
        directions = directions @ rotation(pose.angle).T
        free &= ((starts > LOW) & (starts < HIGH)).all(axis=1)
        trials = []
        for index in np.flatnonzero(free).tolist():
            start, direction = starts[index], directions[index]
            # Pushes end inside of the walls too.
            limit = np.where(direction > 0, HIGH - start, start - LOW)
            room = (limit / np.maximum(np.abs(direction), 1e-6)).min()
            cost, way = self._simulator.try_push(
                pose, start, direction, min(config.max_length, room)
            )
            travel = float(np.linalg.norm(start - disc)) + way
            score = np.log(cost + 0.5) + travel / config.patience
            trials.append((score, index, Push(start=start, end=start + way * direction)))
        return trials


def true_state(env: gym.Env) -> tuple[np.ndarray, Pose, Pose]:
    """Disc (2,), block and goal of a running Push-T, which its pixels do not give exactly."""
    pusht = env.unwrapped
    if not isinstance(pusht, PushTEnv):
        raise ValueError(
            f"the Push-T policies read the simulator's state, which {type(pusht).__name__} does "
            "not have: use them with gym_pusht/PushT-v0"
        )
    x, y = pusht.block.position
    goal_x, goal_y, goal_angle = (float(value) for value in pusht.goal_pose)
    return (
        np.array(pusht.agent.position),
        Pose(x=x, y=y, angle=pusht.block.angle),
        Pose(x=goal_x, y=goal_y, angle=goal_angle),
    )


def stay(env: gym.Env) -> np.ndarray:
    """The action (2,) that leaves the disc of a running Push-T where it is."""
    return np.array(true_state(env)[0], np.float32)
