"""The anchored painter's study, on toy recordings made here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiments.adversary import Adversary
from benchmarks.experiments.anchored_painter import AnchoredPainter
from benchmarks.experiments.anchored_video import AnchoredConfig, main
from benchmarks.experiments.joint_response import JointResponse
from training.data.episodes import Episode, write_episode


def follow(targets: np.ndarray) -> np.ndarray:
    """Joints that go a third of the way to their last target but one at each frame."""
    joints = np.zeros_like(targets)
    joints[0] = targets[1]
    for t in range(1, len(targets)):
        joints[t] = joints[t - 1] + (targets[max(t - 1, 1)] - joints[t - 1]) / 3
    return joints


def wander(rng: np.random.Generator, length: int = 30) -> np.ndarray:
    """Targets (length, 2) that jump now and then; the first means nothing."""
    return np.repeat(rng.uniform(0.2, 0.8, (-(-length // 6), 2)), 6, axis=0)[:length]


def picture(joints: np.ndarray) -> np.ndarray:
    """A bright square of 8 pixels at the joints' place, uint8 (32, 32, 3)."""
    frame = np.full((32, 32, 3), 40, np.uint8)
    down, across = (joints * 24).round().astype(int)
    frame[down : down + 8, across : across + 8] = 220
    return frame


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            targets = wander(rng)
            joints = follow(targets)
            episode = Episode(
                episode_id=f"{number:04d}",
                frames=np.stack([picture(q) for q in joints]),
                actions=targets[1:].astype(np.float32),
                rewards=np.zeros(len(targets) - 1),
                terminated=np.zeros(len(targets) - 1, bool),
                states={"state": joints},
                seed=0,
                env_id="toy",
                policy="toy",
                fps=10.0,
            )
            write_episode(tmp_path / "data", split, episode)
    return tmp_path / "data"


def test_joint_response_runs_freely_as_the_joints_went():
    rng = np.random.default_rng(1)
    targets = [wander(rng, 60) for _ in range(8)]
    response = JointResponse([follow(u) for u in targets[:6]], targets[:6])
    for unseen in targets[6:]:
        assert np.abs(response.run(unseen) - follow(unseen)).max() < 0.02
        assert np.abs(follow(unseen)[0] - follow(unseen)).max() > 0.2  # they do move


def test_joint_response_wants_a_target_for_each_joint():
    with pytest.raises(ValueError, match="3 joints and actions of 2 numbers"):
        JointResponse([np.zeros((9, 3))], [np.zeros((9, 2))])


def test_painter_shows_its_anchor_before_it_has_learned():
    torch.manual_seed(0)
    painter = AnchoredPainter(joints=2, height=32, width=48, channels=8)
    anchor = torch.rand(2, 3, 32, 48) * 2 - 1
    shown = painter(anchor, torch.randn(2, 2), torch.randn(2, 2))
    assert shown.shape == anchor.shape
    assert (shown - anchor).abs().mean() < 0.1 * anchor.abs().mean()


def test_painter_wants_pictures_that_divide():
    with pytest.raises(ValueError, match="90 x 128, expected multiples of 16"):
        AnchoredPainter(joints=2, height=90, width=128)


@pytest.mark.slow_suite
def test_a_run_learns_to_follow_the_actions(recordings: Path, tmp_path: Path):
    config = AnchoredConfig(
        data=recordings, out=tmp_path / "run", max_steps=200, channels=8, rate=3e-3
    )
    report = main(config)
    assert list(report["train"]) == ["1", "2", "4", "8", "16"]  # episodes have 30 frames
    last = report["train"]["16"]
    assert last["psnr"] > last["psnr_still"] + 1
    assert last["psnr"] > last["psnr_other_actions"] + 1
    assert sorted(p.name for p in config.out.iterdir()) == ["painter.pt", "scores.json"]


def test_adversary_learns_what_blur_is_and_pulls_away_from_it():
    torch.manual_seed(0)
    adversary = Adversary(weight=0.5, channels=8, rate=3e-3)
    true = torch.rand(8, 3, 16, 16).round() * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(true, 3, 1, 1).requires_grad_()
    anchor = torch.zeros_like(true)
    first = adversary.learn(blurred, true, anchor)
    for _ in range(60):
        last = adversary.learn(blurred, true, anchor)
    assert last < 0.5 * first
    other = (blurred - true).square().mean()
    pull = torch.autograd.grad(adversary.loss(blurred, anchor, other, blurred), blurred)[0]
    size = torch.autograd.grad((blurred - true).square().mean(), blurred)[0].norm()
    assert float(pull.norm()) == pytest.approx(0.5 * float(size), rel=0.05)
    assert all(p.requires_grad for p in adversary.network.parameters())


@pytest.mark.slow_suite
def test_a_run_sharpens_at_its_end(recordings: Path, tmp_path: Path):
    config = AnchoredConfig(
        data=recordings, out=tmp_path / "run", max_steps=120, channels=8, rate=3e-3, log_from=0.3
    )
    plain, sharp = main(config), main(replace(config, sharpen_from=0.5))
    assert sharp["train"]["16"]["sharpness"] > plain["train"]["16"]["sharpness"]


def test_an_unknown_state_is_named(recordings: Path, tmp_path: Path):
    config = AnchoredConfig(data=recordings, out=tmp_path / "run", state="joints", max_steps=1)
    with pytest.raises(ValueError, match="no state 'joints'; there are state"):
        main(config)
