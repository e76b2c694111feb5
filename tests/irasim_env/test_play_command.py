"""`irasim play`: command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pygame
import pytest

import irasim_env  # noqa: F401
from irasim_env import console
from irasim_env.play import PlayConfig, main, make_player
from tests.irasim_env.players import run
from world_model.video import read_video


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


@pytest.mark.slow_suite
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
        (["--keys", "right*x"], "a whole number after the"),
        (["--start", "99", "--steps", "1"], "start 99"),
        (["--world", "nowhere", "--steps", "1"], "nowhere"),
        (["--steps", "1", "--record", "nowhere/out.mp4"], "no folder nowhere"),
        (["--steps", "1", "--directions", "up", "down"], "directions are up and down"),
    ],
)
def test_mistakes_on_the_command_line_are_told(endless_world, arguments, message):
    with pytest.raises(SystemExit, match=f"irasim play: .*{message}"):
        console.main(["play", "--world", endless_world, *arguments])


def test_wrong_keys_leave_no_video(endless_world, tmp_path):
    with pytest.raises(SystemExit, match="unknown key 'jump'"):
        console.main(
            [
                "play",
                "--world",
                endless_world,
                "--keys",
                "jump",
                "--record",
                str(tmp_path / "out.mp4"),
            ]
        )
    assert not list(tmp_path.iterdir())


def test_a_video_has_its_settings_beside_it(endless_world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"world": endless_world, "seed": 7, "keys": "right*2 v v right"}
    main(PlayConfig(record=tmp_path / "out.mp4", **settings))
    names = ["out.json", "out.mp4", "out-2.json", "out-2.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    note = json.loads((tmp_path / "out.json").read_text())
    assert note["command"] == "irasim play"
    assert note["config"].keys() == PlayConfig.__dataclass_fields__.keys()
    assert note["config"] | settings == note["config"]
    assert note["config"]["record"] == "out.mp4"  # relative: not where it was made
    assert note["resolved"] == {
        "directions": ["right", "down"],
        "scale": 5,
        "max_episode_steps": 30,
    }
    assert note["world"] == {"name": "tiny", "loaded_from": endless_world}
    assert {"python", "torch", "irasim-env"} <= note["versions"].keys()
    assert note["video"] == {"frames": 3, "fps": 10.0}


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
        "try: __import__('irasim_env.console').console.main(['play', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pygame', 'diffusers', 'av', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for flag in PlayConfig.__dataclass_fields__:
        assert f"--{flag.replace('_', '-')}" in done.stdout
