"""`irasim evaluate` as a command: resumed, on two processes, its table, what it refuses."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.evaluate import cli
from benchmarks.irasim.command import main
from benchmarks.irasim.config import TableConfig
from benchmarks.irasim.table import main as table
from tests.benchmarks.evaluations import run, short
from tests.world_model.chunk_denoisers import tiny_irasim
from world_model import save_reference_checkpoint

ROOT = Path(__file__).parents[3]


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


@pytest.mark.slow_suite
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
        assert both["items"] == alone["items"]
        for kind in ("arrays", "files"):
            assert both["scores"][kind] == pytest.approx(alone["scores"][kind], rel=1e-9, abs=1e-9)


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
