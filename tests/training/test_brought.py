"""Environments such as people bring, recorded: taken as they are, or refused with the cure."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from irasim_env import console
from tests import brought_environments
from training.data import record
from training.data.collect import CollectConfig, main
from training.data.episodes import Episode, read_episode
from training.streaming.describe import describe_world


@pytest.fixture(autouse=True)
def environments_are_registered():
    brought_environments.register()


def collect(out: Path, kind: str, **changes) -> Episode:
    defaults = {"env_id": f"brought/{kind}-v0", "out": out, "workers": 0, "episodes": 1}
    main(CollectConfig(**defaults | changes))
    return read_episode(out, "train", "000000")


def truth(kind: str, episode: Episode, actions: list) -> list[np.ndarray]:
    """What the environment itself renders under the recorded actions."""
    env = gym.make(f"brought/{kind}-v0").unwrapped
    env.reset(seed=episode.seed)
    frames: list = [env.render()]
    for action in actions:
        env.step(action)
        frames.append(env.render())
    return frames


PICTURES = ("ChannelsFirst", "Grey", "Flat", "Scaled", "Float255", "Centred", "Deep")


@pytest.mark.parametrize("kind", ["Square", "NoReward", "OneStep", "Truncates", *PICTURES])
def test_pictures_of_every_form_become_the_same_frames(tmp_path: Path, kind: str):
    episode = collect(tmp_path, kind)
    assert episode.frames.shape == (len(episode.actions) + 1, 64, 64, 3)
    np.testing.assert_array_equal(
        episode.frames, np.stack(truth(kind, episode, list(episode.actions)))
    )
    assert not episode.states
    assert len(episode.actions) == (1 if kind == "OneStep" else 12)
    assert episode.terminated[-1] == (kind != "Truncates")


@pytest.mark.parametrize(
    ("kind", "size", "own"),
    [
        ("FourWays", 4, lambda hot: hot.argmax()),
        ("FromOne", 4, lambda hot: hot.argmax() + 1),
        ("TwoWheels", 5, lambda hot: np.array([hot[:3].argmax(), hot[3:].argmax()])),
        ("Buttons", 4, lambda hot: np.array([hot[:2].argmax(), hot[2:].argmax()], np.int8)),
    ],
)
def test_discrete_actions_are_recorded_as_one_hot(tmp_path: Path, kind: str, size: int, own):
    episode = collect(tmp_path, kind)
    assert episode.actions.shape == (12, size)
    assert set(np.unique(episode.actions)) == {0, 1}
    np.testing.assert_array_equal(
        episode.frames, np.stack(truth(kind, episode, [own(hot) for hot in episode.actions]))
    )


@pytest.mark.parametrize(("kind", "size"), [("Boundless", 2), ("OneNumber", 1), ("Table", 2)])
def test_boxes_of_other_forms_are_recorded_flat(tmp_path: Path, kind: str, size: int):
    episode = collect(tmp_path, kind)
    assert episode.actions.shape == (12, size)
    env = gym.make(f"brought/{kind}-v0")
    own = [a.reshape(env.action_space.shape).astype(np.float64) for a in episode.actions]
    np.testing.assert_array_equal(episode.frames, np.stack(truth(kind, episode, own)))


def test_of_two_cameras_one_is_chosen_and_the_other_told(tmp_path: Path, capsys):
    with pytest.raises(
        ValueError, match=r"2 pictures, front, wrist: choose one with --camera NAME, .*render"
    ):
        collect(tmp_path, "TwoCameras")
    episode = collect(tmp_path, "TwoCameras", camera="wrist")
    out = capsys.readouterr().out
    assert "recorded: picture wrist; states state" in out
    assert "left out: front (a picture, 64 x 64 x 3 uint8)" in out
    seen = np.stack(truth("TwoCameras", episode, list(episode.actions)))
    np.testing.assert_array_equal(episode.frames, seen[:, ::-1])
    assert episode.states["state"].shape == (13, 2)
    with pytest.raises(ValueError, match="recorded with camera wrist, asked for is front"):
        collect(tmp_path, "TwoCameras", camera="front")
    with pytest.raises(ValueError, match="no picture 'top'; there are front, wrist, and render"):
        collect(tmp_path / "other", "TwoCameras", camera="top")
    rendered = collect(tmp_path / "rendered", "TwoCameras", camera="render")
    np.testing.assert_array_equal(rendered.frames, seen)


def test_nested_observations_are_recorded_by_their_path(tmp_path: Path, capsys):
    episode = collect(tmp_path, "Nested")
    out = capsys.readouterr().out
    assert "recorded: picture view.front; states pair.0, pair.1, robot.angles, robot.grip" in out
    assert "left out: task (text)" in out
    np.testing.assert_array_equal(episode.states["robot.grip"][:, 0], np.arange(13) % 2)
    np.testing.assert_array_equal(episode.states["pair.1"], np.tile([1, 0, 1], (13, 1)))
    np.testing.assert_allclose(  # a matrix, row by row
        episode.states["pair.0"][:, :2], episode.states["robot.angles"], rtol=1e-6
    )


def test_states_are_chosen_by_name(tmp_path: Path, capsys):
    episode = collect(tmp_path / "one", "Nested", states=("robot.angles",))
    assert list(episode.states) == ["robot.angles"]
    assert "left out: pair.0 (numbers, 2 x 2 float32); pair.1" in capsys.readouterr().out
    assert not collect(tmp_path / "none", "Nested", states=()).states
    with pytest.raises(ValueError, match=r"no numbers 'joints'; there are pair\.0, pair\.1, robot"):
        collect(tmp_path / "other", "Nested", states=("joints",))
    console.run(
        [
            "collect",
            "--env-id",
            "brought/Nested-v0",
            "-o",
            str(tmp_path / "cli"),
            "--episodes",
            "1",
            "--workers",
            "0",
            "--states",
            "robot.grip",
            "pair.1",
        ]
    )
    assert sorted(read_episode(tmp_path / "cli", "train", "000000").states) == [
        "pair.1",
        "robot.grip",
    ]


def test_pictures_are_brought_to_another_size(tmp_path: Path):
    episode = collect(tmp_path, "Odd", height=48, width=64)
    assert episode.frames.shape[1:] == (48, 64, 3)
    assert episode.frames.max() > 200
    with pytest.raises(ValueError, match="recorded with height 48, asked for is nothing"):
        collect(tmp_path, "Odd")
    with pytest.raises(ValueError, match="height 48 and width None: give both or none"):
        CollectConfig(env_id="x", out=tmp_path, height=48)
    rendered = collect(tmp_path / "r", "OnlyRenders", height=32, width=32)
    assert rendered.frames.shape[1:] == (32, 32, 3)
    assert rendered.states["state"].shape == (13, 2)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Alpha", r"shape \(64, 64, 4\), expected a picture .*FrameStack.*TransformObservation"),
        ("Unbounded", r"float32 without bounds .*TransformObservation.*--camera render"),
        ("NamedActions", r"action space is Dict.*TransformAction.*unflatten"),
        ("NoRenderMode", r"cannot be made with the arguments .*render_mode.*--env-kwargs"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_cure(tmp_path: Path, kind: str, message: str):
    with pytest.raises(ValueError, match=rf"brought/{kind}-v0: .*{message}"):
        collect(tmp_path, kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["Alpha", "Unbounded"])
def test_the_cure_of_rendering_works(tmp_path: Path, kind: str):
    assert collect(tmp_path, kind, camera="render").frames.shape == (13, 64, 64, 3)


def test_named_actions_work_with_the_wrapper_of_the_message(tmp_path: Path):
    def flat(**kwargs):
        env = brought_environments.NamedActions(**kwargs)
        space = env.action_space
        return gym.wrappers.TransformAction(
            env, lambda flat: gym.spaces.unflatten(space, flat), gym.spaces.flatten_space(space)
        )

    gym.register("brought/Flattened-v0", entry_point=flat)
    try:
        assert collect(tmp_path, "Flattened").actions.shape == (12, 4)
    finally:
        gym.registry.pop("brought/Flattened-v0")


def test_stacked_frames_are_refused_with_the_cure(tmp_path: Path):
    def stacked(**kwargs):
        return gym.wrappers.FrameStackObservation(brought_environments.Square(**kwargs), 4)

    gym.register("brought/Stacked-v0", entry_point=stacked)
    try:
        with pytest.raises(ValueError, match=r"\(4, 64, 64, 3\).*leave out the wrapper"):
            collect(tmp_path, "Stacked")
    finally:
        gym.registry.pop("brought/Stacked-v0")


def test_an_environment_that_nothing_ends_needs_a_limit(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(record, "ENDLESS", 30)
    with pytest.raises(ValueError, match="not ended after 30 steps; give --max-steps"):
        collect(tmp_path, "Endless")
    assert len(collect(tmp_path, "Endless", max_steps=9).actions) == 9


def test_policies_that_choose_what_there_is_not_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"the policy's action 4 is not in Discrete\(4\)"):
        collect(tmp_path, "FourWays", policy=f"{__name__}:fifth")
    with pytest.raises(ValueError, match=r"the policy's action 1\.0 is not in Discrete\(4\)"):
        collect(tmp_path, "FourWays", policy=f"{__name__}:a_float")


def fifth(env, seed):
    return lambda observation: 4


def a_float(env, seed):
    return lambda observation: 1.0


def described(root: Path, **changes):
    from training.data.clips import ClipStore
    from training.streaming.config import TrainConfig
    from world_model.config import CodecConfig

    config = TrainConfig(data=root, **changes)
    return describe_world(config, ClipStore(root, "train"), CodecConfig())


def test_the_world_is_told_of_discrete_actions_cameras_and_sizes(tmp_path: Path):
    collect(tmp_path / "ways", "FromOne")
    config = described(tmp_path / "ways", states=False)
    assert config.choices is not None
    assert (config.choices.space, config.choices.counts, config.choices.first) == (
        "discrete",
        (4,),
        (1,),
    )
    assert (config.action_low, config.action_high) == ((0,) * 4, (1,) * 4)
    collect(tmp_path / "cameras", "TwoCameras", camera="wrist", height=32, width=32)
    config = described(tmp_path / "cameras")
    assert config.ground_truth is not None
    assert (config.ground_truth.camera, config.ground_truth.resize) == ("wrist", True)


def test_bounds_of_the_numbers_type_bound_nothing(tmp_path: Path):
    collect(tmp_path / "numbers", "OnlyRenders")
    config = described(tmp_path / "numbers")
    assert max(config.observations["state"].high) < 1000
    collect(tmp_path / "actions", "Boundless")
    config = described(tmp_path / "actions", states=False)
    assert 0.1 < config.action_high[0] < 100
    assert config.ground_truth is not None  # the simulator is there all the same


def test_the_error_on_patches_names_those_that_fit(tmp_path: Path):
    collect(tmp_path, "Odd")
    with pytest.raises(
        ValueError,
        match=r"50 x 70 do not divide into tokens of 16 x 16 .*patches that fit are 2, 5, 10 "
        r"\(--patch\), or collect or convert frames of another size \(--height 48 --width 64\)",
    ):
        described(tmp_path, states=False)
    assert described(tmp_path, states=False, patch=10).grid == (5, 7)
