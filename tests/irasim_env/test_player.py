"""`irasim play`: picture, window, keys, mouse and video."""

import dataclasses
import time

import numpy as np
import pygame
import pytest

import irasim_env  # noqa: F401
from tests.conftest import TINY_CONFIG, make_starts, without_states
from tests.irasim_env.players import NO_END, run, tell
from world_model import WorldModel
from world_model.video import read_video


def test_picture_shows_frame_real_frame_target_and_keys(play):
    pytest.importorskip("gym_pusht")
    player = play(scale=5, start=0)
    run(player, "right*2")
    alone = player.picture()
    assert alone.get_size() == player.overlay.size(False)
    run(player, "g")
    both = player.picture()
    assert both.get_size() == player.overlay.size(True)
    pixels = pygame.surfarray.array3d(both).swapaxes(0, 1)
    session = player.session
    frames = (session.frame, session.reality.frame)
    for left, frame in zip((0, player.overlay.size(False)[0] + 4), frames, strict=True):
        shown = pixels[30 : 30 + 480, left : left + 480][2::5, 2::5]
        same = (shown == frame).all(-1)
        assert 0.98 < same.mean() < 1  # all but the ring around the target
        target = session.controls.target(session.action)
        y, x = np.argwhere(~same).mean(0)
        assert (x / 95, y / 95) == pytest.approx(target, abs=0.03)
    # Drawn again with no key held, the arrow key and the action's bars differ.
    held = pygame.surfarray.array3d(player.picture())
    player._shown_keys = frozenset()
    released = pygame.surfarray.array3d(player.picture())
    xs, ys = np.nonzero((held != released).any(-1))
    assert ys.min() > 30 + 480
    assert (xs >= 78).any() and (xs < 312).all()


@pytest.mark.parametrize("keys", ["h", "space", "n", "8", "g"])
def test_picture_tells_what_is_going_on(play, keys):
    player = play()
    run(player, "wait")
    before = pygame.surfarray.array3d(player.picture())
    run(player, keys)
    after = pygame.surfarray.array3d(player.picture())
    assert before.shape != after.shape or not np.array_equal(before, after)


@pytest.mark.parametrize("scale", [1, 2, 6])
def test_any_scale_and_number_of_components_fits(play, scale, tmp_path):
    dim = 9
    config = dataclasses.replace(
        without_states(TINY_CONFIG),
        action_low=(-1.0,) * dim,
        action_high=(1.0,) * dim,
        action_names=(),
        observations={},
        termination_threshold=1.0,
    )
    WorldModel.create(config, make_starts(config)).save_pretrained(tmp_path / "world")
    player = play(world=str(tmp_path / "world"), scale=scale, smooth=True)
    run(player, "u+x+right h")
    size = player.picture().get_size()
    assert (size[0] % 2, size[1] % 2) == (0, 0)
    assert size[0] >= 480
    action = np.zeros(dim)
    action[[0, 2, 7]] = 0.5
    assert player.session.action == pytest.approx(action)


def test_keys_of_the_window(play):
    player = play()
    session = player.session
    first = session.action
    tell(player, pygame.KEYDOWN, key=pygame.K_RIGHT)
    tell(player, pygame.KEYUP, key=pygame.K_RIGHT)  # a tap between two steps counts once
    player.tick()
    tapped = session.action
    assert tapped[0] > first[0]
    player.tick()
    assert np.array_equal(session.action, tapped)
    tell(player, pygame.KEYDOWN, key=pygame.K_s)
    player.tick()
    player.tick()
    assert session.action[1] == pytest.approx(first[1] + 2 * 0.04 * 512)
    tell(player, pygame.WINDOWFOCUSLOST)
    player.tick()
    assert session.action[1] == pytest.approx(first[1] + 2 * 0.04 * 512)
    tell(player, pygame.KEYDOWN, key=pygame.K_SPACE)
    player.tick()
    assert session.steps == 5
    tell(player, pygame.KEYDOWN, key=pygame.K_F5)  # means nothing
    tell(player, pygame.KEYDOWN, key=pygame.K_ESCAPE)
    assert not player.running


def test_mouse_sets_the_target_while_its_button_is_held(play):
    player = play(scale=5)
    session = player.session
    tell(player, pygame.MOUSEMOTION, pos=(50, 80))  # hovering does nothing
    player.tick()
    resting = session.action
    assert np.array_equal(resting, session.world.starts[session.start].states["agent_pos"][-1])
    tell(player, pygame.MOUSEBUTTONDOWN, button=1, pos=(479, 30))
    tell(player, pygame.MOUSEBUTTONUP, button=1, pos=(479, 30))  # a click between two steps
    player.tick()
    assert session.action.tolist() == [512, 0]
    tell(player, pygame.MOUSEBUTTONDOWN, button=1, pos=(100, 100))
    tell(player, pygame.MOUSEMOTION, pos=(0, 30 + 479))
    player.tick()
    assert session.action.tolist() == [0, 512]
    tell(player, pygame.MOUSEMOTION, pos=(100, 620))  # below the picture
    player.tick()
    assert session.action.tolist() == [0, 512]
    tell(player, pygame.MOUSEBUTTONUP, button=1, pos=(100, 620))
    tell(player, pygame.MOUSEBUTTONDOWN, button=1, pos=(100, 620))
    player.tick()
    assert session.action.tolist() == [0, 512]


def test_window_plays_at_a_steady_rate(play, monkeypatch):
    player = play(fps=20, **NO_END)
    pygame.display.init()
    times = []
    step = player.session.step

    def stop_after_twelve(held, pointer=None):
        step(held, pointer)
        times.append(time.perf_counter())
        if len(times) == 4:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_DOWN))
        if len(times) == 12:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    monkeypatch.setattr(player.session, "step", stop_after_twelve)
    first = player.session.action
    player.run_window()
    assert len(times) == 12
    assert player.session.action[1] == pytest.approx(min(512, first[1] + 8 * 0.04 * 512))
    assert times[-1] - times[0] >= 0.95 * 11 / 20
    shown = pygame.surfarray.array3d(pygame.display.get_surface())
    assert shown.shape[:2] == player.overlay.size(False)
    assert shown.any()


def test_recording_starts_and_stops_by_key(play, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    player = play()
    run(player, "wait*2 v wait*3 v wait*2")
    (path,) = player.videos
    assert path.name.startswith("irasim-play-")
    assert len(read_video(path)) == 4  # the frame before, and three steps
    assert str(path) in player.session.message


def test_recordings_of_one_name_do_not_overwrite_each_other(play, tmp_path):
    player = play(record=tmp_path / "out.mp4")
    run(player, "wait*2 v wait v wait*3")
    player.close()
    assert [path.name for path in player.videos] == ["out.mp4", "out-2.mp4"]
    assert [len(read_video(path)) for path in player.videos] == [3, 4]
