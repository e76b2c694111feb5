"""Worlds that draw over a proxy, from labels to steps; and clips in which a body was not found."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from tests.conftest import TINY_CONFIG, with_planar, with_states
from tests.training.data.labels.synthetic import SIZE
from training.data.clips import ClipStore, labelled
from training.data.episodes import Episode, read_episode, write_episode
from training.data.labels.command import main as label
from training.data.labels.config import LabelConfig
from training.data.labels.scene import Scene
from training.data.labels.scene_file import load_scene, save_scene
from training.streaming import sprites
from training.streaming.config import TrainConfig
from training.streaming.objective import make_batch, scaled_states
from training.streaming.sprites import fit_sprites
from training.streaming.symmetries import mirror_axis, symmetries_of
from training.train import prepare, run_head
from world_model import StreamingWorld, WorldModel
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.streaming.states.conditioner import StateConditioner
from world_model.streaming.states.config import PlanarConfig, ProxyConfig
from world_model.streaming.states.proxy import Proxy

# What all tests here share is made once.
pytestmark = pytest.mark.xdist_group("labels")

NAMES = ("corner", "box")
KIND = {"hidden": NAMES, "poses": NAMES}


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, new_episodes: list[Episode], scene: Scene
) -> Path:
    """Labelled with a scene that is there, as `irasim label` goes on."""
    root = tmp_path_factory.mktemp("labelled")
    for number, episode in enumerate(new_episodes):
        write_episode(root, "train" if number < 3 else "val", episode)
    like = tmp_path_factory.mktemp("like")
    save_scene(like / "labels", scene, NAMES)
    label(LabelConfig(data=root, like=like))
    return root


def config_for(data: Path, out: Path, **other) -> TrainConfig:
    settings = {
        "data": data,
        "out": out,
        "points": ("action",),
        "frame_edges": (0.0, 0.0, float(SIZE), float(SIZE)),
        "proxy": True,
        "width": 32,
        "depth": 2,
        "num_heads": 2,
        "batch_clips": 4,
        "mixed_precision": "no",
        "max_steps": 1,
        "validation_episodes": 1,
    }
    return TrainConfig(**(settings | KIND | other))


@pytest.fixture(scope="module")
def trainer(data: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sprites, "STEPS", 30)
        return prepare(config_for(data, out, mask_radii=(5.0, 5.0)), Accelerator(cpu=True))[0]


def proxy_of(world: StreamingWorld) -> Proxy:
    assert isinstance(world.conditioner, StateConditioner)
    proxy = world.conditioner.proxy
    assert proxy is not None
    return proxy


def test_a_proxy_at_labelled_states_shows_the_recorded_frames(trainer):
    """Noise of the camera is 1.5 grey levels."""
    store, world = trainer.store, trainer.world
    scaled = scaled_states(world, store.states)
    states = torch.cat([scaled[name] for name in world.config.tracked], dim=-1)
    with torch.no_grad():
        shown = pixels_to_frames(proxy_of(world)(states))
    error = (shown.float() - store.frames.float())[store.known].square().mean().sqrt()
    still = (store.frames[:-1].float() - store.frames[1:].float()).square().mean().sqrt()
    assert error < 3 < still
    assert world.config.required_states.planar.mask_radii == ()


def test_a_fresh_world_shows_the_proxy_of_the_states_that_it_predicts(trainer):
    store, world = trainer.store, trainer.world
    state = world.start(store.frames[None, :2], store.actions[None, 1:2], [0])
    output = world.step_(state, store.actions[None, 2])
    expected = proxy_of(world)(state.memory["states"][:, 1])
    assert torch.equal(output.frame, pixels_to_frames(expected))
    assert torch.equal(state.before, expected)


def test_a_drawn_frame_is_the_proxy_and_the_change_over_it(trainer, tmp_path):
    world = trainer.world
    world.save_pretrained(tmp_path)
    again = WorldModel.from_pretrained(tmp_path)
    assert isinstance(again, StreamingWorld)
    again.denoiser.to_change.bias.data.fill_(0.1)
    again.weights_changed()
    store = trainer.store
    clip = store.frames[None, :2], store.actions[None, 1:2], [0]
    for tested in (world, again):
        state = tested.start(*clip)
        tested.step_(state, store.actions[None, 2])
        change = state.latents - state.before
        middle = change[state.before.abs() < 0.8]
        torch.testing.assert_close(middle, torch.full_like(middle, 0.1 * (tested is again)))


def test_the_objective_draws_over_the_proxy(trainer):
    world, objective = trainer.world, trainer.objective
    samples = torch.arange(4)
    clips = trainer.store.sample(0, samples, 7)
    batch = make_batch(world, clips, 0, samples, 0)
    conditioning = objective.conditioning(batch, batch.wanted)
    base, inputs = objective.drawn_over(batch, conditioning)
    assert torch.equal(base, proxy_of(world)(batch.wanted))
    assert inputs is batch.inputs
    error, _ = objective.errors(batch)
    still = (base - frames_to_pixels(clips.frames)).square().flatten(2).mean(-1)
    torch.testing.assert_close(error, still)  # fresh weights draw nothing over it
    deep = dataclasses.replace(batch, rounds=torch.tensor([0, 1, 2, 3]))
    _, inputs = objective.drawn_over(deep, conditioning)
    assert torch.equal(inputs[0], batch.latents[0])
    assert torch.equal(inputs[1:, 1:], base[1:, 1:])
    assert torch.equal(inputs[1:, 0], batch.latents[1:, 0])


def test_a_proxy_of_what_is_not_labelled_is_refused_with_the_cure(data, tmp_path):
    scene, _ = load_scene(data / "labels")
    other = tmp_path / "other"
    episode = read_episode(data, "train", "000020")
    for split in ("train", "val"):
        write_episode(other, split, episode)
    with pytest.raises(ValueError, match="label that data set first"):
        prepare(config_for(other, tmp_path / "a"), Accelerator(cpu=True))
    save_scene(other / "labels", scene, ("bracket", "box"))
    with pytest.raises(ValueError, match="--poses bracket box"):
        prepare(config_for(other, tmp_path / "b"), Accelerator(cpu=True))
    with pytest.raises(ValueError, match="name them by --hidden and --poses"):
        config_for(data, tmp_path, hidden=(), poses=())
    with pytest.raises(ValueError, match="pixels"):
        config_for(data, tmp_path, codec="autoencoder_tiny")


@pytest.mark.parametrize(
    ("proxy", "planar", "message"),
    [
        ({"body_cells": (9,)}, {}, "one for each of the poses"),
        ({"robot_cells": (9,), "cell": -1.0}, {}, "cell"),
        ({"robot_cells": (1,)}, {}, "1 cells, expected 2"),
        ({"robot_cells": (9,) * 65}, {}, "at most 64"),
        ({"robot_cells": (9,)}, {"mask_radii": (3.0,), "points": ("place",)}, "mask_radii"),
    ],
)
def test_a_proxy_that_cannot_be_is_refused(proxy, planar, message):
    with pytest.raises(ValueError, match=message):
        ProxyConfig(**proxy).check(PlanarConfig(**planar), 1)


def test_frames_in_which_a_body_was_not_found_do_not_count(data, tmp_path):
    episode = read_episode(data, "train", "000020")
    hidden = {name: values.copy() for name, values in episode.hidden.items()}
    hidden["box_labelled"][5:8] = 0
    for split in ("train", "val"):
        write_episode(tmp_path, split, dataclasses.replace(episode, hidden=hidden))
    store = ClipStore(tmp_path, "train", **KIND)
    expected = labelled(episode, NAMES)
    expected[5:8] = False
    assert np.array_equal(store.known.numpy(), expected)
    assert not np.isin([5, 6, 7], store.clip_starts).any()
    _, valid, _ = store.window(torch.tensor([3]), 7)
    assert valid[0].tolist() == expected[3:10].tolist()
    assert ClipStore(tmp_path, "train", hidden=("corner",)).known[5:8].all()
    hidden["box_labelled"][:] = 0
    write_episode(tmp_path, "train", dataclasses.replace(episode, hidden=hidden))
    with pytest.raises(ValueError, match=r"labels/sheet\.png"):
        ClipStore(tmp_path, "train", **KIND)


def test_symmetries_need_a_plane_that_holds_all_states(trainer):
    assert mirror_axis(trainer.world.conditioner, 0) is None  # the bracket has no mirror image
    with pytest.raises(ValueError, match="joints"):
        symmetries_of(trainer.world.conditioner)


def test_symmetries_turn_places_directions_and_actions_alike():
    config = with_states(TINY_CONFIG, proxy=ProxyConfig(body_cells=(9,)))
    conditioner = StateConditioner(config)
    assert conditioner.proxy is not None
    sprite = conditioner.proxy.bodies[0]
    sprite[:, 3:6, 1:5] = 1  # the same on both sides of its x axis, not of the one across
    symmetries = symmetries_of(conditioner)
    assert len(symmetries) == 8 and mirror_axis(conditioner, 0) == 0
    states = torch.tensor([[0.3, -0.2, 0.5, 0.1, 0.6, 0.8]])
    plain = conditioner.proxy(states)
    turned = conditioner.proxy(states @ symmetries.states[1].T)
    torch.testing.assert_close(turned, plain.rot90(-1, (-2, -1)))
    mirrored = conditioner.proxy(states @ symmetries.states[4].T)
    torch.testing.assert_close(mirrored, plain.flip(-2))
    action = torch.tensor([0.5, 0.1])
    assert torch.equal(symmetries.actions[1] @ action, symmetries.states[1][2:4, 2:4] @ action)
    sprite[:, :3] = sprite[:, 3:6].flip(-1)
    assert len(symmetries_of(conditioner)) == 4  # none of its mirror images is a turn of its own
    world = with_states(config, planar=PlanarConfig(), proxy=ProxyConfig())
    with pytest.raises(ValueError, match="--symmetric needs a plane"):
        symmetries_of(StateConditioner(world))


def test_a_body_may_look_the_same_on_both_sides_of_any_line_through_it():
    config = with_states(TINY_CONFIG, proxy=ProxyConfig(body_cells=(33,)))
    config = with_planar(config, symmetries=(4,))
    conditioner = StateConditioner(config)
    assert conditioner.proxy is not None
    y, x = np.mgrid[-16:17, -16:17]
    cos, sin = np.cos(0.4), np.sin(0.4)
    along, aside = cos * x + sin * y, cos * y - sin * x  # a cross whose arms lie askew
    inside = (abs(along) < 13) & (abs(aside) < 4) | (abs(aside) < 13) & (abs(along) < 4)
    conditioner.proxy.bodies[0][:] = torch.from_numpy(inside).float()
    axis = mirror_axis(conditioner, 0)
    assert axis is not None
    assert (axis - 0.4 + np.pi / 8) % (np.pi / 4) == pytest.approx(np.pi / 8, abs=0.03)
    symmetries = symmetries_of(conditioner)
    assert len(symmetries) == 8
    states = torch.tensor([[0.3, -0.2, 0.2, 0.1, np.cos(0.9), np.sin(0.9)]]).float()
    plain = conditioner.proxy(states)
    mirrored = conditioner.proxy(states @ symmetries.states[4].T)
    assert (mirrored - plain.flip(-2)).abs().mean() < 0.1 * (plain - plain.flip(-2)).abs().mean()


def test_an_action_that_moves_a_point_is_mirrored_as_the_move_is():
    conditioner = StateConditioner(with_planar(TINY_CONFIG, action=False))
    with pytest.raises(ValueError, match="one that moves 'agent_pos'"):
        symmetries_of(conditioner)  # no law is fitted: nothing is known of what an action does
    part = conditioner.plane.points[0]
    law = torch.tensor([[0.0, 0.2], [-0.1, 0.0]])  # its first component moves the point up
    conditioner.dynamics.weight.data[part, :2] = law
    for states, actions in zip(*vars(symmetries_of(conditioner)).values(), strict=True):
        torch.testing.assert_close(law @ actions, states[part, part] @ law)


@pytest.mark.parametrize(("order", "turns"), [(1, 0.25), (4, 1.0), (0, 0.0), (3, 0.75)])
def test_a_body_that_looks_the_same_in_several_directions_turns_by_so_many_angles(order, turns):
    """Its state's direction is that of so many times its angle."""
    symmetries = symmetries_of(StateConditioner(with_planar(TINY_CONFIG, symmetries=(order,))))
    assert len(symmetries) == 4
    angle = 0.3 * order
    before = torch.tensor([0.0, 0.0, 0.1, 0.2, np.cos(angle), np.sin(angle)]).float()
    angle += 2 * np.pi * turns
    after = torch.tensor([0.0, 0.0, -0.2, 0.1, np.cos(angle), np.sin(angle)]).float()
    torch.testing.assert_close(symmetries.states[1] @ before, after)


def test_the_head_learns_nothing_of_what_the_states_said_already(trainer):
    """A frame over a proxy is drawn from the predicted states; what is read off it is not news."""
    assert not trainer.world.conditioner.head_learns
    before = [parameter.clone() for parameter in trainer.world.head.parameters()]
    losses = trainer.objective(
        make_batch(
            trainer.world,
            trainer.store.sample(0, torch.arange(2), 7),
            0,
            torch.arange(2),
            0,
        )
    )
    assert losses.head == 0 < losses.denoiser
    assert run_head(trainer, trainer.world, trainer.config) == 0
    after = list(trainer.world.head.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_sprites_that_are_soft_are_sharpened(trainer):
    """As those are that labels average; everything else stays as it is."""
    store, world = trainer.store, trainer.world
    proxy = copy.deepcopy(proxy_of(world))
    scaled = scaled_states(world, store.states)
    states = torch.cat([scaled[name] for name in world.config.tracked], dim=-1)
    sharp = [sprite.clone() for sprite in proxy.bodies]
    for sprite in proxy.bodies:
        sprite.copy_(F.avg_pool2d(sprite[None], 9, stride=1, padding=4)[0])
    soft = [sprite.clone() for sprite in proxy.bodies]
    rest = {n: b.clone() for n, b in proxy.state_dict().items() if "sprite" not in n}
    before, after = fit_sprites(world, proxy, store, states, seed=0)
    assert after < 0.7 * before  # the camera's noise alone is 0.0094
    for found, as_it_was, blurred in zip(proxy.bodies, sharp, soft, strict=True):
        assert not found.requires_grad
        assert (found[3] >= 0).all() and (found[3] <= 1).all()
        error, other = ((x[3] - as_it_was[3]).abs().mean() for x in (found, blurred))
        assert error < other
    assert all(torch.equal(rest[n], proxy.state_dict()[n]) for n in rest)
