"""A proxy: what a frame should look like by the states that it shows, before the denoiser draws.

Background, bodies at their poses and the robot, one layer over the other (as sprites are in
DTI-Sprites: Monnier et al., arXiv 2104.14575). The denoiser draws the frame over it, so only what
the layers cannot say is left to it: identity and edges of a body hold however long an episode is,
and a picture that is drawn a little wrong is not drawn upon.

Layers are found by `irasim label`, in the frames themselves. Before a camera that looks aslant a
body is its top and a side of one colour (training/data/labels/side.py).

Dimensions: N frames, S components of all states, h w pixels, G cells along a sprite's side.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import coordinates
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.planar import Plane
from world_model.streaming.states.robot_layer import RobotLayer

# Heights at which the side of a body is looked at.
HEIGHTS = 4


class Proxy(nn.Module):
    """Composites layers over a background, for states (..., S)."""

    background: Tensor
    foot: Tensor
    cells: Tensor
    places: Tensor

    def __init__(self, config: StreamingConfig):
        super().__init__()
        _, height, width = config.latent_shape
        shape = config.required_states.proxy
        self.plane = Plane(config)
        self.picture, self.cell = (height, width), shape.cell
        self.register_buffer("background", torch.zeros(3, height, width))
        self.bodies = Sprites(shape.body_cells)
        self.sides = shape.sides
        for number, has_one in enumerate(shape.sides):
            if has_one:  # its colour, and its height over that of the camera
                self.bodies.register_buffer(f"side_{number}", torch.zeros(4))
        if any(shape.sides):  # the place in the plane below the camera
            self.register_buffer("foot", torch.zeros(2))
        # Parts lie at weight x states + bias, in the picture's coordinates.
        count = len(shape.robot_cells)
        self.robot = Sprites(shape.robot_cells)
        self.robot.register_buffer("weight", torch.zeros(count, 2, config.state_dim))
        self.robot.register_buffer("bias", torch.zeros(count, 2))
        self.num_observed = sum(len(bounds.low) for bounds in config.observations.values())
        self.robot_layer = None
        if shape.robot_layer:
            self.robot_layer = RobotLayer(self.num_observed, height, width)
        cells = coordinates(height, width)
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("places", self.plane.from_picture(cells), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """States (..., S), scaled -> the proxy (..., 3, h, w), in [-1, 1]."""
        picture = self.of_bodies(states)
        if self.robot_layer is None:
            return picture
        return self.robot_layer(picture, states[..., : self.num_observed]).clamp(-1, 1)

    def of_bodies(self, states: Tensor) -> Tensor:
        """The same without what the robot's layer shows."""
        with torch.autocast(states.device.type, enabled=False):  # 8 bits would be too few
            flat = states.flatten(0, -2).float()
            picture = self.background.float().expand(len(flat), -1, -1, -1)
            for number, sprite in enumerate(self.bodies):
                pose = self.plane.pose(flat, self.plane.poses[number])[:, None]
                if number < len(self.sides) and self.sides[number]:
                    side = self.bodies.get_buffer(f"side_{number}").float()
                    picture = self._side(picture, sprite, side, pose)
                seen = self.plane.seen_from(pose, self.places)
                picture = over(picture, self._sampled(sprite, seen))
            weight, bias = self.robot.get_buffer("weight"), self.robot.get_buffer("bias")
            for number, sprite in enumerate(self.robot):
                place = F.linear(flat, weight[number].float(), bias[number].float())
                away = self.cells - place[:, None]
                height = self.picture[0] / self.picture[1]  # over the width
                away = torch.stack((away[..., 0], away[..., 1] * height), dim=-1)
                picture = over(picture, self._sampled(sprite, away))
        return picture.unflatten(0, states.shape[:-1])

    def _side(self, picture: Tensor, sprite: Tensor, side: Tensor, pose: Tensor) -> Tensor:
        """Pictures (N, 3, h, w) with the side of a body at poses (N, 1, 4): it shows where, farther
        from the camera's foot by up to its height, there is the top."""
        alpha = picture.new_zeros(len(picture), 1, *self.picture)
        away = side[3] * (self.places - self.foot)
        for height in range(1, HEIGHTS + 1):
            seen = self.plane.seen_from(pose, self.places + height / HEIGHTS * away)
            alpha = alpha.maximum(self._sampled(sprite[3:], seen))
        colour = side[:3, None, None].expand(len(picture), -1, *self.picture)
        return over(picture, torch.cat((colour, alpha), dim=1))

    def _sampled(self, sprite: Tensor, places: Tensor) -> Tensor:
        """A sprite (C, G, G), its last channel alpha, at places (N, h w, 2) of its own coordinates,
        in half widths: (N, C, h, w)."""
        extent = (sprite.shape[-1] - 1) / 2 * self.cell
        places = (places / extent).unflatten(1, self.picture)
        sprites = sprite.float().expand(len(places), -1, -1, -1)
        return F.grid_sample(sprites, places, align_corners=True)


def over(picture: Tensor, layer: Tensor) -> Tensor:
    """A layer (..., 4, h, w), colour and alpha, over a picture (..., 3, h, w)."""
    colour, alpha = layer.split((3, 1), dim=-3)
    return torch.addcmul(picture, colour - picture, alpha)


class Sprites(nn.Module):
    """Sprites, each float (4, G, G): colour in [-1, 1], and alpha in [0, 1]."""

    def __init__(self, sides: tuple[int, ...]):
        super().__init__()
        self.count = len(sides)
        for number, side in enumerate(sides):
            self.register_buffer(f"sprite_{number}", torch.zeros(4, side, side))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        return self.get_buffer(f"sprite_{number}")

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(self.count))
