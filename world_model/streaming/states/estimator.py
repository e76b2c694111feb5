"""Estimates the states from one frame, at the start of a rollout, where they are not known yet.

Dimensions: C channels, h w latent cells, K keypoints, S components of all states, n cells along a
side of the patch that a refinement works on.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import coordinates
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.planar import Plane


@dataclass(frozen=True, eq=False)
class Estimates:
    """What is estimated from frames, and from where."""

    states: list[Tensor]
    """The first estimate and that after each refinement iteration, (..., S) each."""
    places: Tensor
    """Where the first estimate finds points and bodies in the picture, (..., P, 2) of P; training
    teaches it to."""


class StateEstimator(nn.Module):
    """Convolutions and the centres of their responses (spatial softmax: Levine et al., arXiv
    1504.00702, section 5.2), then refinement iterations around each point and body.

    One keypoint each is for where points and bodies are (as the centres of their joints are in Sun
    et al., arXiv 1711.08229), the others are for whatever helps.
    """

    width = 64
    num_keypoints = 32
    pixels_per_cell = 4

    def __init__(self, config: StreamingConfig):
        super().__init__()
        channels, height, width = config.latent_shape
        cell = max(1, self.pixels_per_cell // config.codec.downscale)
        self.plane = Plane(config)
        self.first = nn.Conv2d(channels, self.width, cell, stride=cell)
        self.second = nn.Conv2d(self.width, self.width, 3, padding=1)
        # Dilated, so that its receptive field covers most of a body and not only a part.
        self.wider = nn.Conv2d(self.width, self.width, 3, padding=2, dilation=2)
        for parameter in self.wider.parameters():
            nn.init.zeros_(parameter)
        self.third = nn.Conv2d(self.width, self.num_keypoints, 3, padding=1)
        self.hidden = nn.Linear(3 * self.num_keypoints, 256)
        self.out = nn.Linear(256, config.state_dim)
        places = coordinates(height // cell, width // cell)
        self.register_buffer("places", places, persistent=False)
        iterations = config.required_states.refinement_iterations
        parts = [*self.plane.points, *self.plane.poses] if iterations else []
        self.num_refinements = iterations if parts else 0
        self.refiners = nn.ModuleList(Refiner(channels, self.plane, part) for part in parts)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (..., C, h, w) -> states (..., S), scaled so that their bounds are -1 and 1."""
        return self.estimates(latents).states[-1]

    def places_in_picture(self, states: Tensor) -> Tensor:
        """Where points and bodies are in the picture by states (..., S): (..., P, 2)."""
        places = [states[..., part][..., :2] for part in (*self.plane.points, *self.plane.poses)]
        if not places:
            return states.new_zeros(*states.shape[:-1], 0, 2)
        return self.plane.to_picture(torch.stack(places, dim=-2))

    def estimates(self, latents: Tensor, displacement: Tensor | None = None) -> Estimates:
        """The states, estimated and refined.

        Args:
            latents: (..., C, h, w).
            displacement: Added to the first estimate before it is refined, (..., S). Training does
                so, as estimates of frames that were trained on are more exact than those of others.
        """
        first, places = self._first_estimate(latents)
        estimates = [first]
        states = first if displacement is None else first + displacement
        for _ in range(self.num_refinements):
            states = self.plane.upright(states.detach())
            for refine in self.refiners:
                states = refine(latents, states)
            estimates.append(states)
        return Estimates(states=estimates, places=places)

    def _first_estimate(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        cells = latents.reshape(-1, *latents.shape[-3:]).contiguous(
            memory_format=torch.channels_last
        )
        cells = F.relu(self.second(F.relu(self.first(cells))))
        cells = F.relu(cells + self.wider(cells))
        found = self.third(cells).flatten(2)  # (B, K, cells)
        with torch.autocast(latents.device.type, enabled=False):  # 8 bits would be too few
            found = found.float()
            weights = found.softmax(dim=-1)
            centres = weights @ self.places  # (B, K, 2)
            strengths = (weights * found).sum(-1)
            read = torch.cat((centres.flatten(1), strengths), dim=-1)
            states = self.out(F.relu(self.hidden(read)))
        where = latents.shape[:-3]
        named = centres[:, : len(self.plane.points) + len(self.plane.poses)]
        return self.plane.upright(states.reshape(*where, -1)), named.reshape(*where, -1, 2)


class Refiner(nn.Module):
    """Corrects the estimated position or pose of one point or body, from a patch of the frame that
    is centred on it and turned with it.

    So the same body looks the same wherever it is and however it is turned, and the correction is
    small (iterative error feedback: Carreira et al., arXiv 1507.06550; the patch is cut out as by
    spatial transformers: Jaderberg et al., arXiv 1506.02025).
    """

    around: Tensor

    cells = 48
    span = 0.5
    """How far the patch extends to each side, in half widths of the frame."""
    largest = 0.1
    """Unit of corrections: half widths of the frame, or rad."""
    least_symmetric = 2
    """A body that looks the same in so many directions turns by a vector, not by an angle: where
    it may as well be turned one way as the other, an angle jumps."""

    def __init__(self, channels: int, plane: Plane, part: slice):
        super().__init__()
        self.plane, self.part = plane, part
        self.first = nn.Conv2d(channels, 32, 4, stride=4)
        self.second = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        # Of 128 x 2,304 weights 48 directions carry what comes out (docs/pusht.md).
        self.squeeze = nn.Linear(64 * (self.cells // 8) ** 2, 48, bias=False)
        self.hidden = nn.Linear(48, 128)
        self.order = plane.order(part) if part in plane.poses else 1
        self.out = nn.Linear(128, 4 if self.order >= self.least_symmetric else 3)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        around = self.span * coordinates(self.cells, self.cells)
        self.register_buffer("around", around, persistent=False)

    def forward(self, latents: Tensor, states: Tensor) -> Tensor:
        """Latents (..., C, h, w) and estimated states (..., S) -> the states, corrected."""
        with torch.autocast(latents.device.type, enabled=False):  # 8 bits would be too few
            pose = self._pose(states.float())
            patch = self._patch(latents.float(), pose)
            patch = F.relu(self.second(F.relu(self.first(patch)))).flatten(1)
            correction = self.largest * self.out(F.relu(self.hidden(self.squeeze(patch))))
            correction = correction.reshape(*states.shape[:-1], -1)
            step, turn = correction[..., :2], self._turn(correction[..., 2:])
            if self.part in self.plane.poses:
                moved = self.plane.moved_state(states.float(), self.part, step, turn)
            else:
                moved = self.plane.moved(pose, step, turn)
            size = self.part.stop - self.part.start
            parts = (
                states[..., : self.part.start],
                moved[..., :size],
                states[..., self.part.stop :],
            )
            return torch.cat(parts, dim=-1)

    def _turn(self, correction: Tensor) -> Tensor:
        """By how much to turn, rad, (...), of a correction (..., 1 or 2)."""
        if correction.shape[-1] == 1:
            return correction[..., 0]
        ahead = self.largest + correction[..., 0]  # an untrained one turns nothing
        return torch.atan2(correction[..., 1], ahead) / self.order

    def _pose(self, states: Tensor) -> Tensor:
        """The pose of this one, (..., 4); a point has no direction and gets that of the frame."""
        if self.part in self.plane.poses:
            return self.plane.pose(states, self.part)
        here = states[..., self.part]
        ahead = torch.cat((torch.ones_like(here[..., :1]), torch.zeros_like(here[..., :1])), dim=-1)
        return torch.cat((here, ahead), dim=-1)

    def _patch(self, latents: Tensor, pose: Tensor) -> Tensor:
        """The patches of latents around poses (..., 4), turned with them: (B, C, n, n)."""
        latents, pose = latents.reshape(-1, *latents.shape[-3:]), pose.reshape(-1, 1, 4)
        places = pose[..., :2] + self.plane.turned_from(pose, self.around)
        places = self.plane.to_picture(places)
        places = places.unflatten(1, (self.cells, self.cells))  # across, down: as it is sampled
        return F.grid_sample(latents, places, padding_mode="border", align_corners=False)
