"""What a world knows of states: the part `states` of its `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from world_model.config import ObservationConfig
from world_model.config_fields import check_count, check_counts, check_positive, check_within
from world_model.renamed import renamed

# Of sprites, and of cells along a side of one: more would make a step of a damaged world last for
# ever.
MOST_SPRITES, MOST_CELLS = 64, 4096
MOST_REFINEMENTS = 64  # for the same reason


class HasStates(Protocol):
    """What of a world's config says which states and actions it has."""

    @property
    def action_dim(self) -> int: ...

    @property
    def action_low(self) -> tuple[float, ...]: ...

    @property
    def action_high(self) -> tuple[float, ...]: ...

    @property
    def observations(self) -> Mapping[str, ObservationConfig]: ...

    @property
    def tracked(self) -> Mapping[str, ObservationConfig]: ...


@renamed(reach="mask_radii")
@dataclass(frozen=True, kw_only=True)
class PlanarConfig:
    """What of actions and states lies in the picture's plane (see planar.py). Its bounds are the
    picture's edges, x across and y down; or, where `homography` is set, any that are the same for
    all, of a plane that the camera sees aslant."""

    action: bool = False
    """The action is a place (x, y)."""
    points: tuple[str, ...] = ()
    """States that are places (x, y)."""
    poses: tuple[str, ...] = ()
    """States that are a body's place and direction: x, y, cosine and sine of its angle from x to
    y."""
    symmetries: tuple[int, ...] = ()
    """Of each pose, in how many directions the body looks the same; 0: it is round. The state's
    direction is that of so many times the angle, so that what looks the same is one state. Empty:
    1 for all."""
    homography: tuple[float, ...] | None = None
    """Of the picture's coordinates, its edges being -1 and 1, x across and y down, to the plane in
    the units of the states: 9 numbers, row by row. None: the plane is the picture."""
    mask_radii: tuple[float, ...] = ()
    """Radii of the change mask, in the units of the states: the frame may change only this far
    around each point, and around each pose while it moves. Empty: it may change anywhere. Pixels
    outside the mask keep their colours for the whole episode."""

    def aspect(self, config: HasStates) -> float:
        """Height of the picture over its width, in the environment's units."""
        spans = [
            (high[1] - low[1]) / (high[0] - low[0]) for low, high in self._edges(config).values()
        ]
        return spans[0] if spans else 1.0

    def check(self, config: HasStates) -> None:
        """Raise ValueError unless all that lies in the plane is there and has the same edges."""
        for kind, names, size in (("point", self.points, 2), ("pose", self.poses, 4)):
            for name in names:
                found = config.tracked.get(name)
                if found is None or len(found.low) != size:
                    raise ValueError(
                        f"{kind} {name!r} is {found}, expected a state of {size} numbers; the "
                        f"world's states are {', '.join(config.tracked) or 'none'}"
                    )
        if self.mask_radii and (
            len(self.mask_radii) != len(self.points) + len(self.poses) or min(self.mask_radii) <= 0
        ):
            raise ValueError(
                f"mask_radii is {self.mask_radii}, expected a distance over 0 for each of "
                f"{', '.join((*self.points, *self.poses)) or 'no point or pose'}"
            )
        if len(self.symmetries) not in (0, len(self.poses)) or min(self.symmetries, default=0) < 0:
            raise ValueError(
                f"symmetries is {self.symmetries}, expected an order of 0 or more for each of "
                f"{', '.join(self.poses) or 'no pose'}"
            )
        if self.homography is not None and not self._invertible:
            raise ValueError(
                f"homography is {self.homography}, expected 9 numbers of a matrix that can be "
                "inverted"
            )
        if self.poses and not (self.points or self.action):
            raise ValueError(
                "poses need points: bodies have to be related to something that acts on them"
            )
        if self.action and config.action_dim != 2:
            raise ValueError(f"an action that is a place has 2 components, not {config.action_dim}")
        for name in self.poses:
            bounds = config.tracked[name]
            if bounds.low[2:] != (-1.0, -1.0) or bounds.high[2:] != (1.0, 1.0):
                raise ValueError(f"pose {name!r}: cosine and sine have bounds -1 and 1")
        edges = self._edges(config)
        if len(set(edges.values())) > 1:
            raise ValueError(f"what lies in the picture's plane has different edges: {edges}")

    def matrix(self, config: HasStates) -> np.ndarray | None:
        """The homography with the plane scaled as states are, (3, 3); None as there."""
        edges = list(self._edges(config).values())
        if self.homography is None or not edges:
            return None
        low, high = np.array(edges[0])
        scaling = np.diag([*(2 / (high - low)), 1.0])
        scaling[:2, 2] = -(high + low) / (high - low)
        return scaling @ self._matrix

    @property
    def _invertible(self) -> bool:
        if len(self.homography or ()) != 9 or not np.isfinite(self._matrix).all():
            return False
        if not np.linalg.cond(self._matrix) < 1e8:
            return False
        # The middle of the picture and that of the plane's units are no places at infinity.
        return bool(self._matrix[2, 2]) and bool(np.linalg.inv(self._matrix)[2, 2])

    @property
    def _matrix(self) -> np.ndarray:
        return np.array(self.homography).reshape(3, 3)

    def _edges(self, config: HasStates) -> dict[str, tuple[tuple[float, ...], ...]]:
        edges = {
            name: (config.tracked[name].low[:2], config.tracked[name].high[:2])
            for name in (*self.points, *self.poses)
        }
        return edges | ({"action": (config.action_low, config.action_high)} if self.action else {})


@dataclass(frozen=True, kw_only=True)
class ProxyConfig:
    """Of a world whose frames are drawn over a proxy (see proxy.py): the sizes of its sprites."""

    body_cells: tuple[int, ...] = ()
    """Cells along a side of each pose's sprite."""
    robot_cells: tuple[int, ...] = ()
    """Cells along a side of the sprite of each part of the robot."""
    sides: tuple[bool, ...] = ()
    """Of each pose, whether the body is drawn with a side below its top. Empty: none is."""
    robot_layer: bool = False
    """Whether the robot is drawn by a network from all observations (see robot_layer.py)."""
    cell: float = 0.005
    """Side of a cell, in half widths of the plane: of the picture, unless there is a homography."""

    def __bool__(self) -> bool:
        return bool(self.body_cells or self.robot_cells or self.robot_layer)

    def check(self, planar: PlanarConfig, downscale: int) -> None:
        """Raise ValueError unless a world of such planar states, in latents of so many pixels a
        side, can have such a proxy."""
        if not self:
            return
        for name in ("body_cells", "robot_cells"):
            sides = getattr(self, name)
            if len(sides) > MOST_SPRITES:
                raise ValueError(f"{name}: {len(sides)} sprites, expected at most {MOST_SPRITES}")
            for count in sides:
                check_count(name, count)
                if not 2 <= count <= MOST_CELLS:
                    raise ValueError(f"{name}: {count} cells, expected 2 to {MOST_CELLS}")
        check_positive("cell", self.cell)
        if len(self.body_cells) != len(planar.poses):
            raise ValueError(
                f"the proxy has {len(self.body_cells)} sprites of bodies, expected one for each of "
                f"the poses {', '.join(planar.poses) or '(none)'}"
            )
        if len(self.sides) not in (0, len(planar.poses)):
            raise ValueError(
                f"sides is {self.sides}, expected a yes or no for each of {', '.join(planar.poses)}"
            )
        if self.robot_cells and planar.homography is not None:
            raise ValueError("sprites of the robot lie in the picture: leave out the homography")
        if planar.mask_radii:
            raise ValueError("a world with a proxy has no change mask: leave mask_radii empty")
        if downscale != 1:
            raise ValueError("a proxy is made of pixels: it needs the codec pixels")


@renamed(foresight_width="dynamics_width", reader_looks="refinement_iterations")
@dataclass(frozen=True, kw_only=True)
class StatesConfig:
    """What a world knows of states: it estimates them from the first frames, predicts them, and
    conditions frames on them and on the last action (see conditioner.py)."""

    hidden: dict[str, ObservationConfig] = field(default_factory=dict)
    """States that the world predicts beside its observations, by name: what the simulator knew of
    itself when its episodes were recorded, or what was found in the video."""
    labelled: tuple[str, ...] = ()
    """Those of the hidden states that were found in the video by `irasim label`."""
    planar: PlanarConfig = field(default_factory=PlanarConfig)
    proxy: ProxyConfig = field(default_factory=ProxyConfig)
    dynamics_width: int = 512
    """Hidden width of the network that predicts the next states (see dynamics.py)."""
    refinement_iterations: int = 0
    """How many times the states estimated from a first frame are refined, from a patch of the frame
    around each place and body (see estimator.py)."""
    reward_sees_motion: bool = False
    """Whether the reward model sees how states just changed, and how far points and bodies are from
    each other: rewards for progress need it. (Older worlds' did not.)"""
    reward_frequencies: int | None = None
    """Octaves of the features that it sees states by; None: the denoiser's `action_frequencies`."""

    def __post_init__(self) -> None:
        check_counts(self, "dynamics_width")
        if self.reward_frequencies is not None:
            check_counts(self, "reward_frequencies")
        check_within(self, 0, MOST_REFINEMENTS, "refinement_iterations")

    def check(self, world: HasStates, downscale: int) -> None:
        """Raise ValueError unless a world with such observations and actions, in latents of so many
        pixels a side, can have these states."""
        if both := set(self.hidden) & set(world.observations):
            raise ValueError(
                f"{', '.join(sorted(both))}: hidden, and observed as well; leave it out of the "
                "hidden states"
            )
        if not world.tracked:
            raise ValueError(
                "the world has no observations or hidden states to know: name some, or set states "
                "to null"
            )
        self.planar.check(world)
        self.proxy.check(self.planar, downscale)
