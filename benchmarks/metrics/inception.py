"""The Inception-v3 that FID is defined with, up to its 2048 pooled features.

Szegedy et al. 2015 (arXiv 1512.00567) as TensorFlow published it on 2015-12-05, in the conversion
of pytorch-fid, whose three differences from torchvision's network are kept: average pools do not
count their padding, the last block pools by maximum, and weights are its own. Pictures are resized
to 299 x 299 bilinearly, without antialiasing.

B batch, H W size, D features.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.metrics.network_weights import (
    FETCH,
    PublishedFile,
    WeightsSource,
    WeightsUnavailableError,
    is_torchscript,
    load_tensors,
    load_torchscript,
    obtain,
)

INCEPTION_FILE = PublishedFile(
    name="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d",
)
SIDE = 299  # pixels that the network was trained on
# A convolution: input channels, output channels, kernel, stride.
Conv = tuple[int, int, int | tuple[int, int], int]
# One branch of a block: names of its convolutions or pools in order; a pair is run side by side.
Branch = Sequence[str | tuple[str, str]]


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """An Inception block: branches side by side, their channels joined."""

    def __init__(self, convolutions: dict[str, Conv], branches: Sequence[Branch]):
        super().__init__()
        self.branches = branches
        for name, (channels, out, kernel, stride) in convolutions.items():
            high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
            # Convolutions keep the size unless they stride.
            padding = (high // 2, wide // 2) if stride == 1 else 0
            self.add_module(name, ConvNormReLU(channels, out, kernel, stride, padding))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            y = x
            for step in branch:
                names = (step,) if isinstance(step, str) else step
                y = torch.cat([self._step(name, y) for name in names], dim=1)
            outputs.append(y)
        return torch.cat(outputs, dim=1)

    def _step(self, name: str, x: Tensor) -> Tensor:
        match name:
            case "average":
                return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
            case "maximum":
                return F.max_pool2d(x, 3, stride=1, padding=1)
            case "halve":
                return F.max_pool2d(x, 3, stride=2)
        return self.get_submodule(name)(x)


def _block_35(channels: int, pool: int) -> Mixed:
    """At 35 x 35."""
    return Mixed(
        {
            "branch1x1": (channels, 64, 1, 1),
            "branch5x5_1": (channels, 48, 1, 1),
            "branch5x5_2": (48, 64, 5, 1),
            "branch3x3dbl_1": (channels, 64, 1, 1),
            "branch3x3dbl_2": (64, 96, 3, 1),
            "branch3x3dbl_3": (96, 96, 3, 1),
            "branch_pool": (channels, pool, 1, 1),
        },
        [
            ["branch1x1"],
            ["branch5x5_1", "branch5x5_2"],
            ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
            ["average", "branch_pool"],
        ],
    )


def _reduce_35(channels: int) -> Mixed:
    """From 35 x 35 to 17 x 17."""
    return Mixed(
        {
            "branch3x3": (channels, 384, 3, 2),
            "branch3x3dbl_1": (channels, 64, 1, 1),
            "branch3x3dbl_2": (64, 96, 3, 1),
            "branch3x3dbl_3": (96, 96, 3, 2),
        },
        [["branch3x3"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"], ["halve"]],
    )


def _block_17(channels: int, width: int) -> Mixed:
    """At 17 x 17, 7 x 7 convolutions factored."""
    return Mixed(
        {
            "branch1x1": (channels, 192, 1, 1),
            "branch7x7_1": (channels, width, 1, 1),
            "branch7x7_2": (width, width, (1, 7), 1),
            "branch7x7_3": (width, 192, (7, 1), 1),
            "branch7x7dbl_1": (channels, width, 1, 1),
            "branch7x7dbl_2": (width, width, (7, 1), 1),
            "branch7x7dbl_3": (width, width, (1, 7), 1),
            "branch7x7dbl_4": (width, width, (7, 1), 1),
            "branch7x7dbl_5": (width, 192, (1, 7), 1),
            "branch_pool": (channels, 192, 1, 1),
        },
        [
            ["branch1x1"],
            ["branch7x7_1", "branch7x7_2", "branch7x7_3"],
            [f"branch7x7dbl_{index}" for index in range(1, 6)],
            ["average", "branch_pool"],
        ],
    )


def _reduce_17(channels: int) -> Mixed:
    """From 17 x 17 to 8 x 8."""
    return Mixed(
        {
            "branch3x3_1": (channels, 192, 1, 1),
            "branch3x3_2": (192, 320, 3, 2),
            "branch7x7x3_1": (channels, 192, 1, 1),
            "branch7x7x3_2": (192, 192, (1, 7), 1),
            "branch7x7x3_3": (192, 192, (7, 1), 1),
            "branch7x7x3_4": (192, 192, 3, 2),
        },
        [
            ["branch3x3_1", "branch3x3_2"],
            [f"branch7x7x3_{index}" for index in range(1, 5)],
            ["halve"],
        ],
    )


def _block_8(channels: int, pool: str) -> Mixed:
    """At 8 x 8, 3 x 3 convolutions split in two."""
    return Mixed(
        {
            "branch1x1": (channels, 320, 1, 1),
            "branch3x3_1": (channels, 384, 1, 1),
            "branch3x3_2a": (384, 384, (1, 3), 1),
            "branch3x3_2b": (384, 384, (3, 1), 1),
            "branch3x3dbl_1": (channels, 448, 1, 1),
            "branch3x3dbl_2": (448, 384, 3, 1),
            "branch3x3dbl_3a": (384, 384, (1, 3), 1),
            "branch3x3dbl_3b": (384, 384, (3, 1), 1),
            "branch_pool": (channels, 192, 1, 1),
        },
        [
            ["branch1x1"],
            ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")],
            ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")],
            [pool, "branch_pool"],
        ],
    )


class InceptionFeatures(nn.Module):
    """Pictures to 2048 features. Make it with `load_inception`; fresh weights mean nothing."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNormReLU(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNormReLU(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNormReLU(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNormReLU(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNormReLU(80, 192, 3)
        self.Mixed_5b = _block_35(192, 32)
        self.Mixed_5c = _block_35(256, 64)
        self.Mixed_5d = _block_35(288, 64)
        self.Mixed_6a = _reduce_35(288)
        self.Mixed_6b = _block_17(768, 128)
        self.Mixed_6c = _block_17(768, 160)
        self.Mixed_6d = _block_17(768, 160)
        self.Mixed_6e = _block_17(768, 192)
        self.Mixed_7a = _reduce_17(768)
        self.Mixed_7b = _block_8(1280, "average")
        self.Mixed_7c = _block_8(2048, "maximum")

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Pictures, uint8 (B, 3, H, W) -> features, float32 (B, 2048)."""
        x = F.interpolate(frames.float() / 255, (SIDE, SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_1a_3x3(2 * x - 1)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(x))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = F.max_pool2d(x, 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))


def load_inception(source: WeightsSource = FETCH) -> Any:
    """FID's network on the CPU in eval mode: uint8 (B, 3, H, W) -> features (B, D).

    The file is pytorch-fid's state dict or, with its checksum given, a TorchScript module of the
    same interface.

    Raises:
        WeightsUnavailableError: Weights cannot be had, or are of another network.
    """
    path = obtain(INCEPTION_FILE, source)
    if is_torchscript(path):
        return load_torchscript(path)
    state = {name: v for name, v in load_tensors(path).items() if not name.startswith("fc.")}
    network = InceptionFeatures()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsUnavailableError(f"{path} is not FID's Inception: {error}") from error
    return network.eval().requires_grad_(False)
