"""Human rendering, and videos of Gymnasium's: on a machine without a display too."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import irasim_env  # noqa: F401  registers the ids

CHECK = """
import sys
import gymnasium as gym
import irasim_env
from gymnasium.utils.env_checker import check_env

env = gym.make("IRASim/World-v0", world=sys.argv[1], render_mode=sys.argv[2] or None)
check_env(env.unwrapped)
env.reset(seed=0)
env.step(env.action_space.sample())
assert env.render() is None or sys.argv[2] == "rgb_array"
env.close()
import pygame
print("driver:", sys.argv[2], pygame.display.get_init())
"""


def without_display() -> dict[str, str]:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@pytest.mark.slow_suite
@pytest.mark.parametrize("render_mode", ["rgb_array", "human"])
def test_the_checker_passes_without_a_display(tiny_world: Path, render_mode: str):
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(tiny_world), render_mode],
        capture_output=True,
        text=True,
        check=False,
        env=without_display(),
    )
    assert not done.returncode, done.stderr
    assert "driver: " in done.stdout


def test_two_windows_of_a_process_may_close_in_any_order(tiny_world: Path):
    first, second = (
        gym.make("IRASim/World-v0", world=str(tiny_world), render_mode="human") for _ in range(2)
    )
    for env in (first, second):
        env.reset(seed=0)
    second.close()
    first.step(first.action_space.sample())
    second.reset(seed=1)
    first.step(first.action_space.sample())
    first.close()
    second.close()


def test_gymnasiums_own_wrapper_records_a_video(tiny_world: Path, tmp_path: Path):
    pytest.importorskip("moviepy", reason="pip install 'irasim-env[video]'")
    env = gym.make("IRASim/World-v0", world=str(tiny_world), render_mode="rgb_array")
    recorded = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"))
    recorded.reset(seed=0)
    recorded.step(recorded.action_space.sample())
    recorded.close()
    assert [path.name for path in (tmp_path / "videos").glob("*.mp4")] == ["rl-video-episode-0.mp4"]
