"""The examples, in miniature: a tiny world with true Push-T starts."""

import dataclasses
import runpy
import subprocess
import sys
from pathlib import Path

import av
import cv2
import gymnasium as gym
import numpy as np
import pytest

from irasim_env.ground_truth import GroundTruth
from tests.conftest import TINY_CONFIG
from world_model import Start, Starts, StreamingWorld, WorldModel
from world_model.video import read_video

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def still_world(tmp_path_factory) -> Path:
    """Directory of a world that predicts that nothing moves or ends, with clips of Push-T."""
    truth = GroundTruth(TINY_CONFIG)
    starts = []
    for seed in range(2):
        target = np.full((3, 2), 256, np.float32)
        observations = [truth.env.reset(seed=seed)[0], *(truth.env.step(a)[0] for a in target)]
        frames = np.stack([observation["pixels"] for observation in observations])
        starts.append(Start(frames=frames, actions=target, seed=seed, replay=target))
    truth.close()
    path = tmp_path_factory.mktemp("worlds") / "still"
    world = WorldModel.create(TINY_CONFIG, Starts(starts))
    assert isinstance(world, StreamingWorld)
    for part in (world.head, world.conditioner.trained_first()["reward"]):
        for parameter in part.parameters():
            parameter.data.zero_()
    world.save_pretrained(path)
    return path


def run(name: str, *arguments: object) -> str:
    """Run an example as a user does; what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def test_demo_writes_a_video_for_browsers_a_strip_and_its_figures(still_world, tmp_path):
    printed = run("demo.py", "--world", still_world, "--steps", 20, "--out", tmp_path / "demo")
    assert "steps a second: batch 1, median of 20 steps, 3 network evaluations" in printed
    with av.open(str(tmp_path / "demo/demo.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        num_frames = sum(1 for _ in container.decode(stream))
    assert "start 0: 20 steps; then the episode of the simulator goes on" in printed
    assert num_frames == 21
    strip = cv2.imread(str(tmp_path / "demo/strip.png"))
    assert strip is not None
    # A fresh world predicts that nothing moves, so it is exactly as good as that.
    rows = [line.split() for line in printed.splitlines() if line.startswith(("step ", "all "))]
    assert [row[:2] for row in rows] == [["step", "1"], ["step", "16"], ["all", "steps"]]
    for *_, learned, still, _ in rows:
        assert learned == still


def test_both_begin_with_the_same_frame_and_take_the_same_actions(still_world):
    demo = runpy.run_path(str(EXAMPLES / "demo.py"))
    world = WorldModel.from_pretrained(still_world)
    env = Recorded(gym.make("IRASim/PushT-v0", world=world))
    truth = GroundTruth(world.config)
    rollout = demo["roll_out"](env, truth, world, 1, 6, 0)
    assert (rollout.start, len(rollout.seconds), rollout.ends) == (1, 6, (False, False))
    assert rollout.real.shape == rollout.learned.shape == (7, 96, 96, 3)
    assert np.array_equal(rollout.real[0], rollout.learned[0])

    truth.reset_to(world.starts[1])
    for action, frame in zip(env.actions, rollout.real[1:], strict=True):
        truth.step(action)
        assert np.array_equal(truth.frame, frame)
    assert not np.array_equal(rollout.real[0], rollout.real[-1])
    env.close()
    truth.close()


class Recorded(gym.Wrapper):
    """Keeps the actions that it is given."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.actions = []

    def step(self, action):
        self.actions.append(action)
        return self.env.step(action)


def test_demo_goes_on_with_the_next_start_where_an_episode_ends(still_world, tmp_path, capsys):
    world = WorldModel.from_pretrained(still_world)
    config = dataclasses.replace(world.config, termination_threshold=0.4)  # the head says 0.5
    ending = WorldModel.create(config, world.starts)
    ending.load_state_dict(world.state_dict())
    ending.save_pretrained(tmp_path / "ending")
    demo = runpy.run_path(str(EXAMPLES / "demo.py"))
    demo["main"](demo["DemoConfig"](world=str(tmp_path / "ending"), out=tmp_path, steps=3, start=1))
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("start ")]
    told = "1 steps; then the episode of the simulator goes on, that of the world has ended"
    assert lines == [f"start {start}: {told}" for start in (1, 0, 1)]
    assert len(read_video(tmp_path / "demo.mp4")) == 6


def test_environment_steps(still_world):
    printed = run("environment.py", "--world", still_world, "--steps", 3)
    assert printed.count("frame (96, 96, 3), disc at [") == 3


def test_vector_steps_all(still_world):
    printed = run("vector.py", "--world", still_world, "--num-envs", 3, "--steps", 2)
    assert printed.startswith("3 environments: ")
