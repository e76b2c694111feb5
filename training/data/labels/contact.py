"""At which height bodies are touched: the plane in which robot and bodies have the same places.

A camera that looks aslant is found from the robot's places, so pictures are taken into the plane
in which its mark moves. Tops lie higher or lower, which is a scale about the camera's foot. It is
the one by which bodies that are pushed lie at one distance from the robot, whichever side of them
it is on.
"""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from training.data.labels.camera import Camera
from training.data.labels.scene import Scene
from training.data.labels.sprite import FINE, Sprite, turn
from training.data.labels.track import Track

# Episodes that are looked at, at most, and moves that it takes, at least.
EPISODES, LEAST_MOVES = 40, 40
# Pixels that a body moves in a step in which it is pushed, and how near the robot is then.
MOVES, NEAR = 0.3, 6.0
# Scales that are tried, as differences from 1.
TRIED = np.linspace(-0.06, 0.06, 121)


def touching(
    scene: Scene, tracks: list[list[Track]], observations: list[np.ndarray]
) -> Camera | None:
    """The scene's camera in the plane of touch; None where too little was pushed to tell.

    Args:
        scene: Before a camera that looks aslant.
        tracks: Of each episode, of each body.
        observations: Places of the robot, (T, 2) of each episode.
    """
    camera = scene.camera
    assert camera is not None
    poses, robots = [], []
    for number in range(len(scene.bodies)):
        moved, by = [], []
        for found, places in zip(tracks, observations, strict=True):
            track = found[number]
            steps = np.linalg.norm(np.diff(track.poses[:, :2], axis=0), axis=1)
            pushed = 1 + np.flatnonzero((steps > MOVES) & track.labelled[1:] & track.labelled[:-1])
            moved.append(track.poses[pushed])
            by.append((places[pushed] - (camera.left, camera.top)) / camera.scale - 0.5)
        poses.append(np.concatenate(moved))
        robots.append(np.concatenate(by))
    if sum(map(len, poses)) < LEAST_MOVES:
        return None
    outlines = [_distances(body.sprite) for body in scene.bodies]
    spreads = []
    for change in TRIED:
        away = []
        for at, robot, outline in zip(poses, robots, outlines, strict=True):
            places = camera.foot + (at[:, :2] - camera.foot) * (1 + change)
            local = turn(robot - places, -at[:, 2]) * FINE + (len(outline) - 1) / 2
            away.append(ndimage.map_coordinates(outline, local.T[::-1], order=1, mode="nearest"))
        near = np.concatenate(away)
        near = near[near < NEAR]
        enough = len(near) >= LEAST_MOVES / 2
        spreads.append(np.median(np.abs(near - np.median(near))) if enough else np.inf)
    if not np.isfinite(spreads).any():
        return None
    return scaled(camera, float(TRIED[int(np.argmin(spreads))]))


def scaled(camera: Camera, change: float) -> Camera:
    """The same rectified pictures, of a plane in which all is farther from the camera's foot by a
    factor of 1 + change."""
    foot = (camera.foot + 0.5) * camera.scale + (camera.left, camera.top)
    left, top = foot + (np.array([camera.left, camera.top]) - foot) * (1 + change)
    wider = np.diag([1 + change, 1 + change, 1.0])
    wider[:2, 2] = -change * foot
    homography = wider @ camera.homography
    return replace(
        camera,
        homography=homography / homography[2, 2],
        left=float(left),
        top=float(top),
        scale=camera.scale * (1 + change),
    )


def _distances(sprite: Sprite) -> np.ndarray:
    """How far each cell is outside of the body, in pixels, negative inside: (G, G)."""
    pad = int(NEAR * 2) * FINE
    covered = np.pad(sprite.alpha > 0.5, pad)
    outside = np.asarray(ndimage.distance_transform_edt(~covered))
    return (outside - np.asarray(ndimage.distance_transform_edt(covered))) / FINE
