"""`irasim bench gpu`: stages that fail, hang or run out of memory, and the rehearsal of all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.gpu import command, report, truth
from benchmarks.gpu.record import Record
from benchmarks.gpu.stage import STAGES
from benchmarks.gpu.stages import Stage, run_stages
from irasim_env import console

KILLED = "import os, signal; print('about to go'); os.kill(os.getpid(), signal.SIGKILL)"
HANGS = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text('{"figures": {"child": %d}}' % child.pid)
print("waiting for what never comes", flush=True)
time.sleep(600)
"""
OUT_OF_MEMORY = "import torch; print('asking for much'); torch.zeros(2**60, dtype=torch.uint8)"
GOOD = 'import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(\'{"figures": {"two": 2}}\')'


def stage(name: str, code: str, tmp_path: Path, share: float = 1.0) -> Stage:
    result = tmp_path / f"{name}.json"
    return Stage(
        name=name, command=(sys.executable, "-c", code, str(result)), share=share, result=result
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.slow_suite
def test_one_stage_is_killed_one_hangs_one_runs_out_of_memory_and_the_others_report(tmp_path):
    codes = {
        "killed": KILLED,
        "first": GOOD,
        "hangs": HANGS,
        "memory": OUT_OF_MEMORY,
        "fails": "raise ValueError('no such thing')",
        "nothing": "import sys; print('nothing to do'); sys.exit(77)",
        "last": GOOD,
    }
    # The one that hangs gets a few seconds, the others as long as a busy machine may take.
    shares = {name: 0.03 if name == "hangs" else 1.0 for name in codes}
    stages = [stage(name, code, tmp_path, shares[name]) for name, code in codes.items()]
    told: list[dict[str, str]] = []

    def note(results):
        told.append({name: result["status"] for name, result in results.items()})

    results = run_stages(stages, 600.0, tmp_path / "log", note)
    assert {name: result["status"] for name, result in results.items()} == {
        "killed": "failed",
        "first": "ok",
        "hangs": "timeout",
        "memory": "out_of_memory",
        "fails": "failed",
        "nothing": "skipped",
        "last": "ok",
    }
    assert "SIGKILL" in results["killed"]["exit"]
    assert results["killed"]["last_lines"] == ["about to go"]
    assert results["hangs"]["last_lines"] == ["waiting for what never comes"]
    assert results["nothing"]["last_lines"] == ["nothing to do"]
    assert "no such thing" in results["fails"]["last_lines"][-1]
    assert results["fails"]["exit"] == "exit status 1"
    assert results["first"]["figures"] == results["last"]["figures"] == {"two": 2}
    assert "last_lines" not in results["first"]
    # What it had noted is kept, and what it had started is gone with it.
    assert not alive(results["hangs"]["figures"]["child"])
    # It was reported after each stage, and while one ran.
    assert {"killed": "failed"} in told
    assert any(status.get("hangs") == "running" for status in told)
    assert told[-1]["last"] == "ok"


def test_time_that_is_left_over_goes_to_the_stages_that_follow(tmp_path):
    stages = [stage(name, "pass", tmp_path) for name in ("one", "two", "three")]
    results = run_stages(stages, 300.0, tmp_path / "log", lambda results: None)
    assert results["one"]["limit"] == pytest.approx(100.0, abs=0.5)
    assert 100 < results["two"]["limit"] <= 150
    assert 200 < results["three"]["limit"] < 300


def test_figures_are_on_disk_as_soon_as_they_are_noted(tmp_path):
    record = Record(tmp_path / "result.json")
    for number in (1.0, float("nan")):
        record.figure("number", number)
        kept = json.loads((tmp_path / "result.json").read_text())["figures"]["number"]
        assert kept == (1.0 if number == 1.0 else None)
    record.row("A table", ("a", "b"), ("1", "2"))
    record.target("steps a second, batch 1", 900.0, least=1000)
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["tables"]["A table"] == {"header": ["a", "b"], "rows": [["1", "2"]]}
    assert content["targets"]["steps a second, batch 1"]["met"] is False


def test_the_report_says_what_was_not_measured():
    met = {"steps a second, batch 1": {"least": 1000, "measured": 1234.5, "met": True}}
    stages = {
        "step": {"status": "timeout", "seconds": 3.0, "limit": 3.0, "targets": met}
        | {"last_lines": ["here it was"]},
        "chunk": {"status": "waiting"},
    }
    text = report.as_text({"device": "a card", "versions": {"torch": "2"}, "stages": stages})
    lines = text.splitlines()
    [line] = [line for line in lines if "steps a second, batch 1 |" in line and "over" not in line]
    assert [cell.strip() for cell in line.split("|")[2:5]] == ["1000", "1234.50", "yes"]
    assert sum("not measured" in line for line in lines) == len(report.TARGETS) - 1
    assert "here it was" in text
    assert "## chunk: waiting" in lines


def test_without_a_gpu_it_says_how_to_rehearse(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"no CUDA device here .*--smoke"):
        command.main(command.GpuConfig(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_asked_to_end_it_ends_its_stage_too(tmp_path):
    out = tmp_path / "out"
    code = "from irasim_env.console import main; main()"
    arguments = ["bench", "gpu", "--smoke", "--stages", "step", "training", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        while not (out / "gpu.log").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        while not (stages := psutil.Process(process.pid).children(recursive=True)):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode
    assert b"asked to end" in told
    assert not any(alive(stage.pid) for stage in stages)


def test_all_tests_that_run_on_a_gpu_are_found(tmp_path):
    found = {path.name for path in truth.gpu_tests(truth.ROOT / "tests")}
    assert {"test_captured_steps.py", "test_cuda_graph.py", "test_output.py"} <= found
    assert not truth.gpu_tests(tmp_path)


@pytest.mark.slow_suite
def test_the_rehearsal_runs_every_stage(tmp_path, capsys):
    console.run(["bench", "gpu", "--smoke", "--out", str(tmp_path / "out")])
    content = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert {name: stage["status"] for name, stage in content["stages"].items()} == dict.fromkeys(
        STAGES, "ok"
    )
    assert "threads" in content["device"]
    figures = {name: stage["figures"] for name, stage in content["stages"].items()}
    assert figures["truth"]["counts"]["passed"] >= 5
    assert "failed" not in figures["truth"]["counts"]
    for output in ("numpy", "torch"):
        assert figures["step"][f"batch 1, float32, eager, {output}"]["steps_per_second"] > 0
    assert figures["step"]["decision by states, float32"]["decision_seconds"] > 0
    assert figures["chunk"]["psnr_bf16_to_float32_db"] > 35
    assert figures["training"]["batch 2, eager"]["frames_per_second"] > 0
    assert figures["training"]["optimizer muon"]["steps"] >= 1
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "gpu.md").read_text()
    assert "## training: ok" in printed
