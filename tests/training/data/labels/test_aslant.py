"""Upright bodies before a camera that looks aslant: the camera, their sides and places."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.training.data.labels.synthetic import errors
from training.data.labels.camera import Camera, find_camera, project
from training.data.labels.contact import scaled, touching
from training.data.labels.plane import labelled_plane
from training.data.labels.robot import RobotByExample
from training.data.labels.scene import Scene, fit_scene
from training.data.labels.scene_file import load_scene, save_scene
from training.data.labels.side import top_and_side, without_side
from training.data.labels.sprite import turn
from training.data.labels.track import Track, track
from training.streaming.proxy import fill_proxy, proxy_config
from world_model import StreamingConfig
from world_model.config import ObservationConfig
from world_model.frames import pixels_to_frames
from world_model.streaming.states.config import PlanarConfig, StatesConfig
from world_model.streaming.states.proxy import Proxy

# What all tests here share is made once.
pytestmark = [pytest.mark.xdist_group("aslant"), pytest.mark.slow_suite]

SIZE, FINER = 64, 6
SQUARE = 2.2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
TOP, SIDE, MARK, ARM, TABLE = (
    np.array(colour, float)
    for colour in ((230, 40, 30), (120, 20, 15), (30, 60, 220), (40, 40, 40), (225, 225, 220))
)
TALL, EYE, TILT, FOCAL = 2.0, np.array([0.0, -24.0, 40.0]), np.radians(58), 105.0


def seen(points: np.ndarray) -> np.ndarray:
    """Index coordinates of pixels at which points (..., 3) are seen, (..., 2)."""
    from_eye = points - EYE
    ahead = from_eye @ [0, np.cos(TILT), -np.sin(TILT)]
    up = from_eye @ [0, np.sin(TILT), np.cos(TILT)]
    places = np.stack([from_eye[..., 0], -up], axis=-1) / ahead[..., None]
    return FOCAL * places + (SIZE - 1) / 2


def at_height(places: np.ndarray, height: float) -> np.ndarray:
    return np.concatenate([places, np.full((len(places), 1), height)], axis=1)


def fill(picture: np.ndarray, corners: np.ndarray, colour: np.ndarray) -> None:
    """Draw a polygon of points (n, 3) into a picture FINER times as large."""
    places = (seen(corners) + 0.5) * FINER - 0.5
    cv2.fillPoly(picture, [np.rint(places * 16).astype(np.int32)], colour.tolist(), shift=4)


def draw(pose: np.ndarray, robot: np.ndarray) -> np.ndarray:
    picture = np.tile(TABLE, (SIZE * FINER, SIZE * FINER, 1))
    outline = turn(SQUARE, pose[2]) + pose[:2]
    for height in np.linspace(0, TALL, 12):
        fill(picture, at_height(outline, height), SIDE)
    fill(picture, at_height(outline, TALL), TOP)
    ring = np.stack([f(np.linspace(0, 2 * np.pi, 16)) for f in (np.cos, np.sin)], axis=1)
    for height in np.linspace(3.0, 30, 60):
        fill(picture, at_height(robot + 0.5 * ring, height), ARM)
    for height in np.linspace(0.5, 3.0, 8):
        fill(picture, at_height(robot + 0.9 * ring, height), MARK)
    return cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def episode(number: int, length: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, places of the robot (T, 2) and poses of the body (T, 3)."""
    rng = np.random.default_rng(number)
    ways = rng.uniform(-8, 8, (6, 2))
    times = np.linspace(0, 5, length)
    robot = np.stack([np.interp(times, range(6), ways[:, i]) for i in (0, 1)], axis=1)
    poses = np.tile([*rng.uniform(-7, 7, 2), rng.uniform(0, 2)], (length, 1))
    poses[length // 2 :] += (1.5, 0.5, 0.4)
    frames = np.stack([draw(pose, place) for pose, place in zip(poses, robot, strict=True)])
    return np.rint(frames).astype(np.uint8), robot, poses


@pytest.fixture(scope="module")
def episodes() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return [episode(number) for number in range(12)]


@pytest.fixture(scope="module")
def aslant(episodes) -> Scene:
    frames, robot = (np.concatenate([one[i] for one in episodes]) for i in (0, 1))
    return fit_scene(frames, robot, ("tip",), noise=0.0, sizes=(2,))


def test_the_camera_is_found_from_the_robots_places(aslant: Scene):
    assert not aslant.robot
    camera = aslant.camera
    assert camera is not None and camera.state == "tip" and camera.off < 0.5
    foot = (camera.foot + 0.5) * camera.scale + (camera.left, camera.top)
    np.testing.assert_allclose(foot, EYE[:2], atol=3)
    # Places at the height of the tops are those of the plane, but for a scale about the foot.
    places = np.random.default_rng(0).uniform(-7, 7, (50, 2))
    found = project(camera.homography, seen(at_height(places, TALL)))
    scale = np.median((found - foot) / (places - foot))
    np.testing.assert_allclose(found, foot + scale * (places - foot), atol=0.25)
    assert abs(scale - 1) < 0.05


def test_a_body_is_its_top_with_a_side_as_tall_as_it_is(aslant: Scene):
    (body,) = aslant.bodies
    assert body.symmetry == 4
    side = body.sprite.side
    assert side is not None
    assert side.tall == pytest.approx(TALL / (EYE[2] - TALL), rel=0.25)
    np.testing.assert_allclose(side.colour, SIDE, atol=25)
    assert aslant.camera is not None
    width = 4.4 / aslant.camera.scale
    assert body.sprite.area == pytest.approx(width**2, rel=0.15)


def test_places_and_angles_are_those_in_the_plane(aslant: Scene, episodes):
    frames, robots, poses = zip(*episodes[:4], strict=True)
    found = track(aslant, [aslant.rectified(one) for one in frames], list(robots))
    labels = np.concatenate([one.poses for (one,) in found])
    labelled = np.concatenate([one.labelled for (one,) in found])
    assert labelled.mean() > 0.9 and aslant.camera is not None
    true = np.concatenate(poses)
    there = seen(at_height(true[:, :2], TALL))
    pixels = project(aslant.camera.to_picture, labels[:, :2])
    away = np.linalg.norm(pixels - there, axis=1)[labelled]
    assert np.median(away) < 0.25 and np.quantile(away, 0.9) < 0.5
    assert np.median(errors(labels, true, labelled, 4)[1]) < 2


def test_a_proxy_shows_tops_and_sides_where_labels_say(aslant: Scene, episodes, tmp_path: Path):
    frames, robots, _ = zip(*episodes[:4], strict=True)
    found = track(aslant, [aslant.rectified(one) for one in frames], list(robots))
    camera = aslant.camera
    assert camera is not None
    labels = np.concatenate([one.poses for (one,) in found])
    labels[:, :2] = (labels[:, :2] + 0.5) * camera.scale + (camera.left, camera.top)
    save_scene(tmp_path / "labels", aslant, ("block",))
    plane = labelled_plane(tmp_path, ("block",))
    assert plane is not None
    config = StreamingConfig(
        name="aslant",
        height=SIZE,
        width=SIZE,
        fps=10.0,
        action_low=(-1.0, -1.0),
        action_high=(1.0, 1.0),
        observations={"tip": ObservationConfig(low=(-10.0, -12.0), high=(10.0, 12.0))},
        states=StatesConfig(
            hidden={
                "block": ObservationConfig(
                    low=(-10.0, -12.0, -1.0, -1.0), high=(10.0, 12.0, 1.0, 1.0)
                )
            },
            planar=PlanarConfig(
                points=("tip",),
                poses=("block",),
                symmetries=plane.symmetries,
                homography=plane.homography,
            ),
            proxy=proxy_config(tmp_path, ("block",), 20.0),
        ),
    )
    layers = config.required_states.proxy
    assert layers.sides == (True,) and layers.robot_layer
    proxy = Proxy(config)
    fill_proxy(proxy, config, tmp_path)
    angles = plane.symmetries[0] * labels[:, 2]
    states = np.c_[np.concatenate(robots) / (10, 12), labels[:, :2] / (10, 12)]
    states = torch.from_numpy(np.c_[states, np.cos(angles), np.sin(angles)]).float()
    with torch.no_grad():
        shown = pixels_to_frames(proxy.of_bodies(states)).float()
    true = torch.from_numpy(np.concatenate(frames)).float()
    reddish = (true[..., 0] > 1.5 * true[..., 1]).float()[..., None]  # the block, tops and sides
    behind = torch.from_numpy(aslant.picture).float()
    error, without = ((reddish * (x - true)).square().mean() for x in (shown, behind))
    assert error < 0.05 * without
    assert proxy(states).shape == (len(states), 3, SIZE, SIZE)


def test_no_camera_where_nothing_follows_the_observation(episodes):
    frames, robot = (np.concatenate([one[i] for one in episodes]) for i in (0, 1))
    shuffled = np.random.default_rng(0).permutation(robot)
    foreground = np.abs(frames - TABLE).max(-1) > 20
    assert find_camera(frames, foreground, {"tip": shuffled}) is None
    assert find_camera(frames, foreground, {"joints": np.c_[robot, robot]}) is None


def test_the_plane_is_that_in_which_bodies_are_touched(aslant: Scene):
    """Pushed from all around at one distance, in a plane 2 % farther from the camera's foot."""
    camera, rng = aslant.camera, np.random.default_rng(0)
    assert camera is not None
    poses = np.stack([*rng.uniform(20, 60, (2, 200)), np.zeros(200)], axis=1)
    true = camera.foot + (poses[:, :2] - camera.foot) * 1.02
    half = aslant.bodies[0].sprite.area ** 0.5 / 2
    # From before and behind alone, where what is the body's front does not matter.
    sides = turn(np.array([half + 3.0, 0.0]), rng.integers(0, 4, 200) * np.pi / 2)
    angle = _front(aslant)
    robots = true + turn(sides, np.full(200, angle))
    robots = (robots + 0.5) * camera.scale + (camera.left, camera.top)
    ones = np.ones(200)
    moves = Track(poses, ones > 0, ones, ones, np.zeros((200, 2)))
    found = touching(aslant, [[moves]], [robots])
    assert found is not None
    assert found.scale / camera.scale == pytest.approx(1.02, abs=0.004)
    assert touching(aslant, [[moves]], [robots + 100]) is None


def _front(scene: Scene) -> float:
    """The angle at which the square's sides lie along the axes of its sprite."""
    alpha = scene.bodies[0].sprite.alpha > 0.5
    (_, _, degrees) = cv2.minAreaRect(np.argwhere(alpha)[:, ::-1].astype(np.float32))
    return float(np.radians(degrees))


def test_another_plane_of_a_camera_has_the_same_rectified_pictures(aslant: Scene, episodes):
    camera: Camera | None = aslant.camera
    assert camera is not None
    other = scaled(camera, 0.03)
    np.testing.assert_allclose(
        other.to_picture / other.to_picture[2, 2],
        camera.to_picture / camera.to_picture[2, 2],
        rtol=1e-6,
        atol=1e-9,
    )
    assert other.scale == pytest.approx(1.03 * camera.scale)


def test_a_scene_comes_back_with_its_camera_and_says_it_to_training(
    aslant: Scene, tmp_path: Path, episodes
):
    examples = RobotByExample(
        np.zeros((3, 2)), np.ones((3, *aslant.background.picture.shape[:2])) > 0
    )
    scene = replace(aslant, examples=examples)
    save_scene(tmp_path / "labels", scene, ("box",))
    back, names = load_scene(tmp_path / "labels")
    assert names == ("box",) and back.camera is not None and aslant.camera is not None
    assert back.camera.size == aslant.camera.size
    np.testing.assert_array_equal(back.camera.homography, aslant.camera.homography)
    assert back.examples is not None and back.examples.shown.all()
    side, before = back.bodies[0].sprite.side, aslant.bodies[0].sprite.side
    assert side is not None and before is not None and side.tall == before.tall
    np.testing.assert_array_equal(back.rectified(episodes[0][0]), aslant.rectified(episodes[0][0]))
    plane = labelled_plane(tmp_path, ("box",))
    assert plane is not None and plane.symmetries == (4,) and plane.homography is not None
    # The middle of pixel (10, 20) of 64, in the picture's own coordinates.
    middle = (np.array([10, 20]) + 0.5) / (SIZE / 2) - 1
    found = project(np.array(plane.homography).reshape(3, 3), middle)
    np.testing.assert_allclose(found, project(aslant.camera.homography, np.array([10, 20])))
    assert labelled_plane(tmp_path, ("other",)) is None
    assert labelled_plane(tmp_path / "nothing", ("box",)) is None


def test_a_side_is_taken_out_of_mixtures():
    behind = np.broadcast_to(TABLE, (1, 5, 3))
    mixed = np.stack([TOP, SIDE, (SIDE + TABLE) / 2, (TOP + SIDE) / 2, ARM])[None]
    left = without_side(mixed[None], behind, TOP, SIDE)[0, 0]
    wanted = np.stack([TOP, TABLE, TABLE, (TOP + TABLE) / 2, ARM])
    np.testing.assert_allclose(left[:4], wanted[:4], atol=4)
    one_colour = np.tile(TOP, (1, 20, 20, 1)).astype(np.uint8)
    assert top_and_side(one_colour, np.ones((1, 20, 20), bool), np.zeros(2)) is None


def test_a_robot_is_looked_for_where_it_was_seen():
    places = np.array([[x, 0.0] for x in range(20) for _ in range(5)])
    shown = np.zeros((100, 8, 24), bool)
    for row, (x, _) in enumerate(places):
        shown[row, 4, int(x)] = True
    found = RobotByExample(places, shown).mask(np.array([[7.0, 0.0]]))[0]
    assert found[4, 7] and not found[:, :4].any() and not found[:, 12:].any()
