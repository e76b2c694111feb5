"""Both protocols of `irasim evaluate`: files and scores, with tiny models and stand-in networks."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks import psnr, ssim
from benchmarks.irasim.command import main
from benchmarks.irasim.generate import noise_key
from benchmarks.irasim.layout import write_reference_video
from benchmarks.metrics.network_weights import WeightsSource, load_torchscript
from benchmarks.metrics.perceptual import FVDProtocol, fid, fvd, load_detector
from benchmarks.metrics.videos import open_videos, read_file
from tests.benchmarks.evaluations import WINDOWS, run, short
from tests.benchmarks.published_episodes import (
    LENGTHS,
    SIDE,
)
from tests.world_model.chunk_denoisers import tiny_irasim, tiny_unet
from world_model import sample_video, save_reference_checkpoint
from world_model.runtime.counter_rng import counted_noise
from world_model.video import read_video, write_video


def test_short_is_laid_out_as_the_reference_does(short_run):
    out, report = short_run
    base = out / "checkpoints" / "0000100"
    assert sorted(p.stem for p in (base / "test_sample_videos").iterdir()) == WINDOWS
    assert sorted(p.stem for p in (base / "test_sample_latents").iterdir()) == WINDOWS
    truth = out / "evaluation_videos" / "test_sample_videos"
    assert sorted(p.stem for p in truth.iterdir()) == WINDOWS
    frames = base / "test_sample_frames" / "a_0_3"
    assert sorted(p.name for p in frames.iterdir()) == [f"{i:06d}.png" for i in (1, 2, 3)]
    assert len(read_file(base / "test_sample_videos" / "a_0_3.mp4")) == 4
    latents = torch.load(base / "test_sample_latents" / "a_0_3.pt", weights_only=True)
    true = torch.load(
        out / "evaluation_latent_videos" / "test_sample_latent_videos" / "a_0_3.pt",
        weights_only=True,
    )
    assert latents.shape == true.shape == (4, 4, 4, 4)
    torch.testing.assert_close(latents[0], true[0])  # the given frame
    counts = report["counts"]
    assert (counts["items"], counts["episodes"], counts["predicted_in_this_run"]) == (8, 3, 8)


def test_short_scores_are_those_of_the_metrics(files, short_run):
    out, report = short_run
    base, arrays = out / "checkpoints" / "0000100", report["scores"]["arrays"]
    pred = open_videos(base / "test_sample_frames")
    recorded = {name: read_video(files.data / "videos" / "test" / f"{name}.mp4") for name in "abd"}
    true = {n: recorded[n[0]][int(n[4:]) + 1 : int(n[4:]) + 4] for n in WINDOWS}
    for name, metric in (("psnr", psnr), ("ssim", ssim)):
        for suffix, gray in (("rgb", False), ("gray", True)):
            values = [metric(pred[n](), true[n], gray=gray).mean() for n in WINDOWS]
            assert arrays[f"{name}_{suffix}"] == pytest.approx(np.mean(values), rel=1e-9)
    network = load_torchscript(files.weights["inception"])
    frames = {n: read() for n, read in pred.items()}
    assert arrays["fid"] == pytest.approx(fid(frames, true, network), rel=1e-6)
    samples = report["counts"]["samples"]
    assert samples["fid/arrays/pred"] == samples["fid/arrays/true"] == 24
    detector = load_detector(
        WeightsSource(path=files.weights["i3d"], sha256=files.weights["i3d_sha256"])
    )
    plain = FVDProtocol(num_frames=3)
    assert arrays["fvd"] == pytest.approx(fvd(frames, true, detector, protocol=plain), rel=1e-6)
    latents = [
        [torch.load(folder / f"{n}.pt", weights_only=True)[1:] for n in WINDOWS]
        for folder in (
            base / "test_sample_latents",
            out / "evaluation_latent_videos" / "test_sample_latent_videos",
        )
    ]
    l2 = np.mean([float((a - b).square().mean()) for a, b in zip(*latents, strict=True)])
    assert report["scores"]["latent_l2"] == pytest.approx(l2, rel=1e-5)


def test_short_scores_on_files_as_the_reference_takes_them(files, short_run):
    out, report = short_run
    folders = [
        out / "checkpoints" / "0000100" / "test_sample_videos",
        out / "evaluation_videos" / "test_sample_videos",
    ]
    pairs = [[read_file(f / f"{n}.mp4")[1:] for f in folders] for n in WINDOWS]
    scores = report["scores"]["files"]
    gray = np.mean([psnr(a, b, gray=True).mean() for a, b in pairs])
    assert scores["psnr_gray"] == pytest.approx(gray, rel=1e-9)
    assert scores["psnr_gray"] != report["scores"]["arrays"]["psnr_gray"]
    true = {n: pair[1] for n, pair in zip(WINDOWS, pairs, strict=True)}
    exact = {n: r() for n, r in open_videos(folders[0].with_name("test_sample_frames")).items()}
    network = load_torchscript(files.weights["inception"])
    assert scores["fid"] == pytest.approx(fid(exact, true, network), rel=1e-6)
    samples = report["counts"]["samples"]
    assert (samples["fvd/files/pred"], samples["fvd/files/true"]) == (8, 16)  # mirrored
    assert 0 < scores["lpips"] < 5


def test_a_report_says_what_was_done(short_run):
    out, report = short_run
    written = json.loads((out / "checkpoints" / "0000100" / "short.json").read_text())
    assert written["scores"] == report["scores"]
    assert written["config"]["seed"] == written["seed"] == 3
    assert written["network_evaluations_per_chunk"] == 3
    assert written["model"]["chunk_frames"] == 4 and written["processes"] == 1
    assert {"torch", "av", "diffusers"} <= written["versions"].keys() and written["hardware"]
    assert "clips of 3 frames" in written["metrics"]["fvd"]
    assert "NOT the published" in written["metrics"]["fid"]
    assert written["not_available"] == {}


def test_long_goes_on_from_what_was_predicted(files, long_run):
    out, report = long_run
    base = out / "checkpoints" / "0000100"
    assert report["counts"]["items"] == 4
    denoiser = tiny_irasim(latent_size=(4, 4), action_embedding="linear")
    for name, length in LENGTHS.items():  # c is shorter than a chunk
        found = torch.load(base / "test_episode_latent_videos" / f"{name}.pt", weights_only=True)
        assert len(found) == length
        assert len(read_file(base / "test_episode_videos" / f"{name}.mp4")) == length - 1
        assert len(list((base / "test_episode_frames" / name).iterdir())) == length - 1
        annotation = json.loads((files.data / f"annotation/test/{name}.json").read_text())
        stored = torch.load(files.data / f"latent_videos/test/{name}.pt", weights_only=True)
        item = dataclasses.make_dataclass("Named", ["name"])(name)
        key = torch.tensor([noise_key(3, item)])
        expected = sample_video(
            denoiser,
            stored["obs"][None, :1].float(),
            0.1 * torch.tensor(annotation["actions"]).float()[None],
            noise=lambda k, key=key: counted_noise(key, torch.full_like(key, k), (4, 4, 4, 4)),
            sampler="ddim",
            num_steps=3,
        )
        torch.testing.assert_close(found, expected[0], rtol=1e-5, atol=1e-4)


def test_long_scores(files, long_run):
    out, report = long_run
    base, scores = out / "checkpoints" / "0000100", report["scores"]
    exact = open_videos(base / "test_episode_frames")
    arrays, on_files, paired = [], [], []
    for name in LENGTHS:
        true = read_video(files.data / "videos" / "test" / f"{name}.mp4")
        arrays.append(psnr(exact[name](), true[1:]).mean())
        pred = read_file(base / "test_episode_videos" / f"{name}.mp4")
        on_files.append(psnr(pred, true[1:]).mean())
        paired.append(psnr(pred[1:], true[1:-1]).mean())
    assert scores["arrays"]["psnr_rgb"] == pytest.approx(np.mean(arrays), rel=1e-9)
    assert scores["files"]["psnr_rgb"] == pytest.approx(np.mean(on_files), rel=1e-9)
    assert scores["files"]["psnr_rgb_script_pairing"] == pytest.approx(np.mean(paired), rel=1e-9)
    assert report["counts"]["samples"]["fvd/arrays/true"] == 8  # 3 of 11, 9, 2 and 8 frames
    assert "fid" not in scores["files"]
    assert report["not_available"]["files/fid"] == "the reference takes it for windows only"


def test_videos_are_encoded_where_there_are_no_latents(files, tmp_path):
    report = run(short(files, tmp_path, source="video", limit=3))
    assert report["scores"]["latent_l2"] > 0
    with pytest.raises(ValueError, match="give --vae"):
        main(short(files, tmp_path / "other", source="video", vae=None))


def test_a_model_of_pixels(files, tmp_path):
    save_reference_checkpoint(tiny_unet(channels=3, action_dim=2), tmp_path / "vdm.pt")
    config = short(
        files, tmp_path, model=str(tmp_path / "vdm.pt"), pixel_size=(16, 16), limit=2, vae=None
    )
    report = run(config)
    frames = open_videos(tmp_path / "checkpoints" / "vdm" / "test_sample_frames")["a_0_0"]()
    assert frames.shape == (3, SIDE, SIDE, 3)  # enlarged to the size of the truth
    assert report["scores"]["latent_l2"] is None and report["scores"]["arrays"]["psnr_rgb"] > 0
    assert "model of pixels" in report["not_available"]["latent_l2"]
    scored = run(dataclasses.replace(config, name="vdm_with_vae", vae=files.vae))
    assert scored["scores"]["latent_l2"] > 0
    assert scored["scores"]["arrays"] == pytest.approx(report["scores"]["arrays"])


def test_a_chunk_world_knows_its_size_scale_and_autoencoder(files, tmp_path, short_run):
    from training.data.irasim.autoencoder import load_autoencoder
    from world_model import load_reference_checkpoint
    from world_model.chunk.reference.convert import Actions, import_denoiser

    world = import_denoiser(
        load_reference_checkpoint(files.model),
        name="imported",
        actions=Actions(low=(-1, -1), high=(1, 1), scale=(0.1, 0.1)),
        fps=10.0,
        vae=load_autoencoder(files.vae),
    )
    world.save_pretrained(tmp_path / "imported")
    config = short(files, tmp_path, model=str(tmp_path / "imported"), vae=None, action_scale=None)
    report = run(config)
    assert report["config"]["frame_size"] == (SIDE, SIDE)
    assert report["scores"]["arrays"] == pytest.approx(short_run[1]["scores"]["arrays"], rel=1e-3)


def test_reference_videos_have_sides_of_whole_blocks(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (3, 5, 6, 3), np.uint8), 8, 1), 8, 2)
    write_reference_video(tmp_path / "a.mp4", frames)
    found = read_file(tmp_path / "a.mp4")
    assert found.shape == (3, 48, 48, 3)  # 40 enlarged
    assert psnr(found[:, :, :48], read_video(tmp_path / "a.mp4")).min() > 35
    write_video(tmp_path / "b.mp4", frames[:, :32, :32], 4)
    write_reference_video(tmp_path / "c.mp4", frames[:, :32, :32])
    loss = psnr(read_file(tmp_path / "c.mp4"), read_file(tmp_path / "b.mp4"))
    assert 20 < loss.mean() < 45


def test_the_same_frames_give_the_same_file(files, tmp_path):
    """Whatever was in memory before: x264 once let it decide."""
    frames = read_video(files.data / "videos/test/b.mp4")[:4]
    rng = np.random.default_rng(0)
    written = set()
    for _ in range(40):
        used = [rng.bytes(size) for size in rng.choice([500, 1000, 3000, 20_000, 100_000], 60)]
        del used[:40]
        write_reference_video(tmp_path / "a.mp4", frames)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1
