"""Runs by the clock: phases, schedules, and a run that goes on."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.conftest import DEVICES, TINY_CONFIG, make_starts
from tests.training.captured.test_whole_step import CONFIG
from tests.training.recorded import episode
from training.captured import command as captured_train
from training.captured.clock import Clock
from training.captured.config import GpuTrainConfig, gpu_preset
from training.captured.device_store import DeviceStore, StoreShape
from training.captured.recorders import file_name, write_arrays
from training.captured.trainer import CapturedTrainer, decay
from training.command import parse
from training.streaming.validate import predict_episodes
from world_model import StreamingConfig, StreamingWorld, WorldModel

SMALL = {
    "patch": 24,
    "width": 32,
    "depth": 1,
    "num_heads": 2,
    "batch_clips": 4,
    "first_frames": 10,
    "room": 500,
    "recorders": 1,
    "validation_episodes": 2,
    "collect_episodes": (3, 2, 0),
    "mixed_precision": "no",
    "cpu": True,
}


class StepClock:
    """Time that passes by steps, so that a test's phases do not depend on the machine."""

    budget = 40.0
    before = 0.0

    def __init__(self):
        self.elapsed = 0.0
        self.seen: list[float] = []

    @property
    def fraction(self) -> float:
        self.elapsed += 0.25  # it is looked at a few times a step
        return self.elapsed / self.budget


def test_a_run_that_goes_on_has_what_it_had_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(captured_train.time, "monotonic", lambda: now[0])
    clock = Clock(80.0, begun=90.0)
    assert clock.elapsed == 10.0
    clock.before = 30.0
    now[0] = 110.0
    assert clock.elapsed == 50.0
    assert clock.fraction == 50 / 80


def trained(device: str, tmp_path, **changes):
    """A trainer of a tiny world on episodes of noise."""
    place = torch.device(device, 0) if device == "cuda" else torch.device(device)
    episodes = [episode(seed, 45, size=96) for seed in range(3)]
    store = DeviceStore(StoreShape.of(episodes[0], 200), place)
    for arrays in episodes:
        store.append(arrays)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        world = StreamingWorld(CONFIG, make_starts(TINY_CONFIG)).eval().to(place)
    config = dataclasses.replace(
        gpu_preset("pusht_video_gpu"), out=tmp_path, batch_clips=2, rollout_rounds=2, **changes
    )
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    return CapturedTrainer(world, store, config, accelerator), world, store


@pytest.mark.slow_suite
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_phases_follow_each_other_and_the_head_comes_last(device, optimizer, tmp_path):
    trainer, world, store = trained(device, tmp_path, optimizer=optimizer)
    before = [parameter.detach().clone() for parameter in trainer.parameters]
    seen: list[float] = []

    def look() -> None:
        seen.append(trainer.objective.rollouts.share)
        if len(seen) == 20:  # in the middle of a phase, between replays
            trainer.swap_average()
            result = predict_episodes(world, store.filled(), 2, horizon=4)
            assert result.predicted.shape == (2, 8, 96, 96, 3)
            trainer.swap_average()

    trainer.run_denoiser(StepClock(), (look,))
    assert sorted(set(seen)) == [0.0, 1 / 3, 1 / 2]
    assert seen.index(1 / 2) < seen.index(1 / 3)
    assert trainer.progress.step == len(seen) == int(trainer.clips.count)
    after = trainer.parameters
    assert all(parameter.isfinite().all() for parameter in after)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    trainer.swap_average()
    kept = {name: p.detach().clone() for name, p in world.named_parameters()}
    clock = StepClock()
    clock.elapsed = 0.88 * clock.budget
    trainer.run_head(clock)
    assert trainer.head_steps > 0
    assert np.isfinite(trainer.head_loss)
    moved = {
        name for name, p in world.named_parameters() if not torch.equal(p.detach(), kept[name])
    }
    assert moved
    assert all(name.startswith("head.") for name in moved)


@pytest.mark.slow_suite
def test_a_state_is_gone_on_from(tmp_path):
    trainer, *_ = trained("cpu", tmp_path)
    trainer.run_denoiser(StepClock(), ())
    trainer.save_state(tmp_path / "state.pt")
    other, *_ = trained("cpu", tmp_path)
    other.load_state(tmp_path / "state.pt")
    other.objective.rollouts = trainer.objective.rollouts  # of the phase that it was in
    assert other.progress == trainer.progress
    assert int(other.clips.count) == trainer.progress.step
    for one in (trainer, other):
        one.store.losses.fill_(torch.inf)  # which clips are hard is learned anew
        one.step.set(1e-4, 0.9)
        one.step()
    for mine, theirs in zip(trainer.parameters, other.parameters, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    for mine, theirs in zip(trainer.average, other.average, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_the_rate_follows_the_clock(tmp_path):
    trainer, *_ = trained("cpu", tmp_path, warmup=10, decay_from=0.5, heads_from=0.9)
    rate = trainer.config.rate
    assert trainer.rate_at(0.0) == pytest.approx(0.1 * rate)
    trainer.progress.step = 100
    assert trainer.rate_at(0.3) == rate
    assert trainer.rate_at(0.7) == pytest.approx(rate / 2)
    assert trainer.rate_at(0.9) == pytest.approx(0.02 * rate)
    assert decay(0.998, 0) == 0.1
    assert decay(0.998, 10**6) == 0.998


@pytest.mark.slow_suite
def test_a_whole_run_and_more_time_for_it(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for split, count in (("train", 3), ("val", 2)):
        for index in range(count):
            write_arrays(data / file_name(split, index), episode(index, 45, size=96))
    config = dataclasses.replace(
        gpu_preset("pusht_video_gpu"), data=data, out=tmp_path / "run", budget="12s", **SMALL
    )
    directory = captured_train.main(config)
    report = json.loads((directory / "train.json").read_text())
    assert report["episodes"] == 3
    assert report["frames"] == 3 * 46
    assert {"psnr/1", "psnr_still/1"} <= set(report["validation"])
    world = WorldModel.from_pretrained(directory)
    assert tuple(world.config.observations) == ("agent_pos",)
    assert isinstance(world.config, StreamingConfig)
    assert not world.config.required_states.hidden  # nothing that a simulator alone knows
    assert len(world.starts) == 2
    state = world.begin([0], [0])
    assert world.step_(state, np.zeros((1, 2), np.float32)).frame.shape == (1, 96, 96, 3)
    assert (tmp_path / "run" / "samples" / "final.png").stat().st_size > 1000
    captured_train.main(dataclasses.replace(config, budget="30s"))
    again = json.loads((directory / "train.json").read_text())
    assert again["trained"]["step"] >= report["trained"]["step"]
    assert again["trained"]["elapsed"] > report["trained"]["elapsed"]
    assert "resumed at step" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="another width"):
        captured_train.main(dataclasses.replace(config, width=64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": ("block_pose",)}, "hidden: has no effect in this kind of run"),
        ({"max_steps": 3}, "max_steps: has no effect in this kind of run"),
        ({"deep_from": 0.2}, "phases are out of order: rollout_from, deep_from"),
        ({"finish_from": 1.0}, "phases are out of order"),
        ({"record_until": 0.0}, "record_until is 0.0"),
        ({"room": 0}, "room is 0, expected at least 1"),
        ({"first_frames": 600_000}, "first_frames is 600000, but there is room for 520000"),
        ({"collect_env": None}, "collect_env is None"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(gpu_preset("pusht_video_gpu"), **changes)


def test_the_command_knows_the_preset():
    config = parse(["--preset", "pusht_video_gpu", "--budget", "90s", "--optimizer", "muon"])
    assert isinstance(config, GpuTrainConfig)
    assert (config.budget, config.optimizer, config.name) == ("90s", "muon", "pusht_video")
