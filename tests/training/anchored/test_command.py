"""Training of anchored worlds: on a toy robot whose look is a function of its state."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training.anchored.adversary import Adversary
from training.anchored.command import main
from training.anchored.config import AnchoredTrainConfig
from training.anchored.fit import fit_dynamics, run_freely
from training.anchored.trainer import PainterTrainer, still_loss
from training.command import parse
from training.data.episodes import Episode, write_episode
from training.run.resumable import ResumableTrainer
from world_model import AnchoredWorld, WorldModel
from world_model.anchored.painter import Painted

# What all tests here share is made once.
pytestmark = pytest.mark.xdist_group("anchored_command")

HEIGHT, WIDTH = 32, 64
# So short a run learns motion in most of its time.
LATE = {
    "logarithm_from": 0.6,
    "refine_from": 0.6,
    "sharpen_from": 0.9,
    "still_weight": 0.02,
    "rate": 2e-3,
}


def lagging(targets: np.ndarray, first: np.ndarray) -> np.ndarray:
    """States that go half of the way to a target in each step, (T + 1, S)."""
    states = [first]
    for target in targets:
        states.append(states[-1] + 0.5 * (target - states[-1]))
    return np.stack(states)


def picture(state: np.ndarray) -> np.ndarray:
    """A square on a gradient, where the state says."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[..., 2] = np.arange(WIDTH)
    y, x = (4 + state * (HEIGHT - 12, WIDTH - 12)).astype(int)
    frame[y : y + 6, x : x + 6] = (230, 40, 20)
    return frame


def recorded(seed: int, length: int = 12) -> Episode:
    rng = np.random.default_rng(seed)
    targets = rng.uniform(0, 1, (length // 4, 2)).repeat(4, 0)
    states = lagging(targets, targets[0])  # at rest at first, as robots are
    states[1:] += 0.004 * rng.standard_normal(states[1:].shape)
    return Episode(
        episode_id=str(seed),
        frames=np.stack([picture(state) for state in states]),
        actions=targets.astype(np.float32),
        rewards=states[1:, 0].astype(np.float32),
        terminated=np.zeros(length, bool),
        states={"joints": states},
        fps=10.0,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arm")
    for split, seeds in (("train", range(30)), ("val", range(100, 103))):
        for seed in seeds:
            write_episode(root, split, recorded(seed))
    return root


def config(data: Path, out: Path, **changes) -> AnchoredTrainConfig:
    settings = {
        "data": data,
        "out": out,
        "max_steps": 10,
        "channels": 8,
        "refiner_channels": 8,
        "batch": 4,
        "cpu": True,
        "validate_every": "1h",
        "save_every": "0s",
        "mixed_precision": "no",
    }
    return AnchoredTrainConfig(**{**settings, **changes})


def test_a_law_is_found_again():
    rng = np.random.default_rng(0)
    targets = [rng.uniform(-1, 1, (20, 2)) for _ in range(6)]
    states = [lagging(part[1:], part[0]) for part in targets]
    fitted = fit_dynamics(states, targets, lags=2)
    assert fitted.paired
    assert fitted.error < 0.01
    run = run_freely(fitted.weight, states[0], targets[0], 2)
    np.testing.assert_allclose(run, states[0], atol=1e-2)


def test_states_that_follow_another_action_are_found_too():
    rng = np.random.default_rng(0)
    targets = [rng.uniform(-1, 1, (30, 2)) for _ in range(6)]
    states = [lagging(part[1:, ::-1], part[0]) for part in targets]
    fitted = fit_dynamics(states, targets, lags=2)
    assert not fitted.paired
    assert fitted.error < 0.02


def test_a_robot_at_rest_stays_at_rest(data, tmp_path):
    """Though it is measured a little beside where the law has it; one far off is as measured."""
    from accelerate import Accelerator

    from training.anchored.command import prepare

    trainer, _ = prepare(config(data, tmp_path), Accelerator(cpu=True))
    world, held = trainer.world, np.array([0.5, 0.4], np.float32)
    error = float(world.dynamics.tolerance.min())
    assert 0.01 < error < 0.3
    for off, stays in ((0.2 * error, True), (0.3, False)):
        measured = np.tile(held + off, (1, 4, 1)).astype(np.float32)
        frames = np.tile(picture(held), (1, 4, 1, 1, 1))
        for given in (1, 4):  # frames, so that no action is known, or three
            actions = np.tile(held, (1, given - 1, 1))
            state = world.start(frames[:, :given], actions, [0], {"joints": measured[:, :given]})
            moved = []
            for _ in range(5):
                world.step_(state, held[None])
                moved.append(float((state.now - state.anchor_states).abs().max()))
            assert (max(moved) < 2e-3) is stays, (off, given, moved)


@pytest.mark.slow_suite
def test_it_learns_to_paint(data, tmp_path):
    """A few hundred steps are enough to be nearer than "nothing moves" on episodes never seen."""
    directory = main(config(data, tmp_path, max_steps=300, batch=16, **LATE, save_every="1h"))
    report = json.loads((directory / "train.json").read_text())
    figures = report["validation"]
    assert figures["psnr/4"] > figures["psnr_still/4"] + 0.5
    assert report["dynamics_error"] < 0.06
    world = WorldModel.from_pretrained(directory)
    assert isinstance(world, AnchoredWorld)
    assert len(world.starts) == 3
    state = world.begin([0], [0])
    out = world.step_(state, np.array([[0.5, 0.5]], np.float32))
    begin = world.starts[0].states["joints"][-1]
    expected = begin + 0.5 * (0.5 - begin)
    np.testing.assert_allclose(out.states["joints"][0], expected, atol=0.05)


class KilledError(Exception):
    """What stops a run."""


def test_a_run_that_is_killed_comes_to_the_same_world(data, tmp_path, monkeypatch):
    """In each phase: coarse, refined, and against the discriminator, whose state goes along."""
    settings = {"logarithm_from": 0.2, "refine_from": 0.3, "sharpen_from": 0.6, "max_steps": 8}
    whole = main(config(data, tmp_path / "whole", **settings))
    count: Callable = ResumableTrainer.count_step
    for step in (2, 4, 7):

        def dies(trainer: ResumableTrainer, *rest, step: int = step):
            if trainer.progress.step == step:
                raise KilledError
            return count(trainer, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(ResumableTrainer, "count_step", dies)
            with pytest.raises(KilledError):
                main(config(data, tmp_path / "killed", **settings))
    again = main(config(data, tmp_path / "killed", **settings))
    name = "model.safetensors"
    assert (whole / name).read_bytes() == (again / name).read_bytes()


def test_pairs_are_of_one_episode_and_in_order(data, tmp_path):
    from accelerate import Accelerator

    from training.anchored.command import prepare

    trainer, _ = prepare(config(data, tmp_path, batch=64), Accelerator(cpu=True))
    offsets = torch.as_tensor(trainer.store.offsets)
    anchors, shows = trainer._pairs()
    of = [torch.searchsorted(offsets, index, right=True) for index in (anchors, shows)]
    assert torch.equal(*of)
    assert (anchors <= shows).all()
    firsts = torch.isin(anchors, offsets).float().mean()
    assert 0.4 < firsts < 0.9  # half of three quarters by choice, some by chance
    trainer.progress.step += 1
    assert not torch.equal(trainer._pairs()[1], shows)


def test_stillness_counts_where_nothing_moved():
    anchor = torch.zeros(1, 3, 16, 16)
    true = anchor.clone()
    true[..., 8:] = 1.0
    weights = torch.full((1, 3, 16, 16), 0.25)
    weights[:, 0] = 0.5
    trusted = weights.clone()
    trusted[:, 0, :, :4] = 1.0
    moving = weights.clone()
    moving[:, 0, :, 10:] = 1.0
    before, surer, elsewhere = (
        still_loss(Painted(frame=true, weights=each), true, anchor)
        for each in (weights, trusted, moving)
    )
    assert surer < before
    torch.testing.assert_close(elsewhere, before)


def test_the_discriminator_tells_blur_from_edges():
    torch.manual_seed(0)
    adversary = Adversary(1.0, channels=8, rate=2e-3)
    anchor = torch.zeros(8, 3, 32, 32)
    sharp = torch.rand(8, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    losses = [float(adversary.learn(blurred, sharp, anchor)) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    kept = {name: value.clone() for name, value in adversary.tensors().items()}
    other = Adversary(1.0, channels=8, rate=2e-3)
    other.load(kept)
    assert float(other.learn(blurred, sharp, anchor)) == float(
        adversary.learn(blurred, sharp, anchor)
    )
    for name, value in adversary.tensors().items():
        assert torch.equal(other.tensors()[name], value)


def test_no_second_process(data, tmp_path):
    class Two:
        num_processes = 2

    with pytest.raises(ValueError, match="accelerate launch"):
        PainterTrainer(None, None, config(data, tmp_path), Two())  # type: ignore[arg-type]


def test_bad_settings_are_refused_in_words(data, tmp_path):
    with pytest.raises(ValueError, match="out of order"):
        config(data, tmp_path, refine_from=0.9)
    with pytest.raises(ValueError, match="share"):
        config(data, tmp_path, decay_from=2.0)


def test_the_preset_has_its_own_options():
    parsed = parse(["--preset", "robot_video", "--coarse", "4"])
    assert isinstance(parsed, AnchoredTrainConfig)
    assert parsed.coarse == 4


def test_recordings_without_states_name_another_way(data, tmp_path):
    bare = tmp_path / "bare"
    for split in ("train", "val"):
        episode = recorded(1)
        write_episode(bare, split, Episode(**{**vars(episode), "states": {}}))
    with pytest.raises(ValueError, match="low-dimensional"):
        main(config(bare, tmp_path / "run"))
    assert not os.path.exists(tmp_path / "run/world")
