"""What a training run is, and the runs that are ready to use.

Kept free of torch, so that `irasim train --help` is quick.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from training.run.config import (
    BY_THE_CLOCK,
    ClipRunConfig,
    EpisodeFilesConfig,
    EpisodesOfWorldConfig,
)
from world_model.config_fields import check_least
from world_model.renamed import renamed, renamed_fields
from world_model.tasks import Task, all_tasks


@dataclass(frozen=True, kw_only=True)
class FilesConfig(EpisodeFilesConfig):
    """The same, and where it goes on from."""

    init: Path | None = None
    """World directory to continue training from, with its architecture and weights."""


@renamed(
    dead_zone="change_threshold",
    own_past_from="self_rollout_from",
    plane="frame_edges",
    reach="mask_radii",
    reader_looks="refinement_iterations",
    sees_states="states",
)
@dataclass(frozen=True, kw_only=True)
class TrainConfig(EpisodesOfWorldConfig, ClipRunConfig, FilesConfig):
    """One training run, from recorded episodes to a world directory."""

    codec: Literal["pixels", "autoencoder_tiny", "autoencoder_kl"] = "pixels"
    """Latent space: the pixels themselves, or a diffusers autoencoder that is trained first."""
    codec_share: float = 0.15
    """Time for training the autoencoder first, as a share of the budget and in addition to it."""
    codec_width: int = 32
    """Channels of the autoencoder's first layers."""
    network: Literal["transformer", "unet"] = "transformer"
    """What draws frames: a transformer, or a U-Net, for frames and actions alone (see --preset
    video)."""
    patch: int = 16
    """Latent cells per token, along each side; of a U-Net, per cell of its finest level."""
    width: int = 256
    """Width of the transformer, or channels of a U-Net's finest level."""
    depth: int = 4
    """Blocks of the transformer, or of each level of a U-Net."""
    num_heads: int = 4
    """Attention heads of the transformer."""
    parts: int = 4
    """Parts of a frame that a U-Net moves rigidly, each by itself."""
    blend_contrast: float = 1.0
    """How decidedly a U-Net world's blends choose between their sources: 1 mixes them as in
    training, more is sharper."""
    states: bool = True
    """Condition each frame on states too: the low-dimensional observation, where the data has one,
    and what --hidden names. --no-states makes a plain video world, on frames and actions alone."""
    hidden: tuple[str, ...] = ()
    """States that the world is to predict although no observation contains them, as recorded by
    `irasim collect --hidden`."""
    poses: tuple[str, ...] = ()
    """Those hidden states that are the pose of a body in the image plane: x, y and an angle in
    radians, from x to y. Where `irasim label` wrote them, its record says which plane that is, and
    in how many directions each body looks the same."""
    points: tuple[str, ...] = ()
    """Observations that are positions (x, y) in the image plane, their bounds being the edges of
    the frame; include the word action if the action is such a position."""
    frame_edges: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom edge of the frame in the units of `points` (default: the bounds
    of their spaces); of a plane that the camera sees aslant, the range that counts."""
    mask_radii: tuple[float, ...] = ()
    """Radii of the change mask: how far around each of `points`, then around each of `poses` while
    it moves, the frame may change, in their units (default: anywhere). Set it where nothing else
    ever moves."""
    proxy: bool = False
    """Draw each frame over a proxy: background, `poses` and parts of the robot, as `irasim label`
    found them in `data`, at the predicted states. There is no change mask then."""
    refinement_iterations: int = 2
    """How many times the states estimated from a first frame are refined, from a patch of the frame
    around each of `points` and `poses`."""
    states_share: float = 0.15
    """Time for training dynamics, state estimator and reward model first, as a share of the budget
    and in addition to it."""
    symmetric: bool = False
    """The scene acts the same turned round and seen in a mirror: all states lie in one plane, the
    bounds of places are a rectangle around its middle, and nothing pulls one way. Dynamics then
    learn from each step in all of these ways. With --no-states, pictures are turned, and actions
    and observations, which must be pairs of numbers across and down, around the middle of their
    bounds."""
    reward_frequencies: int = 6
    """Octaves of the features that the reward model sees states by. Fewer generalise better where
    rewards vary smoothly with places, more are needed where a hair's breadth counts."""
    dynamics_steps: int = 1
    """Optimizer steps of dynamics and reward model, in that phase, for each one of what learns from
    pictures, which takes longer."""
    context: int = 3
    """Earlier frames that a frame attends to."""
    clip_frames: int = 7
    """Frames of a training clip, at least 2 x context + 1. Those of a U-Net grow to it, from
    `rollout_from` on."""
    num_steps: int = 1
    """Denoising passes per frame when the world is used."""
    noise_scale: float = 0.3
    """Standard deviation of pure noise (frames are in [-1, 1])."""
    change_threshold: float = 0.04
    """Smaller changes are set to zero (frames are in [-1, 1]; a grey level is 0.0078)."""

    edge_weight: float = 0.0
    """Weight of the error in differences between neighbouring cells; more gives sharper edges."""
    absolute_weight: float = 0.0
    """Weight of the absolute error, added to the squared one; more gives less haze and grain."""
    motion_weight: float = 0.0
    """Weight, beside 1, of pixels that move or are drawn wrongly (U-Net)."""
    rollout_from: float = 0.3
    """Share of the run after which the model trains on its own rollouts (self-rollouts)."""
    rollout_rounds: int = 3
    """Most of its own predictions in a row that such a rollout takes."""
    self_rollout_from: float = 1.0
    """Share of the run after which self-rollouts continue from one optimizer step to the next, to
    the end of their episode (1: never). Only for worlds whose states cover everything that moves:
    for others the recording soon no longer matches the rollout."""
    decay_from: float = 0.5
    """Share of the run after which the learning rate falls linearly to zero."""
    heads_from: float = 0.93
    """Share of the run after which only the head is trained, on recorded and on predicted
    frames."""

    collect_env: str | None = None
    """Environment to record episodes from if there is no data yet, as in `irasim collect
    --env-id`."""
    collect_env_kwargs: str = "{}"
    """Arguments of that environment as JSON."""
    collect_policy: str = "training.data.record:RandomActions"
    """Import path of the policy that records the episodes."""
    collect_episodes: tuple[int, int, int] = (900, 40, 120)
    """Number of episodes to record for train, val and test."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip_frames < 2 * self.context + 1:
            raise ValueError(
                f"clip_frames is {self.clip_frames}, expected at least {2 * self.context + 1}: "
                f"twice the context of {self.context} frames, plus one"
            )
        if unknown := set(self.poses) - set(self.hidden):
            raise ValueError(f"poses {', '.join(sorted(unknown))} are not among hidden")
        known = self.hidden or set(self.points) - {"action"} or self.proxy
        if known and not self.states and self.init is None:
            raise ValueError(
                "--no-states makes a world on frames and actions alone: leave out --hidden, "
                "--poses, --points and --proxy, or clear those of a preset (--hidden --poses "
                "--points --no-proxy)"
            )
        check_least(self, dynamics_steps=1)
        if not self.states_share > 0:
            raise ValueError(f"states_share is {self.states_share}, expected more than 0")
        if self.proxy and self.codec != "pixels":
            raise ValueError(f"--proxy is made of pixels, not of the latents of {self.codec}")
        if self.proxy and not self.poses:
            raise ValueError("--proxy draws bodies: name them by --hidden and --poses")
        if self.poses and not self.points:
            raise ValueError("poses need points: something whose bounds are the picture's edges")
        if not 0 < self.heads_from <= 1:
            raise ValueError(f"heads_from is {self.heads_from}, expected a share in (0, 1]")
        for name in ("rollout_from", "decay_from"):
            if not 0 <= getattr(self, name) <= self.heads_from:
                raise ValueError(
                    f"phases are out of order: {name} is {getattr(self, name)}, expected 0 to "
                    f"heads_from, {self.heads_from}"
                )
        if self.motion_weight and self.network == "transformer" and self.init is None:
            raise ValueError(
                f"motion_weight is {self.motion_weight}, which only a U-Net is trained with: "
                "leave it out, or add --network unet"
            )
        if self.network == "unet" and self.self_rollout_from < 1:
            raise ValueError(
                "self_rollout_from is of the transformer, a U-Net has rollouts of its own: set it "
                "to 1 (--self-rollout-from 1)"
            )
        if not (0 <= self.self_rollout_from <= self.heads_from or self.self_rollout_from == 1):
            raise ValueError(
                f"self_rollout_from is {self.self_rollout_from}, expected a share up to "
                f"heads_from, {self.heads_from}, or 1 for never"
            )

    def without_effect(self) -> dict[str, tuple[str, ...]]:
        """Fields that change nothing here, by what they are for. What a world that is
        trained on from (`init`) keeps is compared with it when it is loaded."""
        unused: dict[str, tuple[str, ...]] = {}
        if self.collect_env is None:
            names = "collect_env_kwargs", "collect_policy", "collect_episodes"
            unused["for recording an environment, which --collect-env names"] = names
        if self.max_steps is not None:
            unused[BY_THE_CLOCK] = ("budget",)
        if self.init is not None:
            return unused
        if self.codec == "pixels":
            unused["for an autoencoder (--codec)"] = "codec_share", "codec_width"
        if self.network == "unet":
            unused["for the transformer, and the network is a U-Net"] = ("num_heads",)
        else:
            names = "parts", "blend_contrast"
            unused["for the U-Net, and the network is a transformer (--network)"] = names
        if not self.states:
            names = "states_share", "dynamics_steps", "refinement_iterations"
            names += "reward_frequencies", "mask_radii"
            unused["for worlds that know states, and this one shall not (--no-states)"] = names
        return unused


# Of a world on frames and actions alone (docs/lab/video_core.md).
FRAMES_ALONE: dict[str, Any] = {
    "network": "unet",
    "states": False,
    "patch": 4,
    "width": 48,
    "depth": 1,
    "context": 2,
    "ema": 0.995,
    "change_threshold": 0.03,
    "absolute_weight": 0.15,
    "motion_weight": 4.0,
    "blend_contrast": 2.0,
    "clip_frames": 8,
}


def default() -> TrainConfig:
    """Your own episodes."""
    return TrainConfig()


def video() -> TrainConfig:
    """Your own episodes, of which nothing is known but frames and actions: no robot's state, and
    bodies that `irasim label` cannot find."""
    return TrainConfig(preset="video", **FRAMES_ALONE)


Config = TypeVar("Config", bound=TrainConfig)


def preset_names() -> list[str]:
    """Our own presets, then those that tasks bring."""
    return [*PRESETS, *(name for task in all_tasks() for name in task.presets)]


def preset(name: str) -> TrainConfig:
    """A preset by name, one of ours or of a task.

    Raises:
        ValueError: there is none, several tasks bring it, or it sets what is no option.
    """
    if name in PRESETS:
        return PRESETS[name]()
    found = [task for task in all_tasks() if name in task.presets]
    if len(found) != 1:
        what = "no task brings it" if not found else "several tasks bring it: "
        what += " and ".join(task.name for task in found)
        raise ValueError(f"preset {name!r}: {what}; there are {', '.join(preset_names())}")
    return task_preset(found[0], name, found[0].presets[name], TrainConfig)


def task_preset(task: Task, name: str, chosen: Mapping[str, Any], kind: type[Config]) -> Config:
    """The config that a task and the fields `chosen` by one of its presets make: from nothing, as
    it collects if there is no data."""
    settings: dict[str, Any] = {
        "preset": name,
        "data": Path("data") / task.name,
        "out": Path("runs") / name,
        "name": task.name,
        "collect_env": task.env_id,
        "collect_env_kwargs": json.dumps(dict(task.env_kwargs)),
        "collect_policy": task.recorder,
        **{field: getattr(task, field) for field in FROM_TASK},
        **chosen,
    }
    renames = renamed_fields(kind)
    settings = {renames.get(field, field): value for field, value in settings.items()}
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(settings) - known):
        raise ValueError(
            f"preset {name!r} of task {task.name!r} sets {', '.join(unknown)}, which irasim train "
            f"does not know; expected {', '.join(sorted(known))}"
        )
    for field in PATHS & set(settings):
        settings[field] = Path(settings[field])
    return kind(**settings)


PRESETS: dict[str, Callable[[], TrainConfig]] = {"default": default, "video": video}
# Fields of a run that its task sets.
FROM_TASK = ("hidden", "poses", "points", "frame_edges", "mask_radii", "action_names")
FROM_TASK += ("success_on_termination", "max_episode_steps")
PATHS = {"data", "out"}
