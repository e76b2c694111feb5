"""What labels say of the plane in which bodies lie, for a world that is trained on them."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.labels.scene_file import FOLDER, SCENE


@dataclass(frozen=True)
class LabelledPlane:
    """Of some poses that `irasim label` wrote.

    Attributes:
        symmetries: In how many directions each body looks the same; 0: it is round.
        homography: Of the picture's coordinates, its edges being -1 and 1, to the labels' units, 9
            numbers row by row; None where labels lie in the picture.
    """

    symmetries: tuple[int, ...]
    homography: tuple[float, ...] | None


def labelled_plane(data: Path, poses: Sequence[str]) -> LabelledPlane | None:
    """The plane of labels; None where the poses are none of them."""
    path = Path(data) / FOLDER / SCENE
    if not poses or not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            described = json.loads(str(file["described"]))
            if not set(poses) & set(described["names"]):
                return None
            bodies = dict(zip(described["names"], described["bodies"], strict=True))
            orders = tuple(int(bodies[name][0]) if name in bodies else 1 for name in poses)
            if "camera" not in described:
                return LabelledPlane(orders, None)
            matrix, (height, width) = file["camera.homography"], file["camera.picture"].shape[:2]
    except (OSError, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: is not as irasim label writes it ({type(error).__name__}: {error}); label "
            "that data set anew with --overwrite"
        ) from error
    if others := [name for name in poses if name not in bodies]:
        raise ValueError(
            f"--poses {' '.join(others)}: labels of {data} lie in a plane that the camera sees "
            "aslant, and these are none of them; name labelled bodies alone"
        )
    pixels = np.diag([width / 2, height / 2, 1.0])
    pixels[:2, 2] = (width - 1) / 2, (height - 1) / 2
    matrix = matrix @ pixels
    return LabelledPlane(orders, tuple((matrix / matrix[2, 2]).ravel().tolist()))
