"""`irasim import`: a world from a checkpoint in the reference's form, published or trained here."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from training.chunk.config import SamplingConfig
from training.data.episodes import write_json
from training.data.irasim.arm import ARM_ACTION_SCALE
from training.data.irasim.datasets import PLANE_SCALE, Split
from training.data.size import Resized
from training.run.directory import as_written
from world_model.config_fields import check_least
from world_model.directories import check_directory

if TYPE_CHECKING:
    from world_model.chunk.reference.convert import Actions

ARM_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
# Metres and radians a step, in the frame of the gripper; its opening from 0 to 1. Wide enough for
# the recorded motions: an environment clips what is out of bounds.
ARM_LOW = (-0.2, -0.2, -0.2, -1.0, -1.0, -1.0, 0.0)
ARM_HIGH = (0.2, 0.2, 0.2, 1.0, 1.0, 1.0, 1.0)
# Channels of a model that has no autoencoder.
PIXEL_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a world has to know of the published dataset that it was learned from."""

    fps: float
    size: tuple[int, int]
    """Height and width of the frames that the published models were trained on."""
    low: tuple[float, ...]
    """Bounds of actions, in their own units."""
    high: tuple[float, ...]
    names: tuple[str, ...]
    scale: tuple[float, ...]
    directions: tuple[Literal["right", "left", "down", "up"], ...] = ("right", "down")
    """Where the first and the second component grow, in the picture."""
    key_velocity: float | None = None
    """What a held key sets a component to; None is half its bound."""


def _arm_dataset(fps: float) -> Dataset:
    return Dataset(
        fps=fps,
        size=(256, 320),
        low=ARM_LOW,
        high=ARM_HIGH,
        names=ARM_NAMES,
        scale=ARM_ACTION_SCALE,
    )


DATASETS = {
    "rt1": _arm_dataset(fps=3.0),
    "bridge": _arm_dataset(fps=5.0),
    # Metres a step; the bounds are those of the environment that it was recorded in.
    "languagetable": Dataset(
        fps=10.0,
        size=(288, 512),
        low=(-0.1, -0.1),
        high=(0.1, 0.1),
        names=("x", "y"),
        scale=PLANE_SCALE,
        # The reference's keyboard: w is (-0.5, 0), d is (0, 0.5), times the scale.
        directions=("down", "right"),
        key_velocity=0.5 / PLANE_SCALE[0],
    ),
}


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Resized, SamplingConfig):
    """Make a world from a checkpoint of the original IRASim code, or from one that `irasim train`
    wrote in the same format."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Checkpoint, a .pt file of the original code or of `irasim train`."""
    out: Path
    """Directory of the world to write."""
    vae: str = "stabilityai/stable-diffusion-xl-base-1.0"
    """AutoencoderKL of the latents: a directory (of the autoencoder, or of a pipeline that contains
    vae/) or a Hub id. Ignored for a pixel-space model (VDM), which has none."""
    dataset: Literal["rt1", "bridge", "languagetable"] | None = None
    """Dataset that the model was trained on, which sets the frame rate, actions and sizes below
    (default: the one named in the checkpoint's args)."""
    name: str | None = None
    """Name of the world (default: the name of its directory)."""
    starts: Path | None = None
    """Dataset in the published layout whose first frames become the world's starts."""
    starts_split: Split = "test"
    """Split of that dataset."""
    starts_source: Literal["video", "latents"] = "video"
    """Read first frames from the dataset's videos, or decode them from its latents."""
    max_starts: int = 64
    """Largest number of starts."""
    camera: int | str = 0
    """Which of an annotation's videos to use, by index or key."""
    action_low: tuple[float, ...] | None = None
    """Lower bound of each action component, in the environment's own units (default: the
    dataset's)."""
    action_high: tuple[float, ...] | None = None
    """Upper bound of each action component (default: the dataset's)."""
    action_scale: tuple[float, ...] | None = None
    """Factors that the model was trained with, one per action component (default: the
    dataset's)."""
    fps: float | None = None
    """Frames per second (default: the dataset's)."""
    height: int | None = None
    """Height of frames in pixels, needed for a U-Net only (default: the dataset's)."""
    width: int | None = None
    """Width of frames in pixels, needed for a U-Net only (default: the dataset's)."""

    def __post_init__(self):
        self.check_size()
        check_least(self, max_starts=1)


def main(config: ImportConfig) -> Path:
    """Import; returns the world's directory.

    Raises:
        ValueError: The checkpoint, the autoencoder or the starts cannot be had, or do not fit.
    """
    from training.data.irasim.autoencoder import load_autoencoder
    from training.data.irasim.starts import read_starts
    from world_model import ChunkSamplerConfig, UNet3D, load_reference_checkpoint
    from world_model.chunk.reference.convert import import_denoiser
    from world_model.config import KeysConfig

    check_directory(config.out)
    sampler = ChunkSamplerConfig(
        name=config.sampler, num_steps=config.num_steps, guidance=config.guidance
    )
    try:
        denoiser = load_reference_checkpoint(config.checkpoint, config.num_heads)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    name = config.dataset or named_dataset(config.checkpoint)
    dataset = DATASETS[name]
    of_pixels = isinstance(denoiser, UNet3D) and denoiser.config.channels == PIXEL_CHANNELS
    world = import_denoiser(
        denoiser,
        name=config.name or config.out.name,
        actions=actions_of(config, dataset),
        fps=config.fps or dataset.fps,
        vae=None if of_pixels else load_autoencoder(config.vae),
        # A transformer's size follows from its weights.
        size=config.size or (dataset.size if isinstance(denoiser, UNet3D) else None),
        sampler=sampler,
        keys=KeysConfig(directions=dataset.directions, velocity=dataset.key_velocity),
    )
    if config.starts is not None:
        world.starts = read_starts(
            world,
            config.starts,
            config.starts_split,
            source=config.starts_source,
            camera=config.camera,
            count=config.max_starts,
        )
    world.save_pretrained(config.out)
    content = {
        "config": as_written(config),
        "dataset": name,
        "versions": {name: version(name) for name in ("torch", "diffusers")},
    }
    write_json(config.out / "import.json", content)
    parameters = sum(p.numel() for p in world.denoiser.parameters()) / 1e6
    print(
        f"{config.out}: {type(denoiser).__name__} of {parameters:.1f} M parameters, "
        f"{world.config.height} x {world.config.width}, {len(world.starts)} starts\n"
        f"next: irasim play --world {config.out}"
    )
    return config.out


def named_dataset(checkpoint: Path) -> str:
    """The dataset that a checkpoint's args name.

    Raises:
        ValueError: They name none that we know.
    """
    from world_model.chunk.reference.unpickle import read_reference_file

    args = read_reference_file(checkpoint).get("args")
    name = args.get("dataset") if isinstance(args, dict) else None
    if name not in DATASETS:
        raise ValueError(
            f"{checkpoint} does not say which dataset it was trained on (args.dataset is "
            f"{name!r}); give --dataset {' or '.join(DATASETS)}"
        )
    return name


def actions_of(config: ImportConfig, dataset: Dataset) -> "Actions":
    """The dataset's actions, with what the options say otherwise."""
    from world_model.chunk.reference.convert import Actions

    low = config.action_low or dataset.low
    return Actions(
        low=low,
        high=config.action_high or dataset.high,
        scale=config.action_scale or dataset.scale,
        names=dataset.names if len(low) == len(dataset.names) else (),
    )
