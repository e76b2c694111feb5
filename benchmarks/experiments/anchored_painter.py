"""Paints a frame from an episode's first one, its anchor, and the joints of both.

With a fixed camera an arm is a function of its joints, and nearly all else is where the anchor
shows it. So no frame between is looked at, and no error adds up along a rollout.

Dimensions: B batch, J joints, H W pixels, E width of an embedding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions, modulated by an embedding (FiLM: Perez et al., arXiv 1709.07871)."""

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in (*self.modulation.parameters(), *self.second.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        scale, shift = self.modulation(embedded)[:, :, None, None].chunk(2, dim=1)
        hidden = self.first(F.silu(self.norm(x) * (1 + scale) + shift))
        return x + self.second(F.silu(hidden))


class Level(nn.Module):
    """Residual blocks of one resolution, in turn."""

    def __init__(self, channels: int, embedding: int, depth: int):
        super().__init__()
        self.blocks = nn.ModuleList(Residual(channels, embedding) for _ in range(depth))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedded)
        return x


class AnchoredPainter(nn.Module):
    """A small U-Net over cells of 4 x 4 pixels, and a head that blends what there is to show.

    That is, with softmax weights for each pixel: the anchor, the anchor warped by a predicted flow,
    and a picture of the network's own. At the start it is the anchor.
    """

    embedding = 256
    detail = 24
    reach = 0.2
    """What the flow is measured in, of half the picture."""

    grid: Tensor

    def __init__(self, joints: int, height: int, width: int, channels: int = 48):
        super().__init__()
        if height % 16 or width % 16:
            raise ValueError(f"pictures are {height} x {width}, expected multiples of 16")
        fine, middle, coarse, size = channels, 2 * channels, 4 * channels, self.embedding
        self.coarse_shape = (coarse // 2, height // 16, width // 16)
        layers: list[nn.Module] = []
        for inputs in (2 * joints, size, size):
            layers += [nn.Linear(inputs, size), nn.SiLU()]
        self.embed = nn.Sequential(*layers)
        # A picture of the joints at each level: what the robot looks like is learned in weights.
        self.picture = nn.Linear(size, coarse // 2 * (height // 16) * (width // 16))
        self.picture_middle = nn.ConvTranspose2d(coarse // 2, middle // 2, 4, 2, 1)
        self.picture_fine = nn.ConvTranspose2d(middle // 2, fine // 2, 4, 2, 1)
        self.position = nn.Parameter(0.02 * torch.randn(1, fine, height // 4, width // 4))

        self.stem = nn.Conv2d(48 + fine // 2, fine, 3, padding=1)
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

        self.flow = nn.Conv2d(fine, 2, 3, padding=1)
        for parameter in self.flow.parameters():
            nn.init.zeros_(parameter)
        self.to_detail = nn.Conv2d(fine, 4 * self.detail, 1)
        self.head = nn.Sequential(
            nn.Conv2d(self.detail + 24, self.detail, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(self.detail, self.detail, 3, padding=1),
            nn.SiLU(),
        )
        self.last = nn.Conv2d(self.detail, 12 + 12, 3, padding=1)  # a picture; three weights
        with torch.no_grad():
            self.last.weight.mul_(0.1)
        # Above its other two weights, which begin at nothing.
        favour = torch.zeros(24)
        favour[12:16] = 3.0
        self.last.bias = nn.Parameter(favour)
        down = (2 * torch.arange(height) + 1) / height - 1
        across = (2 * torch.arange(width) + 1) / width - 1
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        self.register_buffer("grid", grid[None], persistent=False)

    def forward(self, anchor: Tensor, anchor_joints: Tensor, joints: Tensor) -> Tensor:
        """Anchors (B, 3, H, W) in [-1, 1], joints of theirs and to show (B, J) -> (B, 3, H, W)."""
        embedded = self.embed(torch.cat((joints, anchor_joints), dim=1))
        coarse = F.silu(self.picture(embedded)).unflatten(1, self.coarse_shape)
        middle = F.silu(self.picture_middle(coarse))
        fine = F.silu(self.picture_fine(middle))
        x = torch.cat((F.pixel_unshuffle(anchor, 4), fine), dim=1)
        # Convolutions are half as fast again where channels lie together in memory.
        x = self.stem(x.contiguous(memory_format=torch.channels_last)) + self.position
        fine = self.down_fine(x, embedded)
        middle = self.down_middle(self.to_middle(fine) + self.join_middle(middle), embedded)
        x = self.bottom(self.to_coarse(middle) + self.join_coarse(coarse), embedded)
        x = torch.cat((F.pixel_shuffle(self.from_coarse(x), 2), middle), dim=1)
        x = self.up_middle(self.skip_middle(x), embedded)
        x = torch.cat((F.pixel_shuffle(self.from_middle(x), 2), fine), dim=1)
        return self._blend(self.up_fine(self.skip_fine(x), embedded), anchor)

    def _blend(self, x: Tensor, anchor: Tensor) -> Tensor:
        flow = F.interpolate(
            self.flow(x).float(), scale_factor=4, mode="bilinear", align_corners=False
        )
        where = self.grid + self.reach * flow.permute(0, 2, 3, 1)
        warped = F.grid_sample(anchor, where, align_corners=False, padding_mode="border")
        detail = F.pixel_shuffle(self.to_detail(x), 2)
        seen = F.pixel_unshuffle(torch.cat((anchor, warped), dim=1), 2)
        out = F.pixel_shuffle(self.last(self.head(torch.cat((detail, seen), dim=1))).float(), 2)
        own, weights = 0.5 * out[:, :3], out[:, 3:].softmax(dim=1)
        choices = torch.stack((anchor, warped, own), dim=1)  # (B, 3, 3, H, W)
        return (weights[:, :, None] * choices).sum(dim=1)
