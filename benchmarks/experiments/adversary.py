"""A discriminator of patches that makes painted frames sharp where a mean would be blurred.

Dimensions: B batch, H W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REWEIGH_EVERY = 10
"""Steps between two looks at the gradients' norms."""


class Adversary:
    """Tells painted frames from recorded ones, patch by patch, and says how to fool it.

    It sees the anchor too (a conditional GAN of patches: Isola et al., arXiv 1611.07004), its loss
    is the hinge (Miyato et al., arXiv 1802.05957), and its weight in the painter's loss that of
    the gradients' norms at the painter's last layer (VQGAN: Esser et al., arXiv 2012.09841,
    eq. 7).
    """

    def __init__(self, weight: float, channels: int = 32, rate: float = 4e-4):
        self.weight = weight
        self.scale, self.steps = 0.0, 0
        layers: list[nn.Module] = [nn.Conv2d(6, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor, kernel, stride in ((2, 4, 2), (4, 3, 1)):
            layers += [
                nn.Conv2d(channels * factor // 2, channels * factor, kernel, stride, 1),
                nn.GroupNorm(8, channels * factor),
                nn.LeakyReLU(0.2),
            ]
        self.network = nn.Sequential(*layers, nn.Conv2d(4 * channels, 1, 3, padding=1))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=rate, betas=(0.5, 0.95))

    def learn(self, painted: Tensor, true: Tensor, anchor: Tensor) -> float:
        """One step on frames (B, 3, H, W); its loss, 2 where it cannot tell."""
        real = F.relu(1 - self._judge(true, anchor)).mean()
        fake = F.relu(1 + self._judge(painted.detach(), anchor)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        (real + fake).backward()
        self.optimizer.step()
        return float(real.detach() + fake.detach())

    def loss(self, painted: Tensor, anchor: Tensor, other: Tensor, last: Tensor) -> Tensor:
        """What the painter loses by being told from the truth, weighted to go with `other`.

        Args:
            painted: (B, 3, H, W), with its graph.
            anchor: (B, 3, H, W).
            other: The painter's loss without it.
            last: Weights of the painter's last layer, where both gradients are measured.
        """
        self.network.requires_grad_(False)
        told = -self._judge(painted, anchor).mean()
        self.network.requires_grad_(True)
        if self.steps % REWEIGH_EVERY == 0:
            norms = [
                torch.autograd.grad(part, last, retain_graph=True)[0].norm()
                for part in (other, told)
            ]
            self.scale = float(norms[0] / (norms[1] + 1e-8))
        self.steps += 1
        return self.weight * self.scale * told

    def _judge(self, frames: Tensor, anchor: Tensor) -> Tensor:
        both = torch.cat((frames, frames - anchor), dim=1)
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(both.contiguous(memory_format=torch.channels_last)).float()
