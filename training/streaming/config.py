"""What a training run is, and the runs that are ready to use.

Kept free of torch, so that `irasim train --help` is quick.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from training.run.config import ClipRunConfig
from world_model.tasks import Task, all_tasks


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ClipRunConfig):
    """One training run, from recorded episodes to a world directory."""

    preset: str = "default"
    """Where the other defaults come from: default, or a preset of a task, as named above."""
    data: Path = Path("data/mine")
    """Episodes in the published layout, with splits train and val."""
    more_data: tuple[Path, ...] = ()
    """Further datasets whose train episodes are added, such as rollouts of a policy."""
    init: Path | None = None
    """A world directory to train on from: its architecture and weights are taken."""
    out: Path = Path("runs/mine")
    """The run's directory: world/, samples/, tensorboard logs, state.pt to resume from."""
    name: str = "mine"
    """The world's name."""

    codec: Literal["pixels", "autoencoder_tiny", "autoencoder_kl"] = "pixels"
    """Latent space: plain pixels, or a diffusers autoencoder that is trained first."""
    codec_share: float = 0.15
    """Share of the budget that its training takes, on top (unused for pixels)."""
    codec_width: int = 32
    """Channels of its first layers."""
    patch: int = 16
    """Latent cells per token, along each side."""
    width: int = 256
    """Width of the transformer."""
    depth: int = 4
    """Blocks of the transformer."""
    num_heads: int = 4
    """Attention heads."""
    sees_states: bool = True
    """Predict a frame from the low-dimensional observation before it too, where data have one."""
    hidden: tuple[str, ...] = ()
    """States that the world shall predict though no observation shows them, as recorded by `irasim
    collect --hidden`."""
    poses: tuple[str, ...] = ()
    """Those of them that are x, y and an angle (rad, from x to y) of a body in the picture's
    plane."""
    points: tuple[str, ...] = ()
    """Observations that are places (x, y) in it, their bounds being the picture's edges; the word
    action if the action is one."""
    plane: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of the picture in the units of `points`; default: the bounds of
    their spaces."""
    reach: tuple[float, ...] = ()
    """How far around each of `points`, then around each of `poses` while it moves, the picture may
    change, in their units; default: anywhere. Say it where nothing else ever moves."""
    action_names: tuple[str, ...] = ()
    """Names of the action's components, for messages."""
    reader_looks: int = 2
    """How often what is read off a first picture is read again around each of `points` and `poses`,
    more closely."""
    states_share: float = 0.15
    """Share of the budget for the states' own phase (dynamics, estimator, reward model), on top."""
    context: int = 3
    """Earlier frames that a frame sees: the size of the ring."""
    clip_frames: int = 7
    """Frames of a training clip, at least two rings and one."""
    num_steps: int = 1
    """Denoising passes a frame when the world is used."""
    noise_scale: float = 0.3
    """Deviation of pure noise (frames are in [-1, 1])."""
    dead_zone: float = 0.04
    """Changes smaller than this are none (frames are in [-1, 1]; a grey level is .0078)."""

    edge_weight: float = 0.0
    """Weight of errors in the differences of neighbouring cells: more for sharper edges."""
    absolute_weight: float = 0.0
    """Weight of absolute errors beside squared ones: more against haze and grain."""
    rollout_from: float = 0.3
    """Share of the run after which the model trains on its own rollouts."""
    rollout_rounds: int = 3
    """How many of its own predictions deep they go, at most."""
    own_past_from: float = 1.0
    """Share of the run after which its own rollouts go on from step to step, to their episode's
    end; 1: never. For worlds whose states hold all that moves: else the record soon is no
    answer."""
    decay_from: float = 0.5
    """Share of the run after which the rates fall linearly to nothing."""
    heads_from: float = 0.93
    """Share of the run after which only the head trains, on clean and on predicted frames."""

    collect_env: str | None = None
    """Environment to collect from if `data` is absent (as `irasim collect --env-id`)."""
    collect_env_kwargs: str = "{}"
    """Its arguments as JSON."""
    collect_policy: str = "training.data.record:RandomActions"
    """Import path of the policy that collects."""
    collect_episodes: tuple[int, int, int] = (900, 40, 120)
    """Episodes to collect for train, val and test."""
    success_on_termination: bool = False
    """Reaching the end is success."""
    max_episode_steps: int | None = None
    """The ground truth's time limit."""
    start_frames: int = 4
    """Frames of a start: the first of an episode of the validation split."""
    max_starts: int = 100
    """How many starts the world keeps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip_frames < 2 * self.context + 1:
            raise ValueError(
                f"clip_frames is {self.clip_frames}, expected at least {2 * self.context + 1}: "
                f"two rings of {self.context} frames and one"
            )
        if unknown := set(self.poses) - set(self.hidden):
            raise ValueError(f"poses {', '.join(sorted(unknown))} are not among hidden")
        if not self.states_share > 0:
            raise ValueError(f"states_share is {self.states_share}, expected more than 0")
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
        if not (0 <= self.own_past_from <= self.heads_from or self.own_past_from == 1):
            raise ValueError(
                f"own_past_from is {self.own_past_from}, expected a share up to heads_from, "
                f"{self.heads_from}, or 1 for never"
            )


def default() -> TrainConfig:
    """Your own episodes."""
    return TrainConfig()


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
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(settings) - known):
        raise ValueError(
            f"preset {name!r} of task {task.name!r} sets {', '.join(unknown)}, which irasim train "
            f"does not know; expected {', '.join(sorted(known))}"
        )
    for field in PATHS & set(settings):
        settings[field] = Path(settings[field])
    return kind(**settings)


PRESETS: dict[str, Callable[[], TrainConfig]] = {"default": default}
# Fields of a run that its task sets.
FROM_TASK = ("hidden", "poses", "points", "plane", "reach", "action_names")
FROM_TASK += ("success_on_termination", "max_episode_steps")
PATHS = {"data", "out"}
