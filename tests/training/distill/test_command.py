"""Distillation to fewer passes: the whole command in miniature, exact resume, what is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.chunk_worlds import pixel_world
from tests.conftest import randomized, with_states
from tests.training.test_train import (
    SHAPE,
    config_for,
    world_of_other_frames,
    write_moving_square,
)
from training.distill.command import main, prepare
from training.distill.config import DistillConfig
from training.distill.objective import Walk, compare_readings, make_walk_batch
from training.distill.trainer import DistillationTrainer
from training.run.directory import STATE
from training.train import prepare as prepare_training
from world_model import StreamingConfig, StreamingWorld, WorldModel
from world_model.runtime.counter_rng import counted_noise
from world_model.streaming.conditioning import Readout
from world_model.streaming.states.conditioner import StateConditioner
from world_model.streaming.states.config import PlanarConfig
from world_model.streaming.states.planar import Plane


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("squares")
    write_moving_square(root, "train", 6)
    write_moving_square(root, "val", 2, num_steps=9)
    return root


@pytest.fixture(scope="module")
def world(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of the squares' spaces whose random weights make every pass count."""
    path = tmp_path_factory.mktemp("worlds") / "square"
    config = config_for(data, path)
    _, made, _ = prepare_training(config, Accelerator(cpu=True))
    randomized(made).save_pretrained(path)
    return path


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def distill_config(world: Path, data: Path, out: Path, **changes) -> DistillConfig:
    config = DistillConfig(
        world=str(world),
        data=data,
        out=out,
        max_steps=4,
        clip_frames=7,
        batch_clips=4,
        mixed_precision="no",
        warmup=1,
        validation_episodes=2,
        cpu=True,
    )
    return dataclasses.replace(config, **changes)


def losses(trainer: DistillationTrainer, count: int) -> list[tuple[float, float]]:
    steps = [trainer.train_step() for _ in range(count)]
    return [(step["loss/change"], step["loss/reading"]) for step in steps]


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_the_whole_command_writes_a_world_of_fewer_passes(world, data, tmp_path, capsys):
    directory = main(distill_config(world, data, tmp_path, passes=1, validate_every="0s"))
    made, teacher = WorldModel.from_pretrained(directory), WorldModel.from_pretrained(world)
    assert made.config.num_steps == 1
    assert isinstance(teacher, StreamingWorld)
    sampler = dataclasses.replace(teacher.config.sampler, num_steps=1)
    assert made.config == dataclasses.replace(teacher.config, sampler=sampler)
    start = made.starts[0]
    state = made.start(start.frames[None], start.actions[None], [0])
    assert made.step_(state, start.actions[None, 0]).frame.shape == (1, *SHAPE, 3)
    report = json.loads((directory / "train.json").read_text())
    assert report["teacher"] == str(world)
    assert report["config"]["teacher_passes"] == 8
    assert report["trained"]["step"] == 4
    assert report["losses"]["change"] > 0
    assert set(report["validation"]) == {"student", "teacher"}
    assert list((tmp_path / "logs").rglob("events.*"))
    assert "irasim bench passes" in capsys.readouterr().out


@pytest.mark.slow_suite
@pytest.mark.parametrize("passes", [1, 2])
def test_the_student_comes_nearer_to_its_teacher(world, data, tmp_path, accelerator, passes):
    config = distill_config(
        world, data, tmp_path, passes=passes, max_steps=20, rate=1e-4, warmup=10, ema=0.5
    )
    trainer, student, _ = prepare(config, accelerator)
    samples = torch.arange(1000, 1012)  # none that it trains on
    clips = trainer.store.sample(0, samples, config.clip_frames)
    batch = make_walk_batch(student, clips, 0, samples, config.start_frames)
    with torch.no_grad():
        before = trainer.objective(batch).change
    losses(trainer, 20)
    trainer.swap_average()  # what is kept
    with torch.no_grad():
        after = trainer.objective(batch).change
    assert before > 0  # fewer passes of the same weights do not end at the same place
    assert after < 0.5 * before


def test_as_many_passes_of_the_same_weights_are_the_teacher(world, data, tmp_path, accelerator):
    config = distill_config(world, data, tmp_path, passes=8)
    trainer, _, _ = prepare(config, accelerator)
    assert losses(trainer, 1) == [(0.0, 0.0)]


@pytest.mark.parametrize("radii", [(), (8.0,)])
def test_a_walk_is_the_world_stepping(world, data, tmp_path, accelerator, radii):
    """Left to itself, a walk makes the frames, readings and rings that `advance` does."""
    config = distill_config(world, data, tmp_path)
    trainer, student, _ = prepare(config, accelerator)
    planar = PlanarConfig(points=("place",) if radii else (), mask_radii=radii)
    student.config = with_states(student.config, planar=planar)
    conditioner = student.conditioner
    assert isinstance(conditioner, StateConditioner)
    conditioner.config, conditioner.plane = student.config, Plane(student.config)
    samples = torch.arange(3)
    clips = trainer.store.sample(0, samples, 7)
    batch = make_walk_batch(student, clips, 0, samples, 4)
    seeds = torch.tensor([5, 6, 7])
    state = student.start(clips.frames[:, :4], clips.actions[:, 1:4], seeds)
    walk = Walk(student, batch)
    actions = student.scale_actions(clips.actions)
    with torch.no_grad():
        for t in (4, 5, 6):
            noise = counted_noise(seeds, state.steps, student.config.latent_shape)
            change = walk.draw(actions[:, t], student.config.sampler.noise_scale * noise)
            walk.remember(walk.settled(change))
            theirs = student.advance(state, clips.actions[:, t])
            torch.testing.assert_close(walk.state.latents, state.latents)
            torch.testing.assert_close(walk.read.rewards, theirs.rewards)
            torch.testing.assert_close(walk.read.states, theirs.states)
    # The world remembers a frame with its next step: all but the newest slot are equal by now.
    newest = state.ring.index[:, None] == torch.arange(state.ring.num_slots)
    past = ~newest[None, :, :, None, None, None]
    torch.testing.assert_close(walk.state.ring.keys * past, state.ring.keys * past)
    assert torch.equal(walk.state.ring.index, state.ring.index)
    torch.testing.assert_close(walk.state.before, state.before)
    torch.testing.assert_close(walk.state.memory, state.memory)


def test_noise_and_depth_do_not_depend_on_the_batch(world, data, tmp_path, accelerator):
    trainer, student, _ = prepare(distill_config(world, data, tmp_path), accelerator)

    def batch(*samples: int):
        numbers = torch.tensor(samples)
        clips = trainer.store.sample(3, numbers, 7)
        return make_walk_batch(student, clips, 3, numbers, 4)

    many, one = batch(*range(40)), batch(17)
    assert torch.equal(many.noise[17], one.noise[0])
    assert torch.equal(many.latents[17], one.latents[0])
    assert many.own_from[17] == one.own_from[0]
    assert many.own_from.unique().tolist() == [4, 5, 6, 7]


def test_the_past_becomes_the_students_own(world, data, tmp_path, accelerator):
    """Truth shown after `own_from` changes nothing; before it, it does."""
    trainer, student, _ = prepare(distill_config(world, data, tmp_path), accelerator)
    samples = torch.arange(2)
    clips = trainer.store.sample(0, samples, 7)
    batch = make_walk_batch(student, clips, 0, samples, 4)
    altered = batch.latents.clone()
    altered[:, 4:] = -altered[:, 4:]
    for own_from, same in ((4, True), (6, False)):
        kept = [
            dataclasses.replace(batch, latents=x, own_from=torch.full_like(samples, own_from))
            for x in (batch.latents, altered)
        ]
        with torch.no_grad():
            first, second = (trainer.objective(x).change for x in kept)
        assert torch.equal(first, second) == same


def test_half_precision_differs_by_rounding(world, data, tmp_path, accelerator):
    trainer, student, _ = prepare(distill_config(world, data, tmp_path), accelerator)
    samples = torch.arange(4)
    batch = make_walk_batch(student, trainer.store.sample(0, samples, 7), 0, samples, 4)
    exact = trainer.objective(batch).total
    with torch.autocast("cpu", torch.bfloat16):
        rounded = trainer.objective(batch).total
    rounded.backward()
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.0)


def test_accumulation_does_not_change_the_loss(world, data, tmp_path, accelerator):
    whole, _, _ = prepare(distill_config(world, data, tmp_path), accelerator)
    config = distill_config(world, data, tmp_path, accumulation=2)
    parts, _, _ = prepare(config, Accelerator(cpu=True))
    np.testing.assert_allclose(losses(whole, 3), losses(parts, 3), rtol=1e-3)


@pytest.mark.slow_suite
def test_a_resumed_run_continues_as_if_it_had_not_stopped(world, data, tmp_path, accelerator):
    config = distill_config(world, data, tmp_path)
    trainer, _, teacher = prepare(config, accelerator)
    before = [parameter.clone() for parameter in teacher.parameters()]
    losses(trainer, 2)
    trainer.save_state(tmp_path / STATE)
    expected = losses(trainer, 2)
    again, _, _ = prepare(config, Accelerator(cpu=True))
    assert again.progress.step == 2
    assert losses(again, 2) == expected
    for a, b in zip(trainer.average, again.average, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(before, teacher.parameters(), strict=True):
        assert torch.equal(a, b)


def test_readings_are_compared_by_their_differences(world):
    config = WorldModel.from_pretrained(world).config
    assert isinstance(config, StreamingConfig)
    rewards = torch.tensor([[0.5, -2.0], [0.5, 1.0]])  # the reward, and the logit of the end
    read = Readout(rewards=rewards, states=torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    zero = compare_readings(read, read, config)
    assert zero.tolist() == [0.0, 0.0]
    for name in ("rewards", "states"):
        for component in (0, 1):
            other = getattr(read, name).clone()
            other[1, component] += 0.3
            loss = compare_readings(dataclasses.replace(read, **{name: other}), read, config)
            assert loss[0] == 0, name
            assert loss[1] > 0, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passes": 0}, "passes is 0, expected 1 to teacher_passes, 8"),
        ({"passes": 9}, "at most as many as its teacher"),
        ({"start_frames": 7}, "some frames are given"),
        ({"accumulation": 3}, "does not divide"),
        ({"budget": "soon"}, "write 90s, 20min"),
    ],
)
def test_wrong_configs_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        distill_config(tmp_path, tmp_path, tmp_path, **changes)


def test_other_worlds_are_refused(data, tmp_path, accelerator):
    other = world_of_other_frames(tmp_path / "other")
    with pytest.raises(ValueError, match="96 x 96, 2 action components"):
        prepare(distill_config(other, data, tmp_path), accelerator)
    chunk = tmp_path / "chunk"
    pixel_world().save_pretrained(chunk)
    with pytest.raises(ValueError, match="expected a streaming one"):
        prepare(distill_config(chunk, data, tmp_path), accelerator)
