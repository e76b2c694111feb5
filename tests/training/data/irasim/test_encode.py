"""`irasim encode`: the published layout, exact resume, several processes, broken videos."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.published_data import make_frames, positions, write_arm, write_plane
from training.data.irasim.autoencoder import encode_frames, load_autoencoder
from training.data.irasim.datasets import DataConfig, languagetable
from training.data.irasim.encode import EncodeConfig, main
from training.data.irasim.windows import WindowDataset
from world_model.frames import frames_to_pixels
from world_model.video import write_video

SCALE = 0.13025


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random AutoencoderKL: eight pixels to a latent cell, as the SDXL VAE."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    path = tmp_path_factory.mktemp("vae")
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        scaling_factor=SCALE,
    ).save_pretrained(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Videos only: an episode in Language-Table's form, one of two cameras in RT-1's."""
    root = tmp_path / "data"
    paths = [write_plane(root, "a", 5), write_arm(root, "b", 6, split="val", cameras=2)]
    for path in paths:
        annotation = json.loads(path.read_text())
        kept = {key: value for key, value in annotation.items() if "latent" not in key}
        path.write_text(json.dumps(kept))
    for path in root.glob("latent_videos/**/*.pt"):
        path.unlink()
    return root


def load(root: Path, name: str):
    return torch.load(root / "latent_videos" / name, weights_only=True)


def test_latents_are_the_means_times_the_scaling_factor(data: Path, vae: Path):
    main(EncodeConfig(root=data, vae=str(vae), batch=2, cpu=True))
    stored = load(data, "train/a.pt")["obs"]
    pixels = frames_to_pixels(torch.from_numpy(make_frames(positions(5))))
    with torch.no_grad():
        mean = load_autoencoder(str(vae)).encode(pixels).latent_dist.mean  # type: ignore[union-attr]
    torch.testing.assert_close(stored, mean * SCALE, rtol=1e-5, atol=1e-6)
    assert stored.shape == (5, 4, 2, 3) and stored.dtype == torch.float32


def test_both_published_forms_are_written_and_read(data: Path, vae: Path):
    main(EncodeConfig(root=data, vae=str(vae), cpu=True))
    annotation = json.loads((data / "annotation/train/a.json").read_text())
    assert annotation["latent_video_path"] == "latent_videos/train/a.pt"
    assert annotation["video_path"] == "videos/train/a.mp4" and len(annotation["actions"]) == 4
    annotation = json.loads((data / "annotation/val/b.json").read_text())
    assert annotation["latent_videos"] == [
        {"latent_video_path": "latent_videos/val/b/0.pt"},
        {"latent_video_path": "latent_videos/val/b/1.pt"},
    ]
    plane = WindowDataset(languagetable(data, num_frames=4))
    assert plane.read("a").content.shape == (5, 4, 2, 3)
    for camera in (0, 1):
        config = DataConfig(
            root=data, split="val", kind="arm", action_scale=(1.0,) * 7, num_frames=6, camera=camera
        )
        content = WindowDataset(config)[0].content
        torch.testing.assert_close(content, load(data, f"val/b/{camera}.pt"), rtol=0, atol=0)
    assert not torch.equal(load(data, "val/b/0.pt"), load(data, "val/b/1.pt"))


def test_frames_are_resized_before_they_are_encoded(data: Path, vae: Path):
    main(EncodeConfig(root=data, vae=str(vae), height=32, width=40, cpu=True))
    assert load(data, "train/a.pt")["obs"].shape == (5, 4, 4, 5)


def test_run_goes_on_with_what_is_missing(data: Path, vae: Path, capsys: pytest.CaptureFixture):
    config = EncodeConfig(root=data, vae=str(vae), cpu=True)
    main(config)
    assert "2 episodes, 2 encoded now" in capsys.readouterr().out
    first = load(data, "val/b/1.pt")
    (data / "latent_videos/val/b/1.pt").unlink()
    before = (data / "latent_videos/train/a.pt").stat().st_mtime_ns
    main(config)
    assert "2 episodes, 1 encoded now" in capsys.readouterr().out
    torch.testing.assert_close(load(data, "val/b/1.pt"), first, rtol=0, atol=0)
    assert (data / "latent_videos/train/a.pt").stat().st_mtime_ns == before
    main(config)
    assert "2 episodes, 0 encoded now" in capsys.readouterr().out


def test_latents_without_their_name_in_the_annotation_are_named(data: Path, vae: Path):
    config = EncodeConfig(root=data, vae=str(vae), cpu=True)
    before = (data / "annotation/train/a.json").read_text()
    main(config)
    after = (data / "annotation/train/a.json").read_text()
    (data / "annotation/train/a.json").write_text(before)  # killed between the two writes
    main(config)
    assert (data / "annotation/train/a.json").read_text() == after


def test_two_ways_of_encoding_are_not_mixed(data: Path, vae: Path):
    config = EncodeConfig(root=data, vae=str(vae), cpu=True)
    main(config)
    with pytest.raises(ValueError, match="draw was 'mean' and is now 'sample'"):
        main(replace(config, draw="sample"))


def test_samples_depend_on_the_seed_alone(data: Path, vae: Path):
    config = EncodeConfig(root=data, vae=str(vae), cpu=True, draw="sample", batch=2)
    main(config)
    first = load(data, "train/a.pt")["obs"]
    autoencoder = load_autoencoder(str(vae))
    mean = encode_frames(autoencoder, torch.from_numpy(make_frames(positions(5))))
    assert (first - mean).abs().mean() > 1e-4
    for path in data.glob("latent_videos/**/*.pt"):
        path.unlink()
    main(replace(config, batch=16))
    torch.testing.assert_close(load(data, "train/a.pt")["obs"], first, rtol=1e-5, atol=1e-6)


def test_lower_precision_is_near(data: Path, vae: Path):
    frames = torch.from_numpy(make_frames(positions(5)))
    exact = encode_frames(load_autoencoder(str(vae)), frames)
    main(EncodeConfig(root=data, vae=str(vae), cpu=True, precision="bf16"))
    stored = load(data, "train/a.pt")["obs"]
    assert 0 < (stored - exact).abs().max() < 0.05 * exact.abs().max()


def test_overflow_is_noticed(data: Path, vae: Path, tmp_path: Path):
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    loud = AutoencoderKL.from_pretrained(vae)
    torch.nn.init.constant_(loud.quant_conv.weight, 1e38)
    torch.nn.init.constant_(loud.quant_conv.bias, 3e38)
    loud.save_pretrained(tmp_path / "loud")
    with pytest.raises(ValueError, match=r"a\.json: its latents are not finite in fp32"):
        main(EncodeConfig(root=data, vae=str(tmp_path / "loud"), cpu=True, splits=("train",)))
    assert not list(data.glob("latent_videos/**/*.pt"))


@pytest.mark.parametrize("broken", ["error", "skip"])
def test_broken_video_is_named(
    data: Path, vae: Path, broken: str, capsys: pytest.CaptureFixture[str]
):
    (data / "videos/train/a.mp4").write_bytes(b"no video")
    config = EncodeConfig(root=data, vae=str(vae), cpu=True, broken=broken)  # type: ignore[arg-type]
    if broken == "error":
        with pytest.raises(ValueError, match=r"a\.mp4: cannot be decoded"):
            main(config)
        return
    main(config)
    assert "1 are broken and left out:\n" in (out := capsys.readouterr().out) and "a.mp4" in out
    assert not (data / "latent_videos/train/a.pt").exists()
    assert load(data, "val/b/0.pt").shape == (6, 4, 2, 3)
    write_video(data / "videos/train/a.mp4", make_frames(positions(5)), 10)
    main(config)
    assert load(data, "train/a.pt")["obs"].shape == (5, 4, 2, 3)


@pytest.mark.slow_suite
def test_two_processes_encode_as_one_does(data: Path, vae: Path, tmp_path: Path):
    for name in ("c", "d", "e"):
        write_plane(data, name, 4)
    for path in data.glob("latent_videos/**/*.pt"):
        path.unlink()
    alone = tmp_path / "alone"
    subprocess.run(["cp", "-r", data, alone], check=True)
    main(EncodeConfig(root=alone, vae=str(vae), cpu=True))
    command = "torch.distributed.run --standalone --nproc_per_node 2 -m irasim_env.console"
    finished = subprocess.run(
        [sys.executable, "-m", *command.split(), "encode", data, "--vae", vae, "--cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[4])},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("5 episodes, 5 encoded now by 2 processes") == 1
    names = sorted(path.relative_to(alone) for path in alone.glob("latent_videos/**/*.pt"))
    assert len(names) == 6
    for name in names:
        one, two = (torch.load(root / name, weights_only=True) for root in (alone, data))
        one, two = (x["obs"] if isinstance(x, dict) else x for x in (one, two))
        np.testing.assert_array_equal(one, two)


def test_pipeline_directory_holds_its_autoencoder_in_vae(vae: Path, tmp_path: Path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "vae").symlink_to(vae)
    frames = torch.from_numpy(make_frames(positions(2)))
    torch.testing.assert_close(
        encode_frames(load_autoencoder(str(tmp_path / "pipeline")), frames),
        encode_frames(load_autoencoder(str(vae)), frames),
    )


@pytest.mark.parametrize("name", ["absent", "./absent/dir"])
def test_missing_autoencoder_is_named(name: str):
    with pytest.raises(ValueError, match=f"{name}: no such directory"):
        load_autoencoder(name)


@pytest.mark.parametrize("factor", [[[]], "nan", -1.0, None])
def test_a_scaling_factor_that_is_none_is_named(vae: Path, tmp_path: Path, factor):
    shutil.copytree(vae, tmp_path / "vae")
    config = tmp_path / "vae/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": factor}))
    with pytest.raises(ValueError, match="scaling_factor.*fetch it again"):
        load_autoencoder(str(tmp_path / "vae"))


def test_directory_without_autoencoder_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no AutoencoderKL"):
        load_autoencoder(str(tmp_path))


def test_dataset_without_annotations_is_named(tmp_path: Path, vae: Path):
    with pytest.raises(ValueError, match="no annotations of train, val, test"):
        main(EncodeConfig(root=tmp_path, vae=str(vae), cpu=True))
