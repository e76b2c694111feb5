"""A scene on disk: what labels a data set, to label more of it alike, and to be looked at."""

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training.data.labels.background import Background
from training.data.labels.body import Body
from training.data.labels.camera import Camera
from training.data.labels.robot import RobotByExample, RobotPart
from training.data.labels.scene import Scene
from training.data.labels.side import Side
from training.data.labels.sprite import FINE, Sprite
from world_model.io.whole_files import whole_file

FOLDER, SCENE = "labels", "scene.npz"
FORMAT = 1


def save_scene(folder: Path, scene: Scene, names: tuple[str, ...]) -> None:
    """Write `scene.npz`, and a PNG of the background and of each sprite, larger than it is."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"background": scene.background.picture}
    for number, part in enumerate(scene.robot):
        arrays |= _sprite_arrays(f"robot_{number}", part.sprite)
        arrays |= {f"robot_{number}.matrix": part.matrix, f"robot_{number}.offset": part.offset}
    for number, body in enumerate(scene.bodies):
        arrays |= _sprite_arrays(f"body_{number}", body.sprite)
    if scene.camera is not None:
        arrays |= {"camera.homography": scene.camera.homography, "camera.foot": scene.camera.foot}
        arrays |= {"camera.picture": scene.picture}
    if scene.examples is not None:
        shown = scene.examples.shown
        arrays |= {"examples.shown": np.packbits(shown), "examples.shape": np.array(shown.shape)}
        arrays |= {"examples.observations": scene.examples.observations}
    described = {
        "format": FORMAT,
        "names": names,
        "noise": scene.background.noise,
        "explained": scene.background.explained,
        "seen": scene.background.seen,
        "robot": [part.off for part in scene.robot],
        "bodies": [[body.symmetry, body.error, body.instances] for body in scene.bodies],
        "observations": scene.observations,
        "unexplained": scene.unexplained,
        "soft": scene.soft,
    }
    if scene.camera is not None:
        one = scene.camera
        described["camera"] = [one.left, one.top, one.scale, one.size, one.off, one.state]
    with whole_file(folder / SCENE) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, described=np.array(json.dumps(described)), **arrays)
    write_png(folder / "background.png", scene.background.picture)
    for number, part in enumerate(scene.robot):
        write_png(folder / f"robot_{number}.png", drawn(part.sprite))
    for name, body in zip(names, scene.bodies, strict=True):
        write_png(folder / f"{name}.png", drawn(body.sprite))


def load_scene(folder: Path) -> tuple[Scene, tuple[str, ...]]:
    """A scene and the names of its bodies.

    Raises:
        ValueError: There is none, or it is damaged or of another version.
    """
    path = folder / SCENE
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            arrays = dict(file)
        described = json.loads(str(arrays["described"]))
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']}, expected {FORMAT}")
        background = Background(
            arrays["background"], described["noise"], described["explained"], described["seen"]
        )
        robot = tuple(
            RobotPart(
                _sprite(f"robot_{i}", arrays),
                arrays[f"robot_{i}.matrix"],
                arrays[f"robot_{i}.offset"],
                off,
            )
            for i, off in enumerate(described["robot"])
        )
        bodies = tuple(
            Body(_sprite(f"body_{i}", arrays), int(symmetry), error, int(instances))
            for i, (symmetry, error, instances) in enumerate(described["bodies"])
        )
        camera = None
        if "camera" in described:
            left, top, scale, size, off, state = described["camera"]
            camera = Camera(
                arrays["camera.homography"],
                left,
                top,
                scale,
                (int(size[0]), int(size[1])),
                arrays["camera.foot"],
                off,
                state,
            )
        scene = Scene(
            background,
            robot,
            bodies,
            tuple(described["observations"]),
            described["unexplained"],
            described["soft"],
            camera,
            arrays.get("camera.picture"),
            _examples(arrays),
        )
        return scene, tuple(described["names"])
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; label that data set first") from None
    except (OSError, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: is not as irasim label writes it ({type(error).__name__}: {error}); label "
            "that data set anew with --overwrite"
        ) from error


def drawn(sprite: Sprite) -> np.ndarray:
    """The sprite on white, beside its alpha: (G, 2 G, 3), grey levels."""
    alpha = sprite.alpha[..., None]
    looks = sprite.colour * alpha + 255 * (1 - alpha)
    return np.concatenate([looks, np.repeat(255 * alpha, 3, axis=2)], axis=1)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write RGB (H, W, 3), grey levels, as a PNG, all of it or none."""
    done, data = cv2.imencode(".png", np.rint(picture).clip(0, 255).astype(np.uint8)[..., ::-1])
    assert done
    with whole_file(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _sprite_arrays(name: str, sprite: Sprite) -> dict[str, np.ndarray]:
    arrays = {f"{name}.alpha": sprite.alpha, f"{name}.colour": sprite.colour}
    if sprite.side is not None:
        arrays |= {f"{name}.side": np.array([*sprite.side.colour, sprite.side.tall])}
    return arrays


def _sprite(name: str, arrays: dict[str, np.ndarray]) -> Sprite:
    alpha, colour = arrays[f"{name}.alpha"], arrays[f"{name}.colour"]
    if alpha.ndim != 2 or colour.shape != (*alpha.shape, 3) or len(alpha) < 2 * FINE:
        raise ValueError(f"sprite {name} has shapes {alpha.shape} and {colour.shape}")
    side = arrays.get(f"{name}.side")
    if side is None:
        return Sprite(alpha, colour)
    return Sprite(alpha, colour, Side(side[:3], float(side[3]), arrays["camera.foot"]))


def _examples(arrays: dict[str, np.ndarray]) -> RobotByExample | None:
    if "examples.shown" not in arrays:
        return None
    shape = tuple(arrays["examples.shape"].tolist())
    shown = np.unpackbits(arrays["examples.shown"], count=int(np.prod(shape)))
    return RobotByExample(arrays["examples.observations"], shown.reshape(shape).astype(bool))
