"""LPIPS: distance of two pictures in the features of a network for image recognition.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018),
eq. 1, version 0.1: torchvision's AlexNet or VGG-16 with ImageNet weights, and the authors' linear
heads.

B batch, C channels, H W size.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.metrics.network_weights import (
    FETCH,
    PublishedFile,
    WeightsSource,
    WeightsUnavailableError,
    describe,
    load_tensors,
    obtain,
)

Trunk = Literal["alex", "vgg"]
# The authors' scaling of pictures in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
SMALLEST_SIDE = 32  # AlexNet's strides leave nothing of less
_HEADS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights"
TRUNK_FILES: dict[Trunk, PublishedFile] = {
    "alex": PublishedFile(
        name="alexnet-owt-7be5be79.pth",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        sha256="7be5be79",
    ),
    "vgg": PublishedFile(
        name="vgg16-397923af.pth",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}
HEAD_FILES: dict[Trunk, PublishedFile] = {
    "alex": PublishedFile(
        name="lpips-alex-v0.1.pth",
        url=f"{_HEADS}/v0.1/alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "vgg": PublishedFile(
        name="lpips-vgg-v0.1.pth",
        url=f"{_HEADS}/v0.1/vgg.pth",
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
}


@dataclass(frozen=True, kw_only=True)
class LPIPSWeights:
    """Which LPIPS, and where its weights are."""

    trunk: Trunk = "alex"
    """The network: alex is what most papers report, vgg is closer to a training loss."""
    network: WeightsSource = field(default_factory=WeightsSource)
    """torchvision's weights of that network."""
    heads: WeightsSource = field(default_factory=WeightsSource)
    """The authors' linear heads, version 0.1 (also found in an installed torchmetrics)."""


class LPIPS(nn.Module):
    """The distance, per picture. Make it with `load_lpips`; fresh weights mean nothing."""

    def __init__(self, trunk: Trunk = "alex"):
        super().__init__()
        layers, self.taps = _alexnet() if trunk == "alex" else _vgg16()
        self.features = nn.Sequential(*layers)
        widths = [_width_before(layers, tap) for tap in self.taps]
        self.heads = nn.ParameterList(torch.zeros(width) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.shift: Tensor
        self.scale: Tensor

    @torch.no_grad()
    def forward(self, pred: Tensor, true: Tensor) -> Tensor:
        """Distance of pictures, float in [-1, 1] (B, 3, H, W) each -> (B,)."""
        if pred.shape != true.shape or pred.ndim != 4 or min(pred.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS of {tuple(pred.shape)} and {tuple(true.shape)}: expected two batches "
                f"(B, 3, H, W) of one shape, at least {SMALLEST_SIDE} pixels a side"
            )
        pair = (torch.cat([pred, true]) - self.shift) / self.scale
        total = torch.zeros(len(pred), device=pred.device)
        for index, layer in enumerate(self.features):
            pair = layer(pair)
            if index in self.taps:
                head = self.heads[self.taps.index(index)]
                unit = pair / (pair.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
                a, b = unit.chunk(2)
                weighted = (a - b).square() * head.view(1, -1, 1, 1)
                total += weighted.sum(dim=1).mean(dim=(1, 2))
        return total


def load_lpips(weights: LPIPSWeights | None = None) -> LPIPS:
    """LPIPS with its published weights, on the CPU, in eval mode.

    Raises:
        WeightsUnavailableError: Weights cannot be had, or are of another network.
    """
    weights = weights or LPIPSWeights()
    trunk_path = obtain(TRUNK_FILES[weights.trunk], weights.network)
    heads_path = _heads_path(weights)
    trunk, heads = load_tensors(trunk_path), load_tensors(heads_path)
    network = LPIPS(weights.trunk)
    state = {name: v for name, v in trunk.items() if not name.startswith("classifier.")}
    for index in range(len(network.heads)):
        head = heads.get(f"lin{index}.model.1.weight")
        if head is None or head.numel() != network.heads[index].numel():
            raise WeightsUnavailableError(
                f"{heads_path}: lin{index}.model.1.weight is missing or of another size: these "
                f"are no heads for {weights.trunk}"
            )
        state[f"heads.{index}"] = head.flatten()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsUnavailableError(f"{trunk_path} is no {weights.trunk}: {error}") from error
    return network.eval().requires_grad_(False)


def protocol(weights: LPIPSWeights) -> str:
    """What a figure was taken with, for reports."""
    network = describe(TRUNK_FILES[weights.trunk], weights.network)
    heads = describe(HEAD_FILES[weights.trunk], weights.heads)
    return f"LPIPS 0.1, mean over frames; network {network}; heads {heads}"


def _heads_path(weights: LPIPSWeights) -> Path:
    """The heads: as asked for, else from torchmetrics' package if installed, else fetched."""
    published = HEAD_FILES[weights.trunk]
    if weights.heads == FETCH:
        from importlib.util import find_spec

        spec = find_spec("torchmetrics")
        for home in (spec.submodule_search_locations or []) if spec else []:
            bundled = Path(home, "functional", "image", "lpips_models", f"{weights.trunk}.pth")
            if bundled.is_file():
                return obtain(published, WeightsSource(path=bundled))
    return obtain(published, weights.heads)


def _alexnet() -> tuple[list[nn.Module], tuple[int, ...]]:
    """torchvision's AlexNet up to its last convolution, and the layers that LPIPS reads."""
    # in, out, kernel, stride, padding; a pool follows the first two
    convolutions = [
        (3, 64, 11, 4, 2),
        (64, 192, 5, 1, 2),
        (192, 384, 3, 1, 1),
        (384, 256, 3, 1, 1),
        (256, 256, 3, 1, 1),
    ]
    layers: list[nn.Module] = []
    for index, (channels, out, kernel, stride, padding) in enumerate(convolutions):
        layers += [nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU()]
        if index < 2:
            layers.append(nn.MaxPool2d(3, 2))
    return layers, (1, 4, 7, 9, 11)


def _vgg16() -> tuple[list[nn.Module], tuple[int, ...]]:
    """torchvision's VGG-16 up to its last convolution, and the layers that LPIPS reads."""
    layers: list[nn.Module] = []
    taps, channels = [], 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        taps.append(len(layers) - 1)
    return layers, tuple(taps)


def _width_before(layers: list[nn.Module], tap: int) -> int:
    convolution = layers[tap - 1]
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels
