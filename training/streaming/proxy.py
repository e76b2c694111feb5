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


def proxy_config(data: Path, poses: tuple[str, ...]) -> ProxyConfig:
    """The sizes of a labelled dataset's layers."""
    scene, sprites = labelled_scene(data, poses)
    return ProxyConfig(
        body_cells=tuple(len(sprite.alpha) for sprite in sprites),
        robot_cells=tuple(len(part.sprite.alpha) for part in scene.robot),
        cell=1 / FINE,
    )


def fill_proxy(proxy: Proxy, config: StreamingConfig, data: Path) -> None:
    """Have a proxy draw what was found in a labelled dataset."""
    scene, sprites = labelled_scene(data, config.plane.poses)
    background = torch.from_numpy(scene.background.picture.astype(np.float32)).permute(2, 0, 1)
    proxy.background.copy_(background / 127.5 - 1)
    for mine, sprite in zip(proxy.bodies, sprites, strict=True):
        mine.copy_(_layer(sprite))
    weights, biases = proxy.robot.get_buffer("weight"), proxy.robot.get_buffer("bias")
    size = torch.tensor([config.width, config.height], dtype=torch.float64)
    for number, part in enumerate(scene.robot):
        proxy.robot[number].copy_(_layer(part.sprite))
        bias, column = torch.from_numpy(part.offset) + 0.5, 0  # of a pixel's middle
        for name in scene.observations:
            bounds = config.observations[name]
            low, high = (torch.tensor(x, dtype=torch.float64) for x in (bounds.low, bounds.high))
            matrix = torch.from_numpy(part.matrix[:, column : column + len(low)])
            bias = bias + matrix @ (high + low) / 2
            at = _place(config, name)
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
