"""The U-Net denoiser: convolutions that move what the last frame shows, and draw what it does not.

For worlds of which nothing but frames and actions is known. A transformer has to learn what
convolutions begin with: that neighbours belong together, and that what holds at one place holds at
others. What it reaches is in docs/lab/video_core.md.

A frame is blended, pixel by pixel with softmax weights (as Finn et al., arXiv 1605.07157), of the
frame before, the same moved, and a picture of the network's own. What moves it is a flow: a dense
one, and on top the rigid motions of a few parts, each with a soft mask. A body that three numbers
move keeps its shape, and where it goes is learned from few examples.

As the transformer (denoiser.py) it predicts the clean change of a frame from a noisy one at any
noise level, and training starts from "nothing moved". Of the past it sees the frame before and how
that had just changed.

Dimensions: B frames, T time, C channels, h w latent cells, n m cells of the finest level, W
embedding, K parts.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.convolutions import Level, centres, resized, warped
from world_model.streaming.conditioning import Conditioning, level_features
from world_model.streaming.config import StreamingConfig
from world_model.streaming.denoiser import informative
from world_model.streaming.kv_ring import Ring

DETAIL = 24
"""Channels at half the size of a frame, where its sources are blended."""
SOURCES = 3
"""What is blended: the frame before, the same moved, and a picture of the network's own."""
FLOW, MOTION = 0.2, 0.1
"""What a dense flow is measured in, and the motions of parts: half heights of a frame, and rad."""
PARTS_WIDTH = 128
"""Hidden width of the network that moves parts."""


class UNetDenoiser(nn.Module):
    """Predicts the clean change to a frame from its noisy change, its past and its conditioning.

    `config.denoiser.width` are the channels of its finest level, whose cells are of `patch` latent
    cells along a side; two coarser ones have twice and four times as many. `depth` are the residual
    blocks of a level on the way down; the way up has one more.
    """

    grid: Tensor
    places: Tensor
    cells: Tensor

    def __init__(self, config: StreamingConfig):
        super().__init__()
        self.config = shape = config.denoiser
        channels, height, width = config.latent_shape
        fine, middle, coarse = shape.width, 2 * shape.width, 4 * shape.width
        size, depth = shape.condition_width, shape.depth
        self.channels = channels
        self.one_pass = config.sampler.num_steps == 1
        self.level = nn.Sequential(nn.Linear(64, size), nn.SiLU(), nn.Linear(size, size))
        # The frame before, its last change, and the noisy one.
        self.stem = nn.Conv2d(3 * channels * shape.patch**2, fine, 3, padding=1)
        self.position = nn.Parameter(0.02 * torch.randn(1, fine, *config.grid))
        self.down_fine = Level(fine, size, depth)
        self.to_middle = nn.Conv2d(fine, middle, 2, 2)
        self.down_middle = Level(middle, size, depth)
        self.to_coarse = nn.Conv2d(middle, coarse, 2, 2)
        self.bottom = Level(coarse, size, depth + 1)
        self.from_coarse = nn.Conv2d(coarse, 4 * middle, 1)
        self.skip_middle = nn.Conv2d(2 * middle, middle, 1)
        self.up_middle = Level(middle, size, depth + 1)
        self.from_middle = nn.Conv2d(middle, 4 * fine, 1)
        self.skip_fine = nn.Conv2d(2 * fine, fine, 1)
        self.up_fine = Level(fine, size, depth + 1)

        self.parts = shape.parts
        self.masks = nn.Conv2d(fine, shape.parts + 1, 1)  # and one that does not move
        self.about_parts = nn.Conv2d(fine, 2 * fine, 1)
        self.motion = nn.Sequential(
            nn.Linear(2 * fine + 2 + size, PARTS_WIDTH),
            nn.SiLU(),
            nn.Linear(PARTS_WIDTH, PARTS_WIDTH),
            nn.SiLU(),
            nn.Linear(PARTS_WIDTH, 3),
        )
        self.flow = nn.Conv2d(fine, 2, 3, padding=1)
        self.to_detail = nn.Conv2d(fine, DETAIL * (shape.patch // 2) ** 2, 1)
        self.first = nn.Conv2d(DETAIL + 8 * channels, DETAIL, 3, padding=1)
        self.second = nn.Conv2d(DETAIL, DETAIL, 3, padding=1)
        self.last = nn.Conv2d(DETAIL, 4 * (channels + SOURCES), 3, padding=1)
        for parameter in (*self.motion[-1].parameters(), *self.flow.parameters()):
            nn.init.zeros_(parameter)
        favour = torch.zeros(4 * (channels + SOURCES))
        favour[4 * channels : 4 * channels + 4] = 3.0  # the frame before, over the other two
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            assert self.last.bias is not None
            self.last.bias.copy_(favour)
        self.aspect, self.rows, self.columns = width / height, *config.grid
        # Where `grid_sample` has pixels, and pixels and cells in half heights of a frame.
        square = torch.tensor((self.aspect, 1.0))
        self.register_buffer("grid", centres(height, width), persistent=False)
        self.register_buffer("places", self.grid.flatten(1, 2)[0] * square, persistent=False)
        cells = centres(self.rows, self.columns).flatten(1, 2)[0] * square
        self.register_buffer("cells", cells, persistent=False)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)  # quicker to train

    @property
    def tokens(self) -> tuple[int, int]:
        """How many numbers the head reads: of so many cells, so many each."""
        return self.rows // 4 * (self.columns // 4), 4 * self.config.width

    def forward(
        self, noisy: Tensor, previous: Tensor, levels: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """Whole clips at once.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w); a clip's first frame has itself.
            levels: Noise level of each frame (B, T) in [0, 1].
            conditioning: Of all T frames.

        Returns:
            The changes (B, T, C, h, w) and the tokens (B, T, N, width) that the head reads.
        """
        before = torch.cat((previous[:, :1], previous[:, :-1]), dim=1)
        return self.draw(noisy, previous, previous - before, levels, conditioning)

    def stream(
        self,
        noisy: Tensor,
        previous: Tensor,
        levels: Tensor,
        conditioning: Conditioning,
        ring: Ring,
    ) -> tuple[Tensor, Tensor]:
        """The newest frame of each environment; see `StreamingDenoiser.stream`.

        With T = 2 the first frame's change is the one before the drawn frame's, and is remembered;
        with T = 1 it is looked up.
        """
        if noisy.shape[1] > 1:
            self._remember(noisy[:, :1], ring)
            last = noisy[:, :1]
        else:
            last = self._remembered(ring)
        newest = noisy[:, -1:], previous[:, -1:], last, levels[:, -1:], conditioning.last
        change, tokens = self.draw(*newest, contrast=self.config.blend_contrast)
        return change[:, 0], tokens[:, 0]

    def remember(
        self, change: Tensor, previous: Tensor, conditioning: Conditioning, ring: Ring
    ) -> Tensor:
        """Write the slot of a frame (B, 1, ...) whose change is known; its tokens."""
        last = self._remembered(ring)
        self._remember(change, ring)
        levels = change.new_zeros(change.shape[:2])
        return self.draw(change, previous, last, levels, conditioning)[1][:, 0]

    def empty_ring(self, num_envs: int) -> Ring:
        """An empty ring, whose keys are changes of frames."""
        size = self.channels * self.grid.shape[1] * self.grid.shape[2]
        return Ring.empty((1, num_envs, 3, 1, 1, size), like=self.position)

    def half_precision(self) -> "UNetDenoiser":
        """A copy whose convolutions are in bfloat16; flows, blends and the parts are float32."""
        copied = copy.deepcopy(self)
        for module in copied.modules():
            if isinstance(module, nn.Conv2d | Level):
                module.bfloat16()
        return copied.eval()

    def _remembered(self, ring: Ring) -> Tensor:
        """The change of the frame before the ring's newest, (B, 1, C, h, w)."""
        (rows, slots), _ = ring.places(1)
        flat = ring.keys[0][rows, (slots - 1) % ring.num_slots].flatten(2)
        return flat.unflatten(2, (self.channels, *self.grid.shape[1:3]))

    def _remember(self, change: Tensor, ring: Ring) -> None:
        at, _ = ring.places(1)
        flat = change.flatten(2)[:, :, None, None]
        ring.write(0, at, flat, flat)

    def draw(
        self,
        noisy: Tensor,
        previous: Tensor,
        last: Tensor,
        levels: Tensor,
        conditioning: Conditioning,
        *,
        contrast: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Changes and tokens of frames, each by itself.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w).
            last: How that had just changed, (B, T, C, h, w).
            levels: Noise level of each frame (B, T). In a world of one pass all are drawn from
                nothing, whatever it is.
            conditioning: Of all T frames.
            contrast: See `DenoiserConfig.blend_contrast`; 1 in training.
        """
        shape = noisy.shape[:2]
        if self.one_pass:
            levels = torch.ones_like(levels)
        embedded = F.silu(conditioning.embedding + self.level(level_features(levels, 64)))
        change, tokens = self._changes(
            torch.cat((previous, last, informative(noisy, levels)), dim=2).flatten(0, 1),
            embedded.flatten(0, 1),
            conditioning.at_tokens.flatten(0, 1),
            contrast,
        )
        return change.unflatten(0, shape), tokens.unflatten(0, shape)

    def _changes(
        self, pictures: Tensor, embedded: Tensor, at_cells: Tensor, contrast: float
    ) -> tuple[Tensor, Tensor]:
        """Changes (B, C, h, w) and tokens of frames.

        Args:
            pictures: Frame before, last change and noisy change, (B, 3 C, h, w).
            embedded: Action and noise level, (B, W).
            at_cells: What the action means at each cell, (B, n m, width).
            contrast: See `draw`.
        """
        patch, previous = self.config.patch, pictures[:, : self.channels]
        narrow = self.stem.weight.dtype
        x = F.pixel_unshuffle(pictures, patch).to(narrow)
        # Convolutions are half as fast again where channels lie together in memory.
        x = self.stem(x.contiguous(memory_format=torch.channels_last)) + self.position.to(narrow)
        where = at_cells.unflatten(1, (self.rows, self.columns)).permute(0, 3, 1, 2)
        x, embedding = x + where.to(narrow), embedded.to(narrow)
        fine = self.down_fine(x, embedding)
        middle = self.down_middle(self.to_middle(fine), embedding)
        bottom = self.bottom(self.to_coarse(middle), embedding)
        x = torch.cat((F.pixel_shuffle(self.from_coarse(bottom), 2), middle), dim=1)
        x = self.up_middle(self.skip_middle(x), embedding)
        x = torch.cat((F.pixel_shuffle(self.from_middle(x), 2), fine), dim=1)
        x = self.up_fine(self.skip_fine(x), embedding)

        size = previous.shape[-2:]
        flow = FLOW * resized(self.flow(x).float(), size)
        if self.parts:
            flow = flow + self._rigid(x, embedded, size)
        stretched = torch.stack((flow[:, 0] / self.aspect, flow[:, 1]), dim=1)
        # A body is moved step by step: bilinear, each would take some of its edges.
        moved = warped(previous, stretched, self.grid, "bicubic")
        detail = F.pixel_shuffle(self.to_detail(x), patch // 2)
        sources = F.pixel_unshuffle(torch.cat((previous, moved), dim=1), 2)
        hidden = F.silu(self.first(torch.cat((detail, sources.to(narrow)), dim=1)))
        hidden = self.last(F.silu(self.second(hidden))).float()
        picture, weights = F.pixel_shuffle(hidden, 2).split((self.channels, SOURCES), dim=1)
        weights = (contrast * weights).softmax(dim=1)
        drawn = weights[:, 1:2] * moved + weights[:, 2:] * 0.5 * picture
        change = drawn - (1 - weights[:, :1]) * previous
        return change, bottom.float().flatten(2).transpose(1, 2)

    def _rigid(self, x: Tensor, embedded: Tensor, size: torch.Size) -> Tensor:
        """The flow of all parts, (B, 2, h, w): across, down, in half heights of a frame."""
        masks = self.masks(x).float().softmax(dim=1)[:, : self.parts]  # (B, K, n, m)
        about = self.about_parts(x).float().flatten(2)  # (B, 2 fine, n m)
        flat = masks.flatten(2)
        shares = flat / flat.sum(dim=2, keepdim=True).clamp(min=1e-3)
        middles = shares @ self.cells  # (B, K, 2)
        seen = (shares @ about.transpose(1, 2), middles)
        known = embedded.float()[:, None].expand(-1, self.parts, -1)
        motion = MOTION * self.motion(torch.cat((*seen, known), dim=2))  # (B, K, 3)
        away = self.places - middles[:, :, None]  # (B, K, h w, 2)
        sine, cosine = motion[..., 2:].sin(), motion[..., 2:].cos()
        across, down = away.unbind(-1)
        turned = torch.stack((cosine * across - sine * down, sine * across + cosine * down), dim=-1)
        flows = (turned - away + motion[:, :, None, :2]).unflatten(2, size)
        weights = resized(masks, size)[..., None]  # (B, K, h, w, 1)
        return (weights * flows).sum(dim=1).permute(0, 3, 1, 2)
