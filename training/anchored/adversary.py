"""A discriminator of patches that makes painted frames sharp where a mean would be blurred.

Dimensions: B batch, H W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REWEIGH_EVERY = 10
"""Steps between two looks at the gradients' norms."""


class Adversary(nn.Module):
    """Tells painted frames from recorded ones, patch by patch, and says how to fool it.

    It sees the anchor too (a conditional GAN of patches: Isola et al., arXiv 1611.07004), its loss
    is the hinge (Miyato et al., arXiv 1802.05957), and its weight in the painter's loss that of
    the gradients' norms at the painter's last layer (VQGAN: Esser et al., arXiv 2012.09841,
    eq. 7).
    """

    scale: Tensor
    steps: Tensor

    def __init__(self, weight: float, channels: int = 24, rate: float = 4e-4):
        super().__init__()
        self.weight = weight
        layers: list[nn.Module] = [nn.Conv2d(24, channels, 3, 1, 1), nn.LeakyReLU(0.2)]
        for factor in (2, 4):
            layers += [
                nn.Conv2d(channels * factor // 2, channels * factor, 4, 2, 1),
                nn.GroupNorm(8, channels * factor),
                nn.LeakyReLU(0.2),
            ]
        self.network = nn.Sequential(*layers, nn.Conv2d(4 * channels, 1, 3, padding=1))
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=rate, betas=(0.5, 0.95))

    def learn(self, painted: Tensor, true: Tensor, anchor: Tensor) -> Tensor:
        """One step on frames (B, 3, H, W); its loss (), 2 where it cannot tell."""
        real = F.relu(1 - self.realness(true, anchor)).mean()
        fake = F.relu(1 + self.realness(painted.detach(), anchor)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        (real + fake).backward()
        self.optimizer.step()
        return (real + fake).detach()

    def loss(self, painted: Tensor, anchor: Tensor, other: Tensor, last: Tensor) -> Tensor:
        """What the painter loses by being told from the truth, weighted to go with `other`.

        Args:
            painted: (B, 3, H, W), with its graph.
            anchor: (B, 3, H, W).
            other: The painter's loss without it, ().
            last: Weights of the painter's last layer, where both gradients are measured.
        """
        self.network.requires_grad_(False)
        found = -self.realness(painted, anchor).mean()
        self.network.requires_grad_(True)
        if self.steps.item() % REWEIGH_EVERY == 0:
            norms = [
                torch.autograd.grad(part, last, retain_graph=True)[0].norm()
                for part in (other, found)
            ]
            self.scale.copy_(norms[0] / (norms[1] + 1e-8))
        self.steps += 1
        return self.weight * self.scale * found

    def realness(self, frames: Tensor, anchor: Tensor) -> Tensor:
        """How recorded each patch looks, (B, 1, H / 8, W / 8)."""
        both = F.pixel_unshuffle(torch.cat((frames, frames - anchor), dim=1), 2)
        return self.network(both.contiguous(memory_format=torch.channels_last)).float()

    def tensors(self) -> dict[str, Tensor]:
        """All that it goes on from, flat, by name."""
        kept = {f"network.{name}": value for name, value in self.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            kept |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        return kept

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take what `tensors` gave."""
        networks = {k: v for k, v in tensors.items() if k.startswith("network.")}
        self.load_state_dict({k.removeprefix("network."): v for k, v in networks.items()})
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "optimizer":
                number, _, name = rest.partition(".")
                state.setdefault(int(number), {})[name] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": state})
