"""Background, robot and bodies are found in frames; what cannot be labelled is told."""

import numpy as np
import pytest

from tests.training.data.labels.synthetic import (
    DISC,
    MATRIX,
    OFFSET,
    background,
    errors,
    make_episode,
)
from training.data.episodes import Episode
from training.data.labels.scene import Scene, fit_scene
from training.data.labels.sprite import Sprite
from training.data.labels.symmetry import ROUND, order_of_symmetry
from training.data.labels.track import Track, equivalent, filled, track

# What all tests here share is made once.
pytestmark = pytest.mark.xdist_group("labels")


@pytest.fixture(scope="module")
def tracks(scene: Scene, new_episodes: list[Episode]) -> list[list[Track]]:
    return track(
        scene,
        [episode.frames for episode in new_episodes],
        [episode.states["joints"] for episode in new_episodes],
    )


def test_background_is_what_lies_behind(scene: Scene):
    assert np.abs(scene.background.picture - background()).mean() < 1
    assert 1 < scene.background.noise < 2.5  # 1.5 were added


def test_robot_is_what_follows_the_observation(scene: Scene):
    (part,) = scene.robot
    np.testing.assert_allclose(part.matrix, MATRIX, atol=0.15)
    np.testing.assert_allclose(part.offset + 0.5, OFFSET, atol=0.3)
    assert part.sprite.area == pytest.approx(np.pi * DISC**2, rel=0.2)


def test_bodies_are_told_by_colour_and_symmetry(scene: Scene):
    bracket, square = scene.bodies
    assert bracket.sprite.area == pytest.approx(138, rel=0.1)
    assert square.sprite.area == pytest.approx(100, rel=0.1)
    assert (bracket.symmetry, square.symmetry) == (1, 4)


@pytest.mark.parametrize(("number", "name", "symmetry"), [(0, "bracket", 1), (1, "square", 4)])
def test_poses_of_new_episodes_are_found(
    tracks: list[list[Track]],
    new_episodes: list[Episode],
    number: int,
    name: str,
    symmetry: int,
):
    found = [one[number] for one in tracks]
    poses = np.concatenate([one.poses for one in found]) + (0.5, 0.5, 0)
    labelled = np.concatenate([one.labelled for one in found])
    true = np.concatenate([episode.hidden[name] for episode in new_episodes])
    assert labelled.mean() > 0.97
    place, angle = errors(poses, true, labelled, symmetry)
    assert np.median(place) < 0.08 and np.quantile(place, 0.95) < 0.2
    assert np.median(angle) < 0.4 and np.quantile(angle, 0.95) < 1.5


def test_a_body_at_rest_keeps_its_pose_exactly(
    tracks: list[list[Track]], new_episodes: list[Episode]
):
    rested = 0
    for episode, (bracket, _) in zip(new_episodes, tracks, strict=True):
        rests = (np.diff(episode.hidden["bracket"], axis=0) == 0).all(1)
        both = bracket.labelled[1:] & bracket.labelled[:-1]
        kept = (np.diff(bracket.poses, axis=0) == 0).all(1)
        assert kept[rests & both].all()
        assert not kept[~rests].all()
        rested += (rests & both).sum()
    assert rested > 10


def test_what_the_robot_covers_is_not_visible(
    tracks: list[list[Track]], new_episodes: list[Episode]
):
    gaps = np.concatenate(
        [
            np.linalg.norm(
                episode.states["joints"] @ MATRIX.T + OFFSET - episode.hidden["square"][:, :2],
                axis=1,
            )
            for episode in new_episodes
        ]
    )
    visible = np.concatenate([one[1].visible for one in tracks])
    assert np.median(visible[gaps > 15]) > 0.95
    covered = gaps < 2.5
    if covered.any():  # a disc of radius 3 over a square of side 10, and a margin
        assert visible[covered].max() < 0.75


def test_a_body_that_is_not_there_is_not_found(scene: Scene, new_episodes: list[Episode]):
    episode = new_episodes[0]
    bare = np.repeat(background()[None], 4, axis=0).astype(np.uint8)
    ((bracket, square),) = track(scene, [bare], [episode.states["joints"][:4]])
    assert not bracket.labelled.any() and not square.labelled.any()
    assert np.isfinite(bracket.poses).all()


def test_a_camera_that_moves_is_refused_with_numbers():
    moving = [make_episode(i, length=12, moving_camera=True) for i in range(4)]
    frames = np.concatenate([episode.frames for episode in moving])
    with pytest.raises(ValueError, match=r"constant background: .*%.*fixed camera"):
        fit_scene(frames, np.zeros((len(frames), 0)), (), noise=1.5)


def test_nothing_that_moves_is_told():
    rng = np.random.default_rng(0)
    frames = background() + rng.normal(0, 1.5, (40, 64, 64, 3))
    with pytest.raises(ValueError, match="no rigid body found"):
        fit_scene(frames.astype(np.uint8), np.zeros((40, 0)), (), noise=1.5)


def test_a_round_body_has_no_angle():
    y, x = np.mgrid[-40:41, -40:41] / 4
    disc = (7 - np.hypot(x, y)).clip(0, 1).astype(np.float32)
    sprite = Sprite(disc, np.full((81, 81, 3), 90, np.float32))
    assert order_of_symmetry(sprite) == ROUND
    bar = ((7 - np.abs(x)).clip(0, 1) * (3 - np.abs(y)).clip(0, 1)).astype(np.float32)
    assert order_of_symmetry(Sprite(bar, sprite.colour)) == 2


def test_equivalent_angles_are_the_nearest():
    assert equivalent(3.2, 0.1, 4) == pytest.approx(3.2 - np.pi)
    assert equivalent(-0.7, 0.7, 4) == pytest.approx(-0.7 + np.pi / 2)


def test_poses_between_are_interpolated_the_short_way():
    poses = np.array([[0, 0, 3.0], [9, 9, 9], [2, 4, -3.0], [9, 9, 9]], float)
    found = np.array([True, False, True, False])
    result = filled(poses, found)
    np.testing.assert_allclose(result[1, :2], [1, 2])
    assert np.cos(result[1, 2]) == pytest.approx(-1, abs=1e-6)
    np.testing.assert_allclose(result[3], [2, 4, 2 * np.pi - 3])
