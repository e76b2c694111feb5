"""Paints a frame from an anchor, a recorded frame of the same episode, and the states of both.

With a fixed camera a robot is a function of its joints, and nearly all else is where the anchor
shows it. So no frame in between is looked at, and no error adds up along a rollout. A reference, a
frame of another episode in which the robot was nearly where it is to be shown, says what the robot
looks like there.

Dimensions: B batch, S components of all states, H W pixels, E width of the embedding, N sources.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.anchored.config import CELLS, AnchoredConfig
from world_model.convolutions import Level, centres, resized, warped

REACH = 0.2
"""What flows are measured in, of half the picture."""
DETAIL = 24
"""Channels of the head that blends."""
FINE = 5
"""Side, in pixels, of the window whose mean is what a picture has without its fine detail."""
MOVES = 5.0
"""By how much differences from the anchor's states are scaled."""
REST_GAIN, REST_WITHIN = 6.0, 0.05
"""What the anchor's logit has more at rest, and the distance of states at which that is a third:
where training begins."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a frame is painted from."""

    anchor: Tensor
    """(B, 3, H, W) in [-1, 1]."""
    anchor_states: Tensor
    """Of the anchor, scaled to [-1, 1], (B, S)."""
    reference: Tensor | None = None
    """(B, 3, H, W), where the painter has references."""
    reference_states: Tensor | None = None
    """Of the reference, (B, S)."""

    @property
    def pictures(self) -> list[Tensor]:
        """Those that are warped."""
        return [self.anchor] if self.reference is None else [self.anchor, self.reference]


@dataclass(frozen=True, eq=False)
class Sketch:
    """What the coarse part has made of a frame; h w are coarse pixels."""

    picture: Tensor
    """The network's own, (B, 3, h, w)."""
    weights: Tensor
    """Logits of the blend's sources, (B, N, h, w)."""
    flow: Tensor
    """Where what is warped comes from, (B, 2, h, w) for each picture: across, down."""
    hidden: Tensor
    """What they were made of, (B, DETAIL, h / 2, w / 2)."""
    embedded: Tensor
    """The states, (B, E)."""
    pooled: Tensor
    """The coarsest features' mean over the picture, (B, 4 channels)."""


@dataclass(frozen=True, eq=False)
class Painted:
    """A frame, and how it was made."""

    frame: Tensor
    """(B, 3, H, W), about in [-1, 1]."""
    weights: Tensor
    """Weights of the blend, (B, N, H, W), summing to 1: the first is that of the anchor as it
    is."""


class Painter(nn.Module):
    """A small U-Net at a coarse size, and a refiner at full size, each with a blend at its end.

    A blend chooses for each pixel, by softmax weights, between the anchor, the anchor warped by a
    predicted flow, the reference (if there is one) warped by another, and a picture of the
    network's own. At the start of training it is the anchor; and so it is, whatever the anchor
    shows, where the states are still the anchor's.
    """

    coarse_grid: Tensor
    grid: Tensor

    def __init__(self, config: AnchoredConfig):
        super().__init__()
        shape = config.painter
        self.coarse = shape.coarse
        pictures = 2 if shape.references else 1
        self.sources = sources = 2 + pictures
        # Without references as worlds were drawn that were made before there were any.
        self.between = "bicubic" if shape.references else "bilinear"
        height, width = config.height // shape.coarse, config.width // shape.coarse
        fine, middle, coarse, size = (
            *(shape.channels, 2 * shape.channels, 4 * shape.channels),
            shape.embedding,
        )
        self.coarse_shape = (coarse // 2, height // CELLS, width // CELLS)
        layers: list[nn.Module] = []
        for inputs in ((1 + pictures) * config.state_dim, size, size):
            layers += [nn.Linear(inputs, size), nn.SiLU()]
        self.embed = nn.Sequential(*layers)
        # A picture of the states at each level: what the robot looks like is learned in weights.
        self.image = nn.Linear(size, coarse // 2 * (height // CELLS) * (width // CELLS))
        self.image_middle = nn.ConvTranspose2d(coarse // 2, middle // 2, 4, 2, 1)
        self.image_fine = nn.ConvTranspose2d(middle // 2, fine // 2, 4, 2, 1)
        self.position = nn.Parameter(0.02 * torch.randn(1, fine, height // 4, width // 4))

        self.stem = nn.Conv2d(48 * pictures + fine // 2, fine, 3, padding=1)
        self.down_fine = Level(fine, size, 1)
        self.to_middle = nn.Conv2d(fine, middle, 2, 2)
        self.join_middle = nn.Conv2d(middle // 2, middle, 1)
        self.down_middle = Level(middle, size, 1)
        self.to_coarse = nn.Conv2d(middle, coarse, 2, 2)
        self.join_coarse = nn.Conv2d(coarse // 2, coarse, 1)
        self.bottom = Level(coarse, size, 2)
        self.from_coarse = nn.Conv2d(coarse, 4 * middle, 1)
        self.skip_middle = nn.Conv2d(2 * middle, middle, 1)
        self.up_middle = Level(middle, size, 2)
        self.from_middle = nn.Conv2d(middle, 4 * fine, 1)
        self.skip_fine = nn.Conv2d(2 * fine, fine, 1)
        self.up_fine = Level(fine, size, 2)

        self.rest_gain = nn.Parameter(torch.tensor([REST_GAIN]))
        self.rest_within = nn.Parameter(torch.tensor([REST_WITHIN]).log())
        self.flow = nn.Conv2d(fine, 2 * pictures, 3, padding=1)
        for parameter in self.flow.parameters():
            nn.init.zeros_(parameter)
        self.to_detail = nn.Conv2d(fine, 4 * DETAIL, 1)
        self.head = nn.Sequential(
            nn.Conv2d(DETAIL + 12 * (1 + pictures), DETAIL, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(DETAIL, DETAIL, 3, padding=1),
            nn.SiLU(),
        )
        self.last = nn.Conv2d(DETAIL, 4 * (3 + sources), 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
        favour = torch.zeros(4 * (3 + sources))
        favour[12:16] = 3.0  # the anchor's logit, above the others'
        self.last.bias = nn.Parameter(favour)

        channels = shape.refiner_channels
        inputs = 12 * (1 + pictures) + 3 + sources + DETAIL
        self.refine_in = nn.Conv2d(inputs, channels, 3, padding=1)
        self.refine = Level(channels, size, 2)
        self.refine_out = nn.Conv2d(channels, 4 * (3 + sources), 3, padding=1)
        for parameter in self.refine_out.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("coarse_grid", centres(height, width), persistent=False)
        self.register_buffer("grid", centres(config.height, config.width), persistent=False)

    def forward(self, given: Given, states: Tensor) -> Painted:
        """A frame at full size, of states (B, S)."""
        return self.refined(self.sketch(given, states), given)

    def sketch(self, given: Given, states: Tensor) -> Sketch:
        """The coarse part; see `forward`."""
        small = [F.avg_pool2d(picture, self.coarse) for picture in given.pictures]
        move = (states - given.anchor_states).float()
        parts = [states, MOVES * move]
        if given.reference_states is not None:
            parts.append(MOVES * (states - given.reference_states).float())
        embedded = self.embed(torch.cat(parts, dim=1).to(self.dtype))
        coarse = F.silu(self.image(embedded)).unflatten(1, self.coarse_shape)
        middle = F.silu(self.image_middle(coarse))
        fine = F.silu(self.image_fine(middle))
        seen = F.pixel_unshuffle(torch.cat(small, dim=1), 4)
        x = torch.cat((seen.to(fine.dtype), fine), dim=1)
        # Convolutions are half as fast again where channels lie together in memory.
        x = self.stem(x.contiguous(memory_format=torch.channels_last)) + self.position
        fine = self.down_fine(x, embedded)
        middle = self.down_middle(self.to_middle(fine) + self.join_middle(middle), embedded)
        bottom = self.bottom(self.to_coarse(middle) + self.join_coarse(coarse), embedded)
        x = torch.cat((F.pixel_shuffle(self.from_coarse(bottom), 2), middle), dim=1)
        x = self.up_middle(self.skip_middle(x), embedded)
        x = torch.cat((F.pixel_shuffle(self.from_middle(x), 2), fine), dim=1)
        x = self.up_fine(self.skip_fine(x), embedded)

        flow = resized(self.flow(x).float(), small[0].shape[-2:])
        detail = F.pixel_shuffle(self.to_detail(x), 2)
        moved = self._moved(small, flow, self.coarse_grid)
        sources = F.pixel_unshuffle(torch.cat((small[0], *moved), dim=1), 2)
        hidden = self.head(torch.cat((detail, sources.to(detail.dtype)), dim=1))
        picture, weights = F.pixel_shuffle(self.last(hidden).float(), 2).split(
            (3, self.sources), dim=1
        )
        away = move.square().sum(dim=1) / (2 * self.rest_within.float()).exp()
        rest = self.rest_gain.float() * (-away).exp()  # (B,)
        weights = weights + F.pad(rest[:, None], (0, self.sources - 1))[:, :, None, None]
        return Sketch(
            picture=0.5 * picture,
            weights=weights,
            flow=flow,
            hidden=hidden,
            embedded=embedded,
            pooled=bottom.float().mean((2, 3)),
        )

    def sketched(self, sketch: Sketch, given: Given) -> Painted:
        """The coarse part's own frame, (B, 3, h, w), which training begins with."""
        small = [F.avg_pool2d(picture, self.coarse) for picture in given.pictures]
        moved = self._moved(small, sketch.flow, self.coarse_grid)
        return blended(sketch.weights, torch.stack([small[0], *moved, sketch.picture], dim=1))

    def refined(self, sketch: Sketch, given: Given) -> Painted:
        """The frame at full size, of a sketch."""
        return blended(*self.sources_of(sketch, given))

    def sources_of(self, sketch: Sketch, given: Given) -> tuple[Tensor, Tensor]:
        """What the frame at full size is blended of, (B, N, 3, H, W), after the logits of their
        weights, (B, N, H, W)."""
        size = given.anchor.shape[-2:]
        half = (size[0] // 2, size[1] // 2)
        moved = self._moved(given.pictures, resized(sketch.flow, size), self.grid)
        inputs = (
            F.pixel_unshuffle(torch.cat((given.anchor, *moved), dim=1), 2),
            resized(sketch.picture, half),
            resized(sketch.weights.softmax(dim=1), half),
            F.interpolate(sketch.hidden.float(), size=half, mode="nearest"),
        )
        x = torch.cat(inputs, dim=1).to(self.dtype)
        x = self.refine_in(x.contiguous(memory_format=torch.channels_last))
        out = self.refine_out(self.refine(x, sketch.embedded)).float()
        picture, weights = F.pixel_shuffle(out, 2).split((3, self.sources), dim=1)
        own = resized(sketch.picture, size) + 0.5 * picture
        weights = resized(sketch.weights, size) + weights
        return weights, torch.stack([given.anchor, *moved, own], dim=1)

    def _moved(self, pictures: list[Tensor], flow: Tensor, grid: Tensor) -> list[Tensor]:
        """Each picture warped by its own part of the flow."""
        parts = flow.split(2, dim=1)
        return [
            warped(picture, REACH * part, grid, self.between)
            for picture, part in zip(pictures, parts, strict=True)
        ]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: pictures and blends are float32 whatever it is."""
        return self.position.dtype


def blended(logits: Tensor, sources: Tensor, contrast: float = 1.0) -> Painted:
    """What sources (B, N, 3, H, W) make by logits (B, N, H, W) times a contrast."""
    weights = (contrast * logits).softmax(dim=1)
    return Painted(frame=(weights[:, :, None] * sources).sum(dim=1), weights=weights)


def with_detail_of(frame: Tensor, other: Tensor) -> Tensor:
    """A picture (B, 3, H, W) with the fine detail of another in place of its own."""
    away = frame - other
    return other + F.avg_pool2d(away, FINE, 1, FINE // 2, count_include_pad=False)
