"""Training of chunk models: exact resume, any number of processes, every model and kind of data."""

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
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim, tiny_unet
from training.chunk_batches import SampleOrder, load, make_batch
from training.chunk_presets import CHUNK_PRESETS, ChunkTrainConfig, chunk_tiny
from training.chunk_train import main, prepare
from training.chunk_trainer import ChunkTrainer
from training.train import parse
from training.windows import WindowDataset
from world_model import WorldModel, load_reference_checkpoint
from world_model.video import read_video, write_video

ROOT = Path(__file__).parents[2]
NUM_STEPS = 9  # actions of an episode


def write_dataset(root: Path, kind: str) -> None:
    """Episodes in the published layout, as videos and as latents."""
    for split, count in (("train", 5), ("val", 3)):
        for folder in ("annotation", "videos", "latent_videos"):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            rng = np.random.default_rng((count, i))
            video, latents = f"videos/{split}/{i}.mp4", f"latent_videos/{split}/{i}.pt"
            frames = np.full((NUM_STEPS + 1, 32, 32, 3), 40 * i, np.uint8)
            for t in range(NUM_STEPS + 1):
                frames[t, 2 * t : 2 * t + 8, 8:16] = 200
            write_video(root / video, frames, 4)
            torch.save(
                torch.from_numpy(0.5 * rng.normal(size=(NUM_STEPS + 1, 4, 8, 8))), root / latents
            )
            annotation = {"video_path": video, "latent_video_path": latents}
            if kind == "arm":
                annotation["state"] = rng.normal(size=(NUM_STEPS + 1, 7)).tolist()
                annotation["continuous_gripper_state"] = rng.random(NUM_STEPS + 1).tolist()
            else:
                annotation["actions"] = rng.normal(size=(NUM_STEPS, 2)).tolist()
            (root / f"annotation/{split}/{i}.json").write_text(json.dumps(annotation))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("direct")
    write_dataset(root, "direct")
    return root


@pytest.fixture(scope="module")
def arm_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arm")
    write_dataset(root, "arm")
    return root


def config_for(data: Path, out: Path, **changes) -> ChunkTrainConfig:
    settings = {"cpu": True, "max_steps": 8, "num_frames": 4, "validation_interval": 4}
    settings |= {"workers": 0, "action_scale": (1.0, 1.0), "sample_steps": 4}
    return dataclasses.replace(chunk_tiny(), data=data, out=out, **(settings | changes))


def losses(trainer: ChunkTrainer, count: int) -> list[float]:
    return [trainer.train_step()["loss"] for _ in range(count)]


def fresh(config: ChunkTrainConfig) -> ChunkTrainer:
    return prepare(config, Accelerator(cpu=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
@pytest.mark.parametrize("model", ["frame_ada", "video_ada", "lvdm", "vdm"])
def test_the_whole_command_writes_a_checkpoint_of_the_reference(data, tmp_path, model):
    config = config_for(data, tmp_path, model=model, max_steps=4, validate_every=2)
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


@pytest.mark.parametrize("model", ["frame_ada", "lvdm"])
def test_loss_falls(data, tmp_path, model):
    curve = losses(fresh(config_for(data, tmp_path, model=model, rate=5e-3)), 50)
    assert np.mean(curve[-10:]) < 0.7 * np.mean(curve[:5])


def test_an_arm_trains(arm_data, tmp_path):
    scale = (20.0,) * 6 + (1.0,)
    config = config_for(arm_data, tmp_path, kind="arm", action_scale=scale, learn_sigma=True)
    trainer = fresh(config)
    assert trainer.denoiser.config.action_dim == 7
    assert trainer.denoiser.config.action_embedding == "mlp"
    assert all(np.isfinite(losses(trainer, 2)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_continues_as_if_it_had_not_stopped(data, tmp_path, workers):
    config = config_for(data, tmp_path, workers=workers)
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
from training.chunk_train import main
from tests.training.test_chunk_train import config_for
from pathlib import Path

main(config_for(Path(sys.argv[1]), Path(sys.argv[2]), max_steps=int(sys.argv[3]), workers=1,
                save_every="0s", samples=0, log_every=1, width=128))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_a_run_that_was_killed_ends_as_one_that_was_not(data, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def command(out: Path, max_steps: int) -> list[str]:
        return [sys.executable, str(script), str(data), str(out), str(max_steps)]

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


PROCESS = """
import sys
from accelerate import Accelerator
from pathlib import Path
from training.chunk_train import main, prepare
from tests.training.test_chunk_train import config_for

accelerator = Accelerator(cpu=True)
config = config_for(Path(sys.argv[1]), Path(sys.argv[2]), model=sys.argv[3], local_batch=1,
                    max_steps=4)
trainer = prepare(config, accelerator)
for _ in range(4):
    figures = trainer.train_step()
    accelerator.print("loss", accelerator.num_processes, repr(figures["loss"]), flush=True)
accelerator.print("validation", repr(trainer.validation_loss()), flush=True)
main(config)
"""


@pytest.mark.parametrize("model", ["frame_ada", "lvdm"])
def test_two_processes_train_and_validate_as_one_does(data, tmp_path, model):
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = subprocess.run(
        [sys.executable, *command, str(script), str(data), str(tmp_path / "two"), model],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = re.findall(r"^loss (\d) (\S+)$", result.stdout, re.MULTILINE)
    assert [number for number, _ in found] == ["2"] * 4
    alone = fresh(config_for(data, tmp_path / "one", model=model))
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


def test_accumulation_and_checkpointed_activations_do_not_change_the_loss(data, tmp_path):
    for model in ("frame_ada", "lvdm"):
        config = config_for(data, tmp_path, model=model)
        plain = losses(fresh(config), 4)
        parts = fresh(dataclasses.replace(config, local_batch=1))
        assert parts.num_parts == 4
        np.testing.assert_allclose(losses(parts, 4), plain, rtol=1e-5)
        frugal = fresh(dataclasses.replace(config, activation_checkpointing=True))
        np.testing.assert_allclose(losses(frugal, 4), plain, rtol=1e-5)


def test_checkpointed_activations_are_not_kept(data, tmp_path):
    def kept(**changes) -> int:
        trainer = fresh(config_for(data, tmp_path, depth=8, **changes))
        sizes = []

        def note(x: torch.Tensor) -> torch.Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            trainer.train_step()
        return sum(sizes)

    assert kept(activation_checkpointing=True) < 0.3 * kept()


@pytest.fixture
def any_precision():
    """Lets a test change the precision, of which accelerate keeps the first of a process."""
    yield AcceleratorState._reset_state
    AcceleratorState._reset_state()


def test_bf16_trains(data, tmp_path, any_precision):
    config = config_for(data, tmp_path, mixed_precision="bf16")
    exact = losses(fresh(config), 3)
    any_precision()
    rounded = losses(prepare(config, Accelerator(cpu=True, mixed_precision="bf16")), 3)
    assert rounded != exact
    np.testing.assert_allclose(rounded, exact, rtol=0.05)


def test_every_epoch_takes_every_window_once_in_another_order():
    order = SampleOrder(50, seed=3)
    epochs = [[order.window(50 * epoch + i) for i in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert SampleOrder(50, seed=3).window(70) == epochs[1][20]
    assert [SampleOrder(50, seed=4).window(i) for i in range(50)] != epochs[0]


def test_a_samples_numbers_do_not_depend_on_its_batch(data, tmp_path):
    windows = WindowDataset(config_for(data, tmp_path).data_config("train"))
    device = torch.device("cpu")
    many, one = (
        make_batch(next(iter(load(windows, [keys], workers=0, device=device))), 0, 0.5, device)
        for keys in ([(n, n) for n in range(8)], [(6, 6)])
    )
    for name in ("latents", "actions", "time", "noise", "dropped"):
        assert torch.equal(getattr(many, name)[6], getattr(one, name)[0]), name
    assert 0 < many.dropped.sum() < 8
    assert torch.equal(many.latents[3], windows[3].content)


@pytest.mark.parametrize("make", [tiny_irasim, tiny_unet])
def test_dropped_windows_are_predicted_as_without_actions(make):
    denoiser = make().train()
    x, t, actions = chunk_inputs(denoiser)
    with torch.no_grad():
        mixed = denoiser(x, t, actions, dropped=torch.tensor([True, False]))
        denoiser.eval()
        torch.testing.assert_close(mixed[0], denoiser(x, t, None)[0])
        torch.testing.assert_close(mixed[1], denoiser(x, t, actions)[1])
        assert not torch.allclose(mixed[0], denoiser(x, t, actions)[0])


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
@pytest.mark.parametrize("model", ["frame_ada", "lvdm", "vdm"])
def test_training_ends_in_a_world_that_steps(data, tmp_path, vae, model):
    config = config_for(data, tmp_path, model=model, max_steps=2, vae=str(vae), samples=1)
    if model == "vdm":
        config = dataclasses.replace(config, vae=None, frame_size=(16, 24))
    main(config)
    world = WorldModel.from_pretrained(tmp_path / "world")
    size = (16, 24) if model == "vdm" else (32, 32)
    assert (world.config.height, world.config.width) == size
    assert len(world.starts) == 3
    # Nothing tells the bounds of its actions but the data, which are normally distributed.
    assert -5 < world.config.action_low[0] < -1.5
    start = world.starts[0]
    assert start.frames.shape == (1, *size, 3)
    state = world.start(start.frames[None], start.actions[None], [0])
    assert world.step_(state, np.zeros((1, 2), np.float32)).frame.shape == (1, *size, 3)
    # The samples are decoded.
    (sample,) = (tmp_path / "samples/0000002").glob("*.mp4")
    assert read_video(sample).shape == (4, 2 * size[0], size[1], 3)


def test_presets_are_the_references_recipe():
    assert len(CHUNK_PRESETS) == 13
    for name in CHUNK_PRESETS:
        config = CHUNK_PRESETS[name]()
        assert config.preset == name
        if name == "chunk_tiny":
            continue
        dataset = name.partition("_")[0]
        table = dataset == "languagetable"
        assert (config.size, config.patch, config.num_frames) == ("XL", 2, 16)
        assert (config.rate, config.ema, config.clip_norm) == (1e-4, 0.9999, 0.1)
        assert (config.batch, config.max_steps, config.seed) == (64, 300_000, 3407)
        assert (config.validate_every, config.checkpoint_every) == (10_000, 10_000)
        if name == "languagetable_vdm":
            assert config.frame_size == (144, 256)
        else:
            assert config.frame_size == ((288, 512) if table else (256, 320))
        assert config.kind == ("direct" if table else "arm")
        assert config.action_scale == ((20.0, 20.0) if table else (20.0,) * 6 + (1.0,))
        assert config.source == ("video" if name.endswith("_vdm") else "latents")
        assert not (config.final_frame_ada or config.learn_sigma or config.accumulate)
        # On the reference's 32 processes two windows are one part, on one they are sixteen.
        assert (config.num_parts(32), config.num_parts(1)) == (1, 16)


def test_command_line_overrides_the_preset():
    config = parse(["--preset", "rt1_lvdm", "--batch", "8", "--data", "here", "--camera", "front"])
    expected = dataclasses.replace(
        CHUNK_PRESETS["rt1_lvdm"](), batch=8, data=Path("here"), camera="front"
    )
    assert config == expected
    with pytest.raises(SystemExit, match="choose one of .*bridge_video_ada"):
        parse(["--preset", "nosuch"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lvdm", "learn_sigma": True}, "learn_sigma is for the transformers"),
        ({"model": "video_ada", "final_frame_ada": True}, "is for model frame_ada"),
        ({"local_batch": 0}, "local_batch is 0"),
        ({"save_every": "soon"}, "write 90s"),
        ({"kind": "arm"}, "actions of an arm have 7"),
    ],
)
def test_wrong_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(chunk_tiny(), **changes)


def test_what_does_not_fit_the_data_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="latents .* are 8 x 8, expected 32 x 40"):
        fresh(config_for(data, tmp_path, frame_size=(256, 320)))
    with pytest.raises(ValueError, match="batch 5 does not divide"):
        fresh(config_for(data, tmp_path, batch=5, local_batch=2))
    with pytest.raises(ValueError, match="hidden_size is 30"):
        fresh(config_for(data, tmp_path, width=30))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_another_run_in_the_same_directory_is_refused(data, tmp_path):
    main(config_for(data, tmp_path, max_steps=1, samples=0))
    with pytest.raises(SystemExit, match="another model"):
        main(config_for(data, tmp_path, max_steps=1, model="lvdm"))
    with pytest.raises(ValueError, match="1 steps already, more than max_steps 0"):
        main(config_for(data, tmp_path, max_steps=0, samples=0))
