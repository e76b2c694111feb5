"""The states' own phase: dynamics, state estimator and reward model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from tests.training.test_train import config_for, write_moving_square
from training.data.clips import ClipStore, episode_states
from training.data.episodes import read_episode
from training.run.directory import STATES, write_config
from training.streaming import states
from training.streaming.objective import scaled_states
from training.streaming.states import train_states
from training.train import main, prepare
from world_model import WorldModel

KIND = {"hidden": ("pose",), "poses": ("pose",)}
POSE = KIND | {"points": ("place",), "frame_edges": (0.0, 0.0, 48.0, 48.0)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("squares")
    write_moving_square(root, "train", 12)
    write_moving_square(root, "val", 2, num_steps=9)
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("CLIPS", 32), ("FRAMES", 16), ("REWARDED", 64)):
        monkeypatch.setattr(states, name, count)


def test_poses_are_kept_as_places_and_directions(data):
    episode = read_episode(data, "train", "000003")
    found = episode_states(episode, ("pose",), ("pose",))
    assert list(found) == ["place", "pose"]
    angle = episode.hidden["pose"][:, 2]
    np.testing.assert_allclose(found["pose"][:, :2], episode.states["place"])
    np.testing.assert_allclose(np.arctan2(found["pose"][:, 3], found["pose"][:, 2]), angle)


def test_the_direction_of_a_symmetric_body_is_that_of_as_many_times_its_angle(data):
    episode = read_episode(data, "train", "000003")
    found = episode_states(episode, ("pose",), ("pose",), (4,))["pose"]
    np.testing.assert_allclose(found[:, 2], np.cos(4 * episode.hidden["pose"][:, 2]))
    turned = dataclasses.replace(
        episode, hidden={"pose": episode.hidden["pose"] + [0, 0, np.pi / 2]}
    )
    np.testing.assert_allclose(
        episode_states(turned, ("pose",), ("pose",), (4,))["pose"], found, atol=1e-6
    )


def test_hidden_states_that_were_not_recorded_are_named_with_the_cure(data):
    with pytest.raises(
        ValueError, match=r"no hidden 'mass' \(it has pose\).*collect --hidden mass"
    ):
        ClipStore(data, "train", hidden=("mass",))
    episode = read_episode(data, "train", "000003")
    short = dataclasses.replace(episode, hidden={"pose": episode.hidden["pose"][:, :2]})
    with pytest.raises(ValueError, match="pose 'pose' has 2 numbers, expected x, y and an angle"):
        episode_states(short, ("pose",), ("pose",))


def test_clips_begin_more_often_where_hidden_states_move(data):
    plain, store = ClipStore(data, "train"), ClipStore(data, "train", hidden=("pose",))
    assert len(store.clip_starts) > len(plain.clip_starts)
    assert torch.equal(store.clip_starts.unique(), plain.clip_starts)
    # An episode's last frames have nothing after them that could move.
    assert store.window(torch.tensor([store.offsets[1] - 2]), 4)[1].tolist() == [
        [True, True, False, False]
    ]


@pytest.mark.slow_suite
@pytest.mark.usefixtures("small")
def test_states_are_predicted_estimated_and_rewarded_after_the_phase(data, tmp_path):
    config, accelerator = config_for(data, tmp_path, **POSE, max_steps=1), Accelerator(cpu=True)
    _, world, _ = prepare(config, accelerator)
    store = ClipStore(data, "val", **KIND)
    begins = torch.arange(1, 8)
    truth = scaled_states(world, store.states)
    truth = torch.cat([truth[name] for name in world.config.tracked], dim=-1)
    actions = world.scale_actions(store.actions)

    def errors() -> tuple[float, ...]:
        controls = torch.cat(
            (
                actions[begins + 1],
                truth[begins],
                5 * (truth[begins] - truth[begins - 1]),
                actions[begins],
            ),
            dim=-1,
        )
        with torch.no_grad():
            guess = world.conditioner.dynamics(controls)
            latents = world.codec.encode(
                store.frames[begins].permute(0, 3, 1, 2).float() / 127.5 - 1
            )
            estimator = world.conditioner.estimator
            read = estimator(latents)[:, :2]  # its place is what can be seen
            found = estimator.estimates(latents).places
            reward = world.conditioner.reward(truth[begins], truth[begins - 1])[:, 0]
        return (
            float((guess - truth[begins + 1]).abs().mean()),
            float((read - truth[begins, :2]).abs().mean()),
            float((reward - store.rewards[begins]).abs().mean()),
            float((found - estimator.places_in_picture(truth[begins])).abs().mean()),
        )

    before = errors()
    longer = dataclasses.replace(config, max_steps=250)
    train_states(world, ClipStore(data, "train", **KIND), longer, accelerator)
    after = errors()
    assert after[0] < 0.35 * before[0], (before, after)
    assert after[1] < 0.35 * before[1], (before, after)
    assert after[3] < 0.35 * before[3], (before, after)


@pytest.mark.usefixtures("small")
def test_a_world_with_hidden_states_predicts_them_and_shows_none(data, tmp_path):
    directory = main(config_for(data, tmp_path, **POSE))
    world = WorldModel.from_pretrained(directory)
    assert list(world.config.observations) == ["place"]
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    out = world.step_(state, start.actions[None, 0])
    assert out.states["pose"].shape == (1, 4)
    torch.testing.assert_close(out.states["pose"][:, 2:].norm(dim=1), torch.ones(1))


@pytest.mark.usefixtures("small")
def test_a_resumed_run_takes_the_states_of_its_first_part(data, tmp_path, monkeypatch):
    config = config_for(data, tmp_path, **POSE)
    _, world, _ = prepare(config, Accelerator(cpu=True))
    monkeypatch.setattr(states, "train_states", lambda *_: pytest.fail("trained again"))
    _, again, _ = prepare(config, Accelerator(cpu=True))
    for name, module in world.conditioner.trained_first().items():
        for a, b in zip(
            module.parameters(), again.conditioner.trained_first()[name].parameters(), strict=True
        ):
            assert torch.equal(a, b), name
    kept = load_file(config.out / STATES)
    save_file({k: v for k, v in kept.items() if "refiners" not in k}, config.out / STATES)
    with pytest.raises(ValueError, match="delete it to train that phase anew"):
        prepare(config, Accelerator(cpu=True))


@pytest.mark.usefixtures("small")
def test_the_denoisers_phase_leaves_them_as_they_are(data, tmp_path):
    trainer, world, _ = prepare(config_for(data, tmp_path, **POSE), Accelerator(cpu=True))
    before = [p.clone() for m in world.conditioner.trained_first().values() for p in m.parameters()]
    for _ in range(3):
        trainer.train_step()
    after = [p for m in world.conditioner.trained_first().values() for p in m.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": ("pose",)}, "are not among hidden"),
        ({"hidden": ("pose",), "poses": ("pose",)}, "poses need points"),
        ({"states_share": 0.0}, "expected more than 0"),
        ({"states": False, "hidden": ("pose",)}, "--no-states makes .* leave out --hidden"),
        ({"states": False, "points": ("place",)}, "--no-states makes .* leave out --hidden"),
    ],
)
def test_wrong_configs_are_refused(data, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        config_for(data, tmp_path, **changes)


def test_points_need_edges_and_must_be_observed(data, tmp_path):
    config = config_for(data, tmp_path, **POSE)
    with pytest.raises(ValueError, match="--points speed: no such observation; there are place"):
        prepare(dataclasses.replace(config, points=("speed",)), Accelerator(cpu=True))
    with pytest.raises(ValueError, match="say --frame-edges LEFT TOP RIGHT BOTTOM"):
        prepare(dataclasses.replace(config, frame_edges=None), Accelerator(cpu=True))


def test_a_hidden_state_must_not_be_observed_as_well(data):
    episode = read_episode(data, "train", "000003")
    twice = dataclasses.replace(episode, hidden={"place": episode.states["place"]})
    with pytest.raises(ValueError, match="'place' is observed and hidden"):
        episode_states(twice, ("place",), ())


def test_another_run_is_refused_as_soon_as_its_states_are_trained(data, tmp_path):
    config = config_for(data, tmp_path, **POSE)
    write_config(config, tmp_path, set())
    (tmp_path / STATES).touch()
    with pytest.raises(SystemExit, match="another seed"):
        write_config(dataclasses.replace(config, seed=5), tmp_path, set())


def test_a_body_that_is_not_pushed_stays_exactly_where_it_is(data, tmp_path):
    """Where the network says that nothing moves, what else it says does not count."""
    _, world, _ = prepare(config_for(data, tmp_path, **POSE), Accelerator(cpu=True))
    dynamics = world.conditioner.dynamics
    controls = torch.rand(16, world.config.control_dim)
    pose = controls[:, 4:8]  # action, place, pose
    with torch.no_grad():
        said = dynamics.interactions.together[-1]
        said.bias.copy_(torch.tensor([0.5, 0.5, 0.5, -9.0]))
        assert torch.equal(dynamics(controls)[:, 2:], pose)
        said.bias[-1] = 9.0
        assert (dynamics(controls)[:, 2:4] != pose[:, :2]).all()
