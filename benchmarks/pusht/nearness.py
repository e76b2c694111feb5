"""A learned Push-T as a planner's model, judged by where it predicts the T to be at the end.

Dimensions: B environments, K candidates, H horizon, A action.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from policies.planning.learned import Imagine, check_imagine, imagined
from policies.pusht.geometry import GOAL, Pose, pose_of_label
from policies.pusht.nearness import nearness
from policies.pusht.reading import WORLD_SIZE, read_t
from world_model import RolloutOutput, StreamingConfig, WorldModel, WorldState


def plain_pose(x: float, y: float, angle: float) -> Pose:
    """The pose with these numbers."""
    return Pose(x=x, y=y, angle=angle)


# How the states by which a world may know the T say where it is: recorded, and found in the video.
POSES = {"block_pose": plain_pose, "block": pose_of_label}


@dataclass(frozen=True, kw_only=True)
class LearnedNearness:
    """Rewards each candidate by `nearness` of the T's pose, read from the frame at its end.

    That is the frame where the world predicts the episode's end, or the last one. A candidate whose
    T cannot be read there gets 0, the worst there is. Where states are imagined alone, it is the
    pose predicted.

    Attributes:
        world: a world of Push-T.
        max_rows: most candidates, over all environments, that are rolled out at once.
        imagine: frames or states, as of `LearnedRollout`.
    """

    world: WorldModel
    max_rows: int = 256
    imagine: Imagine = "frames"

    def __post_init__(self):
        check_imagine(self.world, self.imagine)
        if self.imagine == "frames":
            return
        config = self.world.config
        if not isinstance(config, StreamingConfig) or not POSES.keys() & config.tracked.keys():
            raise ValueError(
                f"world {config.name!r} predicts neither of {' and '.join(POSES)}; imagine frames"
            )

    def __call__(self, state: WorldState, actions: Tensor) -> RolloutOutput:
        """Rewards (B, K, H), the same at each step; ends have been taken into account."""
        part = max(self.max_rows // len(state), 1)
        rewards = [self._nearness(state, some) for some in actions.split(part, dim=1)]
        reward = torch.cat(rewards, dim=1)[..., None].expand(-1, -1, actions.shape[2])
        return RolloutOutput(reward=reward, terminated=torch.zeros_like(reward, dtype=torch.bool))

    def _nearness(self, state: WorldState, actions: Tensor) -> Tensor:
        """(B, K), of actions (B, K, H, A)."""
        out = imagined(self.world, self.imagine, state, actions, return_frames=True)
        ends = out.terminated.int()
        last = torch.where(ends.any(-1), ends.argmax(-1), actions.shape[2] - 1)  # (B, K)
        pose = plain_pose
        if self.imagine == "states":
            name = next(name for name in POSES if name in out.states)
            pose = POSES[name]
            x, y, cos, sin = _at(out.states[name], last).double().unbind(-1)
            poses = torch.stack((x, y, torch.atan2(sin, cos)), dim=-1).cpu().numpy()
        else:
            assert out.frames is not None
            frames = _at(out.frames, last).cpu().numpy()
            scale = WORLD_SIZE / frames.shape[-2]
            poses = read_t(frames) * (scale, scale, 1)
        values = [
            0.0 if np.isnan(numbers).any() else nearness(pose(*numbers), GOAL)
            for numbers in poses.reshape(-1, 3)
        ]
        return torch.tensor(values).reshape(last.shape)


def _at(values: Tensor, last: Tensor) -> Tensor:
    """Values (B, K, H, ...) at the steps `last` (B, K): (B, K, ...)."""
    index = last.reshape(*last.shape, *(1 for _ in values.shape[2:]))
    return values.gather(2, index.expand(-1, -1, 1, *values.shape[3:]))[:, :, 0]
