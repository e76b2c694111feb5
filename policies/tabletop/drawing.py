"""Pictures of the table, drawn by MuJoCo without a window.

A picture is drawn at three times its size and averaged (MuJoCo's own antialiasing takes three times
as long on a processor), so that a move of a part of a pixel shows. All
environments of a thread share what draws: it knows nothing of them, and making it takes longer than
a hundred pictures.
"""

import atexit
import importlib
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
    """The package.

    Raises:
        gym.error.DependencyNotInstalled: it is missing.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # without a display, where nothing else is asked
    try:
        import mujoco
    except ModuleNotFoundError as missing:
        raise gym.error.DependencyNotInstalled(
            f"the tabletop simulator needs the package {missing.name!r}, which is not installed; "
            "run pip install 'irasim-env[tabletop]'"
        ) from missing
    return mujoco


def gl_context(size: int) -> Any:
    """What OpenGL draws in, of MuJoCo's backend that MUJOCO_GL names now.

    `mujoco.Renderer` takes the one that was named when mujoco was first imported, which may have
    been before anybody knew.
    """
    if sys.platform.startswith("linux"):
        backend = os.environ["MUJOCO_GL"].lower()
        if backend in ("egl", "osmesa"):
            return importlib.import_module(f"mujoco.{backend}").GLContext(size, size)
    return load_mujoco().GLContext(size, size)


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
        self._model = model = mujoco.MjModel.from_xml_string(model_xml())
        try:
            self._gl = gl_context(FINER * size)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:  # each of MuJoCo's backends has its own
            raise gym.error.Error(
                f"MuJoCo cannot draw here with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r} "
                f"({type(error).__name__}: {error}); install libegl1 (Debian) and set "
                "MUJOCO_GL=egl, or libosmesa6 and osmesa, before Python starts"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._rect = mujoco.MjrRect(0, 0, FINER * size, FINER * size)
        self._scene = mujoco.MjvScene(model, maxgeom=100)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._large = np.empty((FINER * size, FINER * size, 3), np.uint8)

    def picture(self, data: Any, effector: np.ndarray) -> np.ndarray:
        """What the camera sees, uint8 (size, size, 3), with the pusher at (2,)."""
        mujoco = self._mujoco
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, self._camera, everything, self._scene
        )
        self._add_arm(effector)
        self._gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._large, None, self._rect, self._context)
        size = (self._size, self._size)
        small = cv2.resize(self._large, size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small[::-1])  # OpenGL begins at the bottom

    def close(self) -> None:
        """Free what draws."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()

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
        scene = self._scene
        geom = scene.geoms[scene.ngeom]
        rgba = np.array([grey, grey, grey, 1.0], np.float32)
        size = np.full(3, radius)
        self._mujoco.mjv_initGeom(geom, kind, size, np.zeros(3), np.eye(3).ravel(), rgba)
        self._mujoco.mjv_connector(geom, kind, radius, begin, end)
        geom.specular, geom.shininess = 0.0, 0.0
        scene.ngeom += 1
