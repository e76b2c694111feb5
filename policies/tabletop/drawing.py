"""Pictures of the table, drawn by MuJoCo without a window.

A picture is drawn at three times its size and averaged (MuJoCo's own antialiasing takes three times
as long on a processor), so that a move of a part of a pixel shows. All
environments of a thread share what draws: it knows nothing of them, and making it takes longer than
a hundred pictures.
"""

import atexit
import os
import sys
import threading
from functools import cache
from typing import Any

import cv2
import gymnasium as gym
import numpy as np

from policies.tabletop.arm import SHOULDER, THICK, joints
from policies.tabletop.model import model_xml
from policies.tabletop.scene import PUSHER_TIP

FINER = 3  # pixels that are averaged for each one, along each side
_LINK, _JOINT, _ROD = 0.16, 0.42, 0.30  # greys of the arm's parts


def load_mujoco() -> Any:
    """The package, set up to draw without a display where nothing else is asked for.

    Raises:
        gym.error.DependencyNotInstalled: it is missing.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # read once, when mujoco is imported
    try:
        import mujoco
    except ModuleNotFoundError as missing:
        raise gym.error.DependencyNotInstalled(
            f"the tabletop simulator needs the package {missing.name!r}, which is not installed; "
            "run pip install 'irasim-env[tabletop]'"
        ) from missing
    return mujoco


def painter(size: int) -> "Painter":
    """What draws pictures of this size in this process and thread."""
    return _painter(size, os.getpid(), threading.get_ident())


@cache
def _painter(size: int, process: int, thread: int) -> "Painter":
    made = Painter(size)
    # Before what EGL registered when it was first used, which ends it for the process.
    atexit.register(made.close)
    return made


class Painter:
    """Draws the table in pictures of one size.

    Args:
        size: Pixels along each side of its pictures.

    Raises:
        gym.error.Error: nothing can be drawn on this machine.
    """

    def __init__(self, size: int):
        self._mujoco = mujoco = load_mujoco()
        self._size = size
        try:
            model = mujoco.MjModel.from_xml_string(model_xml())
            self._renderer = mujoco.Renderer(model, FINER * size, FINER * size)
        except Exception as error:  # each of MuJoCo's backends has its own
            raise gym.error.Error(
                f"MuJoCo cannot draw here with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r} "
                f"({error}); install libegl1 (Debian) and set MUJOCO_GL=egl, or osmesa"
            ) from error
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = 0

    def picture(self, data: Any, effector: np.ndarray) -> np.ndarray:
        """What the camera sees, uint8 (size, size, 3), with the pusher at (2,)."""
        self._renderer.update_scene(data, "front")
        self._add_arm(effector)
        large = self._renderer.render()
        return cv2.resize(large, (self._size, self._size), interpolation=cv2.INTER_AREA)

    def close(self) -> None:
        """Free what draws."""
        self._renderer.close()

    def _add_arm(self, effector: np.ndarray) -> None:
        shoulder, elbow, wrist = joints(effector)
        foot = np.array([SHOULDER[0], SHOULDER[1], -0.03])
        tip = np.array([effector[0], effector[1], PUSHER_TIP])
        upper, lower, rod = THICK
        capsule = self._mujoco.mjtGeom.mjGEOM_CAPSULE
        for begin, end, radius, grey in (
            (foot, shoulder, 0.02, _JOINT),
            (shoulder, elbow, upper, _LINK),
            (elbow, wrist, lower, _LINK),
            (wrist, tip, rod, _ROD),
        ):
            self._add(capsule, radius, begin, end, grey)

    def _add(self, kind: Any, radius: float, begin: np.ndarray, end: np.ndarray, grey: float):
        scene = self._renderer.scene
        geom = scene.geoms[scene.ngeom]
        rgba = np.array([grey, grey, grey, 1.0], np.float32)
        size = np.full(3, radius)
        self._mujoco.mjv_initGeom(geom, kind, size, np.zeros(3), np.eye(3).ravel(), rgba)
        self._mujoco.mjv_connector(geom, kind, radius, begin, end)
        geom.specular, geom.shininess = 0.0, 0.0
        scene.ngeom += 1
