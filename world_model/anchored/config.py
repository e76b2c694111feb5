"""What an anchored world is: what its `config.json` says beside `WorldConfig`."""

from dataclasses import dataclass, field
from typing import Literal

from world_model.config import WorldConfig
from world_model.config_fields import check_counts, check_within

CELLS = 16
"""Coarse pixels that a picture's sides must be multiples of: the painter halves them four times."""
MOST_LAGS = 64
MOST_REFERENCES = 2**16


@dataclass(frozen=True, kw_only=True)
class PainterConfig:
    """Shape of the network that paints frames."""

    coarse: int = 2
    """Pixels per coarse pixel, along each side: most of the work is done on a picture that is this
    much smaller."""
    channels: int = 48
    """Of the finest cells (4 x 4 coarse pixels); the next two levels have two and four times as
    many. A multiple of 8."""
    embedding: int = 256
    """Width of the states' embedding, which modulates all blocks."""
    refiner_channels: int = 32
    """Of what refines the picture at full size. A multiple of 8."""
    references: int = 0
    """Recorded frames that the world keeps, of which each frame is painted with those whose states
    are nearest; 0: none."""
    references_per_frame: int = 1
    """How many of them: a frame is the mean of what is painted with each."""
    blend_contrast: float = 1.0
    """What a world multiplies the logits of its blends with. Above 1 a pixel is chosen from its
    sources rather than mixed of them, which is sharper."""
    detail_contrast: float = 0.0
    """The same for fine detail, which then comes from what is painted with the nearest reference
    alone: a mean over several has little. 0: detail is the mean's too."""
    rest_within: float = 0.0
    """While states are nearer to the anchor's than this, in the references' metric (about how much
    the picture changes), the frame is the anchor: how motion begins is the hardest to foresee, and
    what rests shall rest. 0, or without references: every frame is painted."""

    def __post_init__(self) -> None:
        check_counts(self, "coarse", "channels", "embedding", "refiner_channels")
        check_within(self, 0, MOST_REFERENCES, "references")
        check_within(self, 1, max(1, self.references), "references_per_frame")
        check_within(self, 0.01, 100, "blend_contrast")
        check_within(self, 0, 100, "detail_contrast", "rest_within")
        for name in ("channels", "refiner_channels"):
            if getattr(self, name) % 8:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a multiple of 8")


@dataclass(frozen=True, kw_only=True)
class AnchoredConfig(WorldConfig):
    """A world that paints each frame from the frame where the episode began, and the states.

    Its observations are the states: what the robot measures of itself.
    """

    engine: Literal["anchored"] = "anchored"
    lags: int = 5
    """Actions that the states' dynamics see: the present one and those before it."""
    painter: PainterConfig = field(default_factory=PainterConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(self, 1, MOST_LAGS, "lags")
        if not self.observations:
            raise ValueError(
                "an anchored world paints from low-dimensional observations, such as a robot's "
                "joints, and there are none; record them, or train a world of another preset"
            )
        if self.codec.kind != "pixels":
            raise ValueError(f"codec is {self.codec.kind}, an anchored world paints pixels")
        cell = CELLS * self.painter.coarse
        if self.height % cell or self.width % cell:
            fits = [max(1, round(side / cell)) * cell for side in (self.height, self.width)]
            raise ValueError(
                f"frames of {self.height} x {self.width}: an anchored world's sides are multiples "
                f"of {cell} pixels; collect or convert frames of another size (--height {fits[0]} "
                f"--width {fits[1]})"
            )

    @property
    def context(self) -> int:
        return 0

    @property
    def num_steps(self) -> int:
        return 1

    @property
    def evaluations_per_step(self) -> int:
        return 1
