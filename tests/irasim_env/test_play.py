"""`irasim play`: session, window, video, command line."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pygame
import pytest

import irasim_env  # noqa: F401
from irasim_env.key_script import parse_keys
from irasim_env.play import PlayConfig, cli, main, make_player
from irasim_env.player import COMMANDS
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import Starts, WorldModel
from world_model.video import read_video

NO_END = {"max_episode_steps": 0}


@pytest.fixture(scope="module")
def ending_world(tmp_path_factory):
    """A tiny world whose episodes end at the first step."""
    config = dataclasses.replace(TINY_CONFIG, termination_threshold=-1.0)
    path = tmp_path_factory.mktemp("worlds") / "ending"
    randomized(WorldModel.create(config, make_starts(config))).save_pretrained(path)
    return str(path)


@pytest.fixture
def play(endless_world):
    """Makes players; closes them."""
    players = []

    def make(**settings):
        players.append(make_player(PlayConfig(**{"world": endless_world, **settings})))
        return players[-1]

    yield make
    for player in players:
        player.close()


def run(player, keys, steps=None):
    presses = parse_keys(keys, player.session.controls.keys, tuple(COMMANDS))
    player.run_script(presses, steps)


def tell(player, kind, **values):
    player.handle(pygame.event.Event(kind, **values))


# Playing


def test_keys_step_the_world_as_its_environment_does(play, endless_world):
    player = play(start=1, seed=3)
    session = player.session
    first = session.action
    assert first.tolist() == session.world.starts[1].states["agent_pos"][-1].tolist()
    run(player, "right*3 up")
    env = gym.make("IRASim/World-v0", world=endless_world)
    frame, _ = env.reset(seed=3, options={"start": 1})
    action = first
    for held in ["right"] * 3 + ["up"]:
        action = session.controls.next_action(action, {held})
        frame, reward, *_ = env.step(action)
    assert np.array_equal(session.frame, frame)
    assert session.reward == reward
    assert (session.steps, session.total_steps) == (4, 4)


def test_pause_and_single_step(play):
    player = play()
    run(player, "right*2 space right*5")
    assert player.session.steps == 2
    before = player.session.action
    run(player, "down+n*3")
    assert player.session.steps == 5
    assert player.session.action[1] > before[1]
    run(player, "space wait")
    assert player.session.steps == 6
    run(player, "n wait")  # steps once, and pauses
    assert player.session.steps == 7


def test_reset_and_choice_of_starts(play):
    player = play(start=3)
    session = player.session
    run(player, "wait*2 r")
    assert (session.start, session.steps, session.reward) == (3, 0, None)
    assert np.array_equal(session.frame, session.world.starts[3].frames[-1])
    run(player, "]")
    assert session.start == 0
    run(player, "[ [")
    assert session.start == 2
    run(player, "1")
    assert session.start == 1
    run(player, "7")
    assert (session.start, session.message) == (1, "no start 7: this world has 0 to 3")


def test_another_try_has_other_noise_and_the_same_seed_repeats_both(play):
    tries = []
    for _ in range(2):
        player = play(seed=5)
        run(player, "right*3")
        first = player.session.frame
        run(player, "r right*3")
        tries.append((first, player.session.frame))
    assert np.array_equal(tries[0], tries[1])
    assert not np.array_equal(*tries[0])


def test_end_is_shown_and_waits_for_reset(play, ending_world):
    player = play(world=ending_world)
    run(player, "wait*5 n")
    assert player.session.ending == "success after 1 step"
    assert player.session.total_steps == 1
    run(player, "r n space")
    assert player.session.total_steps == 2


def test_auto_reset_begins_again_after_a_second(play, ending_world):
    player = play(world=ending_world, auto_reset=True, fps=4)
    run(player, "wait*4")
    assert player.session.ending is not None
    run(player, "wait")
    assert (player.session.ending, player.session.steps) == (None, 0)
    run(player, "", steps=3)
    assert player.session.total_steps == 3


def test_time_limit_is_the_worlds_unless_given(play, endless_world):
    player = play()
    run(player, "", steps=31)
    assert player.session.ending == "time is up after 30 steps"
    player = play(max_episode_steps=2)
    run(player, "wait*3")
    assert player.session.ending == "time is up after 2 steps"
    player = play(**NO_END)
    run(player, "", steps=31)
    assert (player.session.ending, player.session.steps) == (None, 31)


def test_steps_cut_a_script_and_go_on_after_it(play):
    player = play()
    run(player, "right*9", steps=4)
    assert player.session.total_steps == 4
    run(player, "right", steps=7)
    assert player.session.total_steps == 7
    run(player, "q", steps=9)
    assert player.session.total_steps == 7


def test_world_without_reward_shows_none(play, tiny_world_without_reward):
    player = play(world=str(tiny_world_without_reward))
    run(player, "right*2")
    assert player.session.reward is None
    player.picture()


# The real simulator beside it


def test_reality_follows_the_same_actions_whenever_it_is_shown(play):
    pytest.importorskip("gym_pusht")
    early, late = play(start=0, reality=True), play(start=0)
    run(early, "right*4 down*3")
    run(late, "right*4 down*2 g down")
    assert late.session.reality is not None
    assert np.array_equal(early.session.reality.frame, late.session.reality.frame)
    assert early.session.reality.reward == late.session.reality.reward
    before = late.session.reality.frame
    run(late, "left*3")
    assert not np.array_equal(late.session.reality.frame, before)
    run(late, "r")
    run(early, "r")
    assert np.array_equal(early.session.reality.frame, late.session.reality.frame)
    assert late.session.reality.reward is None
    run(late, "g")
    assert late.session.reality is None


def test_reality_that_there_is_not_is_told(play, endless_world, monkeypatch):
    player = play()
    config = dataclasses.replace(TINY_CONFIG, ground_truth=None)
    monkeypatch.setattr(player.session.world, "config", config)
    run(player, "wait g wait")
    assert player.session.reality is None
    assert "names no ground truth" in player.session.message
    assert player.session.steps == 2
    with pytest.raises(ValueError, match="names no ground truth"):
        player.session.show_reality()


def test_reality_is_lost_with_a_start_that_it_cannot_reach(play):
    pytest.importorskip("gym_pusht")
    player = play(start=0, reality=True)
    world = player.session.world
    starts = [
        dataclasses.replace(start, replay=start.replay if i == 0 else None)
        for i, start in enumerate(world.starts)
    ]
    world.starts = Starts(starts)
    run(player, "]")
    assert player.session.start == 1
    assert player.session.reality is None
    assert "no replay" in player.session.message


# Picture, window and video


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
        TINY_CONFIG,
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


def test_headless_video_shows_what_the_window_shows(endless_world, tmp_path, capsys):
    pytest.importorskip("gym_pusht")
    path = tmp_path / "out.mp4"
    keys = "right*3 down*2 g wait*2 space wait"
    settings = {"world": endless_world, "start": 0, "keys": keys}
    main(PlayConfig(record=path, **settings))
    line = capsys.readouterr().out.strip()
    assert line.startswith("7 steps, median ")
    assert line.endswith(f"video: {path}")
    frames = read_video(path)
    player = make_player(PlayConfig(record=tmp_path / "again.mp4", **settings))
    run(player, keys)
    picture = pygame.surfarray.array3d(player.picture()).swapaxes(0, 1)
    player.close()
    assert frames.shape == (9, *picture.shape)  # first frame, 7 steps, 1 paused
    # But for compression (hard on the learned frame, which is noise) and the measured times.
    difference = np.abs(frames[-1].astype(int) - picture)
    assert difference[:510, 484:].mean() < 1
    assert difference[510:].mean() < 2
    assert not frames[3, :, 490:].any()  # the window was smaller then
    assert not list(tmp_path.glob(".*"))


def test_command_line(endless_world, tmp_path):
    """Without a display, in a process of its own."""
    command = [sys.executable, "-m", "irasim_env.console", "play", "--world", endless_world]
    environment = {k: v for k, v in os.environ.items() if k != "SDL_VIDEODRIVER"}
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        environment.pop(name, None)
    out = tmp_path / "out.mp4"
    arguments = ["--steps", "3", "--record", str(out), "--scale", "1"]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 steps, median ")
    assert len(done.stdout.splitlines()) == 1
    assert len(read_video(out)) == 4
    if sys.platform == "linux":
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert "irasim play: there is no display" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keys", "jump"], "unknown key 'jump'"),
        (["--start", "99", "--steps", "1"], "start 99"),
        (["--world", "nowhere", "--steps", "1"], "nowhere"),
        (["--steps", "1", "--record", "nowhere/out.mp4"], "no folder nowhere"),
        (["--steps", "1", "--directions", "up", "down"], "directions are up and down"),
    ],
)
def test_mistakes_on_the_command_line_are_told(endless_world, arguments, message):
    with pytest.raises(SystemExit, match=f"irasim play: .*{message}"):
        cli(["--world", endless_world, *arguments])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fps": 0.0}, "fps is 0.0"),
        ({"scale": 0}, "scale is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"max_episode_steps": -1}, "max_episode_steps is -1"),
        ({"record": "out.avi"}, r"record is out.avi, .*\.mp4"),
    ],
)
def test_config_checks_itself(settings, message):
    settings = {k: Path(v) if k == "record" else v for k, v in settings.items()}
    with pytest.raises(ValueError, match=message):
        PlayConfig(**settings)


def test_help_is_light():
    code = (
        "import sys\n"
        "try: __import__('irasim_env.play').play.cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pygame', 'diffusers', 'av', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for flag in PlayConfig.__dataclass_fields__:
        assert f"--{flag.replace('_', '-')}" in done.stdout
