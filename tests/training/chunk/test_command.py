"""Training runs of chunk models: what they write, exact resume, any number of processes."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.chunk_runs import config_for, fresh, losses
from tests.training.processes import AFTER, BEFORE
from training.chunk.command import main
from world_model import WorldModel, load_reference_checkpoint
from world_model.video import read_video

ROOT = Path(__file__).parents[3]


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
@pytest.mark.parametrize("model", ["frame_ada", "video_ada", "lvdm", "vdm"])
def test_the_whole_command_writes_a_checkpoint_of_the_reference(chunk_data, tmp_path, model):
    config = config_for(chunk_data, tmp_path, model=model, max_steps=4, validate_every=2)
    if model == "vdm":
        config = dataclasses.replace(config, frame_size=(16, 24))
    checkpoint = main(dataclasses.replace(config, checkpoint_every=2, log_every=2))
    assert checkpoint == tmp_path / "checkpoints/0000004.pt"
    assert (tmp_path / "checkpoints/0000002.pt").is_file()
    denoiser = load_reference_checkpoint(checkpoint)
    trainer = fresh(config)
    assert trainer.progress.step == 4
    for kept, average in zip(denoiser.parameters(), trainer.average, strict=True):
        assert torch.equal(kept, average)
    pairs = zip(trainer.parameters, trainer.average, strict=True)
    assert not all(torch.equal(parameter, average) for parameter, average in pairs)
    report = json.loads((tmp_path / "train.json").read_text())
    assert report["trained"]["step"] == 4
    assert report["frames_per_second"] > 0
    # Three episodes of ten frames: windows of four begin at frames 0 and 4.
    assert report["windows"] == {"train": 35, "val": 6}
    trainer.swap_average()
    assert report["validation_loss"] == pytest.approx(trainer.validation_loss(), rel=1e-6)
    shown = read_video(tmp_path / "samples/0000004/000002.mp4")
    assert shown.shape == (4, 32, 24, 3) if model == "vdm" else (4, 128, 64, 3)
    assert list((tmp_path / "logs").rglob("events.*"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_continues_as_if_it_had_not_stopped(chunk_data, tmp_path, workers):
    config = config_for(chunk_data, tmp_path, workers=workers)
    trainer = fresh(config)
    losses(trainer, 7)
    trainer.save_state(tmp_path / "state.pt")
    expected = losses(trainer, 4)  # over the end of an epoch: 35 windows, 4 a step
    again = fresh(config)
    assert again.progress.step == 7
    assert losses(again, 4) == expected
    for a, b in zip(trainer.average, again.average, strict=True):
        assert torch.equal(a, b)


RUN = """
import sys
from training.chunk.command import main
from tests.training.chunk_runs import config_for
from pathlib import Path

main(config_for(Path(sys.argv[1]), Path(sys.argv[2]), max_steps=int(sys.argv[3]), workers=1,
                save_every="0s", samples=0, log_every=1, width=128))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.slow_suite
def test_a_run_that_was_killed_ends_as_one_that_was_not(chunk_data, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def command(out: Path, max_steps: int) -> list[str]:
        return [sys.executable, str(script), str(chunk_data), str(out), str(max_steps)]

    subprocess.run(command(whole, 40), env=environment(), check=True, capture_output=True)
    process = subprocess.Popen(
        command(killed, 40), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not (killed / "state.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    stopped = torch.load(killed / "state.pt", weights_only=True)["progress"]["step"]
    assert 1 <= stopped < 40
    result = subprocess.run(
        command(killed, 40), env=environment(), check=True, capture_output=True, text=True
    )
    assert f"resumed at step {stopped}" in result.stdout
    states = [torch.load(out / "state.pt", weights_only=True) for out in (killed, whole)]
    for name in ("weights", "average"):
        for a, b in zip(states[0][name], states[1][name], strict=True):
            assert torch.equal(a, b)


STOPPED = """
import os, signal, sys
from training.run.resumable import ResumableTrainer

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
count = ResumableTrainer.count_step

def counted(trainer, *rest):
    if trainer.progress.step == 4 and int(sys.argv[3]):
        os.killpg(0, signal.SIGINT)  # as a terminal does: the workers get it too
    return count(trainer, *rest)

ResumableTrainer.count_step = counted
"""


@pytest.mark.slow_suite
def test_ctrl_c_saves_the_step_that_it_comes_in(chunk_data, tmp_path):
    script = tmp_path / "run.py"
    run = RUN.replace('"0s"', '"1h"').replace("int(sys.argv[3])", "8")
    script.write_text(STOPPED + run)
    out = tmp_path / "out"
    for asked, code, step in ((1, -signal.SIGINT, 5), (0, 0, 8)):
        done = subprocess.run(
            [sys.executable, str(script), str(chunk_data), str(out), str(asked)],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        assert done.returncode == code, done.stderr[-2000:]
        assert torch.load(out / "state.pt", weights_only=True)["progress"]["step"] == step
    assert "resumed at step 5" in done.stdout


PROCESS = f"""{BEFORE}
import sys
from training.chunk.command import FREE, prepare, train
from training.run.directory import run_training
from tests.training.chunk_runs import config_for

def measure(config, accelerator):
    trainer = prepare(config, accelerator)
    for _ in range(4):
        figures = trainer.train_step()
        accelerator.print("loss", accelerator.num_processes, repr(figures["loss"]), flush=True)
    accelerator.print("validation", repr(trainer.validation_loss()), flush=True)

def measure_and_train(config, accelerator):
    measure(config, accelerator)
    return train(config, accelerator)

config = config_for(Path(sys.argv[1]), Path(sys.argv[2]), model=sys.argv[3], local_batch=1,
                    max_steps=4)
run_training(measure_and_train, config, FREE)
{AFTER}"""


@pytest.mark.slow_suite
@pytest.mark.parametrize("model", ["frame_ada", "lvdm"])
def test_two_processes_train_and_validate_as_one_does(chunk_data, tmp_path, model):
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = subprocess.run(
        [sys.executable, *command, str(script), str(chunk_data), str(tmp_path / "two"), model],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = re.findall(r"^loss (\d) (\S+)$", result.stdout, re.MULTILINE)
    assert [number for number, _ in found] == ["2"] * 4
    alone = fresh(config_for(chunk_data, tmp_path / "one", model=model))
    np.testing.assert_allclose([float(loss) for _, loss in found], losses(alone, 4), rtol=1e-5)
    (validation,) = re.findall(r"^validation (\S+)$", result.stdout, re.MULTILINE)
    assert float(validation) == pytest.approx(alone.validation_loss(), rel=1e-5)
    # The whole command ends as it does on one process, each sample made by one of the two.
    alone.swap_average()
    report = json.loads((tmp_path / "two/train.json").read_text())
    assert report["processes"] == 2
    assert report["validation_loss"] == pytest.approx(alone.validation_loss(), rel=1e-5)
    assert len(list((tmp_path / "two/samples/0000004").glob("*.mp4"))) == 3
    assert torch.load(tmp_path / "two/state.pt", weights_only=True)["progress"]["step"] == 4


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a small autoencoder: four pixels to a latent cell, as the data here."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    path = tmp_path_factory.mktemp("vae")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = AutoencoderKL(
            block_out_channels=(8,) * 3,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
        )
    autoencoder.save_pretrained(path)
    return path


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
@pytest.mark.parametrize(
    ("model", "pixels"),
    [
        ("frame_ada", False),
        ("frame_ada", True),
        ("video_ada", True),
        ("lvdm", False),
        ("vdm", True),
    ],
)
def test_training_ends_in_a_world_that_steps(chunk_data, tmp_path, vae, model, pixels):
    config = config_for(chunk_data, tmp_path, model=model, max_steps=2, vae=str(vae), samples=1)
    if pixels:
        config = dataclasses.replace(config, pixels=True, vae=None, frame_size=(16, 24))
    main(config)
    world = WorldModel.from_pretrained(tmp_path / "world")
    size = (16, 24) if pixels else (32, 32)
    assert (world.config.height, world.config.width) == size
    assert world.denoiser.config.num_heads == config.num_heads
    assert len(world.starts) == 3
    # Nothing tells the bounds of its actions but the chunk_data, which are normally distributed.
    assert -5 < world.config.action_low[0] < -1.5
    start = world.starts[0]
    assert start.frames.shape == (1, *size, 3)
    state = world.start(start.frames[None], start.actions[None], [0])
    assert world.step_(state, np.zeros((1, 2), np.float32)).frame.shape == (1, *size, 3)
    # The samples are decoded.
    (sample,) = (tmp_path / "samples/0000002").glob("*.mp4")
    assert read_video(sample).shape == (4, 2 * size[0], size[1], 3)


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_another_run_in_the_same_directory_is_refused(chunk_data, tmp_path):
    main(config_for(chunk_data, tmp_path, max_steps=1, samples=0))
    with pytest.raises(SystemExit, match="another model"):
        main(config_for(chunk_data, tmp_path, max_steps=1, model="lvdm"))
    with pytest.raises(ValueError, match="1 steps already, more than max_steps 0"):
        main(config_for(chunk_data, tmp_path, max_steps=0, samples=0))
