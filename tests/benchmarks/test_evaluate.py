"""`irasim evaluate`: both protocols from data to table, with tiny models and stand-in networks."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import psnr, ssim
from benchmarks.evaluate import cli
from benchmarks.evaluation import main
from benchmarks.evaluation_config import LongConfig, ShortConfig, TableConfig
from benchmarks.evaluation_generate import noise_key
from benchmarks.evaluation_layout import write_reference_video
from benchmarks.evaluation_table import main as table
from benchmarks.lpips import LPIPS
from benchmarks.perceptual import FVDProtocol, fid, fvd, load_detector
from benchmarks.videos import open_videos, read_file
from benchmarks.weights import WeightsSource, load_torchscript
from tests.benchmarks.published_episodes import (
    LENGTHS,
    SIDE,
    Detector,
    Pictures,
    random_weights,
    save_scripted,
    write_autoencoder,
    write_dataset,
)
from tests.world_model.chunk_denoisers import tiny_irasim, tiny_unet
from world_model import sample_video, save_reference_checkpoint
from world_model.noise import counted_noise
from world_model.video import read_video, write_video

ROOT = Path(__file__).parents[2]
# Windows of 4 frames every 3 frames.
WINDOWS = ["a_0_0", "a_0_3", "a_0_6", "b_0_0", "b_0_3", "b_0_6", "d_0_0", "d_0_3"]
Run = tuple[Path, dict[str, Any]]  # where to, and the report
SAMPLING: dict[str, Any] = {"sampler": "ddim", "num_steps": 3, "seed": 3}


@dataclasses.dataclass
class Files:
    """What evaluations are given."""

    data: Path
    vae: str
    model: str
    weights: dict[str, Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("evaluate")
    denoiser = tiny_irasim(latent_size=(4, 4), action_embedding="linear")
    save_reference_checkpoint(denoiser, root / "0000100.pt")
    fresh = LPIPS("alex")
    names = {n: tuple(v.shape) for n, v in fresh.state_dict().items() if "features" in n}
    torch.save(random_weights(names), root / "trunk.pth")
    heads = {
        f"lin{i}.model.1.weight": torch.linspace(0, 1, len(h)).view(1, -1, 1, 1)
        for i, h in enumerate(fresh.heads)
    }
    torch.save(heads, root / "heads.pth")
    weights: dict[str, Any] = {
        "lpips_network": root / "trunk.pth",
        "lpips_heads": root / "heads.pth",
        "inception": save_scripted(Pictures(), root / "pictures.pt"),
        "i3d": save_scripted(Detector(), root / "detector.pt"),
    }
    checksums = {
        f"{k}_sha256": hashlib.sha256(p.read_bytes()).hexdigest() for k, p in weights.items()
    }
    return Files(
        data=write_dataset(root / "table"),
        vae=str(write_autoencoder(root / "vae")),
        model=str(root / "0000100.pt"),
        weights={**weights, **checksums, "fetch": False},
    )


def short(files: Files, out: Path, **fields: Any) -> ShortConfig:
    return ShortConfig(
        **{
            "model": files.model,
            "data": files.data,
            "out": out,
            "vae": files.vae,
            "action_scale": (0.1, 0.1),
            "interval": 3,
            "batch": 3,
            "cpu": True,
            **SAMPLING,
            **files.weights,
            **fields,
        }
    )


def long(files: Files, out: Path, **fields: Any) -> LongConfig:
    config = {f.name: getattr(short(files, out), f.name) for f in dataclasses.fields(LongConfig)}
    return LongConfig(**{**config, **fields})


def run(config: ShortConfig | LongConfig) -> dict[str, Any]:
    report = main(config)
    assert report is not None
    return report


@pytest.fixture(scope="module")
def short_run(
    files: Files, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("short")
    return out, run(short(files, out))


@pytest.fixture(scope="module")
def long_run(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("long")
    return out, run(long(files, out))


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


def test_what_is_there_is_not_done_again(files, tmp_path):
    config = short(files, tmp_path)
    first = run(dataclasses.replace(config, limit=4))
    assert first["counts"]["predicted_in_this_run"] == 4
    videos = tmp_path / "checkpoints" / "0000100" / "test_sample_videos"
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in videos.iterdir()}
    (videos / "a_0_3.mp4").unlink()
    second = run(dataclasses.replace(config, limit=4))
    assert second["counts"]["predicted_in_this_run"] == 3  # its batch
    assert second["scores"] == first["scores"]
    after = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in videos.iterdir()}
    assert {n: content for n, (_, content) in after.items()} == {
        n: content for n, (_, content) in before.items()
    }
    assert after["b_0_0.mp4"][0] == before["b_0_0.mp4"][0]
    whole = run(config)
    assert whole["counts"]["predicted_in_this_run"] == 5
    assert not list(tmp_path.rglob(".*"))


def test_results_of_two_settings_are_not_mixed(files, tmp_path):
    run(short(files, tmp_path, limit=1))
    with pytest.raises(ValueError, match=r"other settings \(seed 3, now 4\)"):
        main(short(files, tmp_path, limit=1, seed=4))
    assert run(short(files, tmp_path, limit=1, seed=4, name="other"))["model"]["name"] == "other"


PROCESS = """
import json, sys
from benchmarks.evaluate import cli
arguments = json.loads(sys.argv[1])
for part in ("short", "long"):
    cli([part, *arguments[part]])
"""


def test_two_processes_do_what_one_does(files, tmp_path, short_run, long_run):
    flags = [f"--{n.replace('_', '-')}={v}" for n, v in files.weights.items() if n != "fetch"]
    flags += [f"--model={files.model}", f"--data={files.data}", f"--out={tmp_path}"]
    flags += [f"--vae={files.vae}", "--sampler=ddim", "--num-steps=3", "--seed=3", "--cpu"]
    flags += ["--no-fetch", "--action-scale", "0.1", "0.1"]
    arguments = {"short": [*flags, "--interval=3", "--batch=3"], "long": flags}
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = subprocess.run(
        [sys.executable, *command, str(script), json.dumps(arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count(" arrays |") == 2  # one process prints
    for protocol, (_, alone) in (("short", short_run), ("long", long_run)):
        both = json.loads((tmp_path / "checkpoints" / "0000100" / f"{protocol}.json").read_text())
        assert both["processes"] == 2
        assert both["counts"] == alone["counts"]
        assert both["items"].keys() == alone["items"].keys()
        for name, item in alone["items"].items():
            for score, value in item.items():
                # x264 was once seen to encode the same frames differently on a busy machine.
                rel = 0.05 if score.startswith("files/") else 0.0
                assert both["items"][name][score] == pytest.approx(value, rel=rel, abs=0), score
        for kind, rel in (("arrays", 1e-9), ("files", 0.05)):
            assert both["scores"][kind] == pytest.approx(alone["scores"][kind], rel=rel, abs=1e-9)


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


def test_without_an_autoencoder_there_is_latent_l2_alone(files, tmp_path, capsys):
    report = run(short(files, tmp_path, vae=None))
    assert report["scores"]["latent_l2"] > 0
    assert report["scores"]["arrays"] == report["scores"]["files"] == {}
    assert "give --vae" in report["not_available"]["psnr"]
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if " arrays |" in line)
    assert row.count("not available") == 7
    assert not list((tmp_path / "checkpoints" / "0000100").rglob("*.mp4"))


def test_missing_weights_are_said_in_place_of_figures(files, tmp_path, capsys):
    absent = {"inception": tmp_path / "nowhere.pth", "i3d_sha256": "0" * 64}
    report = run(short(files, tmp_path, limit=2, **absent))
    assert report["scores"]["arrays"]["lpips"] > 0
    assert "fid" not in report["scores"]["arrays"] and "fvd" not in report["scores"]["files"]
    assert "nowhere.pth: no such file" in report["not_available"]["fid"]
    assert "expected 0000" in report["not_available"]["fvd"]
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if " arrays |" in line)
    assert row.count("not available") == 2
    assert "not available: fid: " in text
    written = json.loads((tmp_path / "checkpoints" / "0000100" / "short.json").read_text())
    assert written["not_available"] == report["not_available"]


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
    from training.autoencoder import load_autoencoder
    from world_model import load_reference_checkpoint
    from world_model.import_reference import Actions, import_denoiser

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


def test_table_compares_results(short_run, long_run, tmp_path, capsys):
    text = table(TableConfig(results=(short_run[0], long_run[0] / "checkpoints")))
    assert text in capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith("| ") and "table" in line]
    assert [row.split("|")[2].strip() for row in rows] == ["long", "long", "short", "short"]
    value = short_run[1]["scores"]["arrays"]["psnr_rgb"]
    assert f"{value:.2f}" in rows[2]
    assert "as the reference's script pairs them" in text
    with pytest.raises(ValueError, match="no short.json or long.json"):
        table(TableConfig(results=(tmp_path,)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action_scale": None}, "name the --dataset"),
        ({"limit": 0}, "limit is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"split": "val"}, "no such directory"),
        ({"frame_size": (16, 16)}, "give --frame-size the predicted size"),
        ({"vae": "nowhere/at/all"}, "no such directory, and no Hub id"),
        ({"action_scale": (1.0, 1.0, 1.0)}, "actions have 2 components"),
    ],
)
def test_bad_settings_are_refused(files, tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        main(short(files, tmp_path, **fields))


def test_latents_of_another_size_are_refused(files, tmp_path):
    save_reference_checkpoint(tiny_irasim(action_embedding="linear"), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="takes latents of 4 x 6, the data's are 4 x 4"):
        main(short(files, tmp_path, model=str(tmp_path / "other.pt")))


def test_a_streaming_world_is_refused(files, tmp_path, tiny_world):
    with pytest.raises(ValueError, match="irasim bench quality"):
        main(short(files, tmp_path, model=str(tiny_world)))


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


def test_help_is_quick(capsys):
    cli(["--help"])
    assert "whole episodes" in capsys.readouterr().out
    code = (
        "import sys; from benchmarks.evaluate import cli\n"
        "try: cli(['short', '--help'])\n"
        "except SystemExit: assert 'torch' not in sys.modules, 'torch was imported'"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "--num-steps" in result.stdout
    with pytest.raises(SystemExit, match="unknown part 'wide'"):
        cli(["wide"])
