"""A proxy: what a frame should look like by the states that it shows, before any network draws.

Background, bodies at their poses and the robot's parts at their places, one layer over the other
(as sprites are in DTI-Sprites: Monnier et al., arXiv 2104.14575). The denoiser draws the frame over
it, so only what the layers cannot say is left to it: identity and edges of a body hold however long
an episode is, and a picture that is drawn a little wrong is not drawn upon.

Layers are found by `irasim label`, in the frames themselves.

Dimensions: S components of all states, h w latent cells, G cells along a sprite's side.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import coordinates
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.planar import Plane


class Proxy(nn.Module):
    """Composites layers over a background, for states (..., S)."""

    background: Tensor
    cells: Tensor

    def __init__(self, config: StreamingConfig):
        super().__init__()
        _, height, width = config.latent_shape
        self.plane = Plane(config)
        self.picture = height, width
        bodies, robot = config.proxy.body_cells, config.proxy.robot_cells
        # Half of a sprite's side, in half widths of the picture, for each side in cells.
        self.extent = {side: (side - 1) * config.proxy.cell / width for side in (*bodies, *robot)}
        self.register_buffer("background", torch.zeros(3, height, width))
        self.bodies, self.robot = Sprites(bodies), Sprites(robot)
        # Robot parts lie at weight x states + bias, in the picture's coordinates.
        self.robot.register_buffer("weight", torch.zeros(len(robot), 2, config.state_dim))
        self.robot.register_buffer("bias", torch.zeros(len(robot), 2))
        self.register_buffer("cells", coordinates(height, width), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """States (..., S), scaled -> the proxy (..., 3, h, w), in [-1, 1]."""
        leading = states.shape[:-1]
        with torch.autocast(states.device.type, enabled=False):  # 8 bits would be too few
            flat = states.reshape(-1, states.shape[-1]).float()
            picture = self.background.float().expand(len(flat), -1, -1, -1)
            for part, sprite in zip(self.plane.poses, self.bodies, strict=True):
                seen = self.plane.seen_from(flat[:, None, part], self.cells)  # (N, h w, 2)
                picture = self._over(picture, sprite, seen)
            weight, bias = self.robot.get_buffer("weight"), self.robot.get_buffer("bias")
            for number, sprite in enumerate(self.robot):
                place = F.linear(flat, weight[number].float(), bias[number].float())
                away = self.cells - place[:, None]
                away = torch.stack((away[..., 0], away[..., 1] * self.aspect), dim=-1)
                picture = self._over(picture, sprite, away)
        return picture.unflatten(0, leading)

    @property
    def aspect(self) -> float:
        """Height of the picture over its width, in pixels."""
        return self.picture[0] / self.picture[1]

    def _over(self, picture: Tensor, sprite: Tensor, places: Tensor) -> Tensor:
        """A sprite (4, G, G) over pictures (N, 3, h, w), whose cells are at `places` (N, h w, 2) of
        the sprite's own coordinates, in half widths of the picture."""
        places = (places / self.extent[sprite.shape[-1]]).unflatten(1, self.picture)
        colour, alpha = sprite[:3].float(), sprite[3:].float()
        layer = torch.cat((colour * alpha, alpha)).expand(len(picture), -1, -1, -1)
        layer = F.grid_sample(layer, places, align_corners=True)
        return torch.addcmul(picture + layer[:, :3], picture, layer[:, 3:], value=-1)


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
