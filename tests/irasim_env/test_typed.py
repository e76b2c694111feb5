"""Typed actions: the reference's keyboard application, with and without a window."""

import io
import json
import sys

import gymnasium as gym
import numpy as np
import pygame
import pytest

import irasim_env  # noqa: F401
from irasim_env import console
from irasim_env.overlay import Overlay
from irasim_env.play import PlayConfig, main
from irasim_env.typed import TypedSession, run_typed
from irasim_env.typed_window import HELP, TypedWindow
from irasim_env.world_controls import controls_of
from tests.chunk_worlds import table_world
from world_model import WorldModel
from world_model.config import KeysConfig
from world_model.video import read_video

FPS = 1000.0  # windows wait for frames


@pytest.fixture(scope="module")
def chunk_world(tmp_path_factory):
    """As `irasim import` makes one of Language-Table: 3 actions at once."""
    path = tmp_path_factory.mktemp("worlds") / "table"
    table_world(keys=KeysConfig(directions=("down", "right"), velocity=0.025)).save_pretrained(path)
    return str(path)


@pytest.fixture
def make_session(chunk_world, tmp_path):
    """Makes sessions; writes their videos at the end."""
    sessions = []

    def make(world=chunk_world, **settings):
        world = WorldModel.from_pretrained(world)
        about = world.config
        controls = controls_of(about)
        overlay = Overlay(controls, about.name, (about.height, about.width), scale=4)
        record = tmp_path / f"{len(sessions)}.mp4"
        settings = {"chunk": 3, "start": 0, "record": record, "fps": FPS} | settings
        sessions.append(TypedSession(world, controls, overlay, **settings))
        return sessions[-1]

    yield make
    for session in sessions:
        if not session.video.exists():
            session.save()


@pytest.fixture
def session(make_session):
    return make_session()


@pytest.fixture
def window(session):
    window = TypedWindow(session, FPS)
    yield window
    pygame.display.quit()


def press(window, *keys):
    for key in keys:
        window.handle(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(key)))


@pytest.mark.parametrize(
    ("letter", "scaled"),
    [("w", (-0.5, 0)), ("s", (0.5, 0)), ("a", (0, -0.5)), ("d", (0, 0.5)), (".", (0, 0))],
)
def test_letters_are_the_references_steps(session, letter, scaled):
    list(session.take([letter]))
    scale = session.world.config.action_scale
    assert session.action * scale == pytest.approx(scaled)


def test_typed_actions_are_the_environments(chunk_world, make_session):
    session = make_session(start=1, seed=5)
    env = gym.make("IRASim/World-v0", world=chunk_world, chunk=3)
    env.reset(seed=5, options={"start": 1})
    actions = np.array([(-0.025, 0), (-0.025, 0), (0, 0.025)], np.float32)
    _, _, _, _, info = env.step(actions)
    assert np.array_equal(np.stack(list(session.take("wwd"))), info["frames"])


def test_letters_are_predicted_a_chunk_at_a_time(session):
    assert len(list(session.take("wwaasdd"))) == 7
    assert len(session.seconds) == 3
    assert session.steps == session.total_steps == 7


def test_frames_appear_as_they_are_made(session):
    frames = session.take("wwaasd")
    next(frames)
    assert (session.steps, len(session.seconds)) == (1, 1)
    for _ in range(3):
        next(frames)
    assert (session.steps, len(session.seconds)) == (4, 2)


def test_the_video_has_every_frame_with_its_arrow_lit(session):
    list(session.take("wd"))
    session.save()
    video = read_video(session.video).astype(int)
    assert len(video) == 3
    panel = video[:, session.overlay.size(False)[1] - 150 :, :110]
    assert np.abs(panel[1] - panel[0]).max() > 100
    assert np.abs(panel[2] - panel[1]).max() > 100


def test_unknown_letters_are_told(session):
    with pytest.raises(ValueError, match=r"'x' in 'wwx' is no action; this world's are s w d a, "):
        session.parse("wwx\n")
    assert session.parse(" W. a\n") == ["w", ".", "a"]


def test_lines_are_played_and_told(session, capsys):
    run_typed(session, ["wwa", "", "d\n"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("wwa: 3 frames in ")
    assert lines[1].startswith("d: 1 frames in ")
    assert session.summary().startswith("4 actions in 2 predictions, ")


def test_an_episode_that_ends_takes_no_more(tiny_world, make_session, capsys):
    session = make_session(tiny_world, chunk=2)
    object.__setattr__(session.world.config, "termination_threshold", -1.0)
    run_typed(session, ["wwaa", "dd"])
    assert session.steps == 1
    assert "over after 1 actions" in capsys.readouterr().out
    session.begin(1)
    assert not session.ending


def test_same_seed_same_session(make_session):
    runs = [list(make_session(start=None, seed=3).take("wasd")) for _ in range(2)]
    assert np.array_equal(*runs)


# The window


def test_keys_are_collected_until_the_chunk_is_full(window):
    press(window, "w", "up")
    assert window.pending == ["w", "up"]
    assert window.session.steps == 0
    press(window, "d")
    assert window.pending == []
    assert window.session.steps == 3


def test_enter_predicts_and_backspace_takes_back(window):
    press(window, "w", "d", "backspace", "return")
    assert window.session.steps == 1
    assert window.session.action[0] < 0
    press(window, "return", "backspace")
    assert window.session.steps == 1


def test_one_action_at_a_time_needs_no_enter(make_session):
    window = TypedWindow(make_session(chunk=1), FPS)
    press(window, "w", "left")
    assert window.session.steps == 2
    assert len(window.session.seconds) == 2


def test_window_begins_again_and_at_other_starts(window):
    press(window, "w", "w", "w", "d", "r")
    assert (window.session.steps, window.session.total_steps, window.pending) == (0, 3, [])
    press(window, "[")
    assert window.session.start == 2
    press(window, "]", "]")
    assert window.session.start == 1


def test_window_shows_the_session_and_closes(window):
    press(window, "w", "w", "w")
    shown = pygame.surfarray.array3d(pygame.display.get_surface())
    expected = pygame.surfarray.array3d(window.session.picture(HELP))
    assert np.array_equal(shown, expected)
    press(window, "q")
    assert not window.running
    window.run()


# The command


def test_typed_command(chunk_world, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    main(PlayConfig(world=chunk_world, typed="wwaasd", record=out, scale=4))
    told = capsys.readouterr().out
    assert told.startswith("wwaasd: 6 frames in ")
    assert "6 actions in 2 predictions, " in told
    assert f"video: {out}" in told
    assert len(read_video(out)) == 7
    note = json.loads(out.with_suffix(".json").read_text())
    assert (note["config"]["typed"], note["resolved"]["chunk"]) == ("wwaasd", 3)
    assert note["video"]["frames"] == 7


def test_typed_lines_from_standard_input(chunk_world, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("ww\nad\n"))
    monkeypatch.chdir(tmp_path)
    main(PlayConfig(world=chunk_world, typed="-", chunk=1))
    assert "4 actions in 4 predictions" in capsys.readouterr().out
    assert len(read_video(next(tmp_path.glob("irasim-play-*.mp4")))) == 5


def test_a_chunk_world_plays_keys_at_a_steady_rate_where_asked(chunk_world, capsys):
    main(PlayConfig(world=chunk_world, keys="w*2 d"))
    assert capsys.readouterr().out.startswith("3 steps, median ")


def test_a_chunk_world_opens_the_window_of_typed_actions(chunk_world, tmp_path, monkeypatch):
    played = []
    monkeypatch.setattr(TypedWindow, "run", lambda self: played.append(self.session.chunk))
    monkeypatch.chdir(tmp_path)
    main(PlayConfig(world=chunk_world))
    main(PlayConfig(world=chunk_world, chunk=15, record=tmp_path / "two.mp4"))
    assert played == [1, 15]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--typed", "wx"], "'x' in 'wx' is no action"),
        (["--typed", "w", "--steps", "3"], "steps is for steps at a steady rate"),
        (["--typed", "w", "--reality"], "reality is for steps at a steady rate"),
        (["--chunk", "0"], "chunk is 0, expected at least 1"),
        (["--auto-reset"], "auto_reset is for steps at a steady rate"),
        (["--typed", "w", "--start", "9"], "start 9"),
    ],
)
def test_mistakes_are_told(chunk_world, tmp_path, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as stop:
        console.main(["play", "--world", chunk_world, *arguments])
    told = f"{stop.value} {capsys.readouterr().err}"
    assert message in told
    assert not list(tmp_path.iterdir())


def test_what_was_typed_before_a_mistake_is_recorded(chunk_world, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("ww\nzzz\n"))
    out = tmp_path / "out.mp4"
    with pytest.raises(ValueError, match="'z' in 'zzz' is no action"):
        main(PlayConfig(world=chunk_world, typed="-", record=out))
    assert len(read_video(out)) == 3


def test_a_video_asked_for_is_written_without_actions_too(
    chunk_world, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main(PlayConfig(world=chunk_world, typed=""))
    assert capsys.readouterr().out == "0 actions\n"
    assert not list(tmp_path.iterdir())
    main(PlayConfig(world=chunk_world, typed="", record=tmp_path / "out.mp4"))
    assert len(read_video(tmp_path / "out.mp4")) == 1


def test_keys_of_an_imported_world_are_kept(chunk_world):
    config = WorldModel.from_pretrained(chunk_world).config
    assert config.keys == KeysConfig(directions=("down", "right"), velocity=0.025)
