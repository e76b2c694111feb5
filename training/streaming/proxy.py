"""From the layers that `irasim label` found in a dataset to a world's proxy."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.labels.scene import Scene
from training.data.labels.scene_file import load_scene
from training.data.labels.sprite import FINE, Sprite
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.config import ProxyConfig
from world_model.streaming.states.proxy import Proxy


def labelled_scene(data: Path, poses: tuple[str, ...]) -> tuple[Scene, tuple[Sprite, ...]]:
    """The scene of a labelled dataset, and the sprites of `poses`.

    Raises:
        ValueError: It is not labelled, or a pose is none of its bodies.
    """
    scene, names = load_scene(data / "labels")
    found = dict(zip(names, scene.bodies, strict=True))
    if unknown := [name for name in poses if name not in found]:
        raise ValueError(
            f"--proxy draws what `irasim label {data}` found, {', '.join(names)}; "
            f"{', '.join(unknown)} is not among them: train with --poses {' '.join(names)}, or "
            "without --proxy"
        )
    return scene, tuple(found[name].sprite for name in poses)


def proxy_config(data: Path, poses: tuple[str, ...], width: float) -> ProxyConfig:
    """The sizes of a labelled dataset's layers.

    Args:
        data: The dataset.
        poses: Bodies to draw.
        width: Of the picture in pixels; before a camera that looks aslant, of the plane in its own
            units.
    """
    scene, sprites = labelled_scene(data, poses)
    sides = tuple(sprite.side is not None for sprite in sprites)
    parts = () if scene.camera is not None else scene.robot
    return ProxyConfig(
        body_cells=tuple(len(sprite.alpha) for sprite in sprites),
        sides=sides if any(sides) else (),
        robot_cells=tuple(len(part.sprite.alpha) for part in parts),
        robot_layer=bool(scene.observations) and not parts,
        cell=2 * _unit(scene) / FINE / width,
    )


def _unit(scene: Scene) -> float:
    """A pixel that sprites are made of, in the units in which the plane's width is given."""
    return 1.0 if scene.camera is None else scene.camera.scale


def fill_proxy(proxy: Proxy, config: StreamingConfig, data: Path) -> None:
    """Have a proxy draw what was found in a labelled dataset."""
    poses = config.required_states.planar.poses
    scene, sprites = labelled_scene(data, poses)
    picture = scene.background.picture if scene.picture is None else scene.picture
    background = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)
    proxy.background.copy_(background / 127.5 - 1)
    for number, sprite in enumerate(sprites):
        proxy.bodies[number].copy_(_layer(sprite))
        if sprite.side is not None:
            colour = torch.from_numpy(sprite.side.colour / 127.5 - 1)
            side = torch.cat((colour, torch.tensor([sprite.side.tall], dtype=colour.dtype)))
            proxy.bodies.get_buffer(f"side_{number}").copy_(side)
    if any(proxy.sides) and scene.camera is not None:
        camera, bounds = scene.camera, config.tracked[poses[0]]
        foot = (camera.foot + 0.5) * camera.scale + (camera.left, camera.top)
        low, high = np.array(bounds.low[:2]), np.array(bounds.high[:2])
        proxy.foot.copy_(torch.from_numpy(2 * (foot - low) / (high - low) - 1))
    weights, biases = proxy.robot.get_buffer("weight"), proxy.robot.get_buffer("bias")
    size = torch.tensor([config.width, config.height], dtype=torch.float64)
    for number, part in enumerate(scene.robot[: len(proxy.robot)]):
        proxy.robot[number].copy_(_layer(part.sprite))
        bias, column = torch.from_numpy(part.offset) + 0.5, 0  # of a pixel's middle
        for name in scene.observations:
            at = _place(config, name)
            bounds = config.tracked[name]
            low, high = (torch.tensor(x, dtype=torch.float64) for x in (bounds.low, bounds.high))
            matrix = torch.from_numpy(part.matrix[:, column : column + len(low)])
            bias = bias + matrix @ (high + low) / 2
            weights[number][:, at : at + len(low)].copy_(
                2 / size[:, None] * matrix * (high - low) / 2
            )
            column += len(low)
        biases[number].copy_(2 * bias / size - 1)


def _layer(sprite: Sprite) -> Tensor:
    """Colour in [-1, 1] and alpha, (4, G, G)."""
    colour = torch.from_numpy(sprite.colour).permute(2, 0, 1) / 127.5 - 1
    return torch.cat((colour, torch.from_numpy(sprite.alpha)[None]))


def _place(config: StreamingConfig, name: str) -> int:
    """Where a state begins among all."""
    at = 0
    for other, bounds in config.tracked.items():
        if other == name:
            return at
        at += len(bounds.low)
    raise ValueError(f"the robot's layer follows {name!r}, which is no observation of the world")
