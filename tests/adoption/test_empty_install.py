"""The wheel in an empty environment, with what the package index gives: as somebody new to it."""

import sys

import pytest

from tests.test_wheel import STEP, copy_sources, run

pytestmark = pytest.mark.adoption


def test_the_readmes_lines_run_after_an_install_into_nothing(tmp_path):
    source = copy_sources(tmp_path / "source")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "-w",
        tmp_path / "wheel",
        source,
        cwd=tmp_path,
    )
    (wheel,) = (tmp_path / "wheel").glob("irasim_env-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", f"{wheel}[pusht]", cwd=tmp_path)
    told = run(python, "-c", STEP, cwd=tmp_path)
    assert f"stepped in {tmp_path / 'venv'}" in told
    assert "usage: irasim" in run(tmp_path / "venv/bin/irasim", "--help", cwd=tmp_path)
    run(python, "-m", "pip", "check", cwd=tmp_path)
