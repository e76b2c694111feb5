"""The dress rehearsal in miniature: every command of the chunk models, one after the other."""

import subprocess
import sys
from pathlib import Path

import pytest

REHEARSAL = Path(__file__).parents[2] / "examples/rehearsal.py"


def rehearse(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REHEARSAL), *arguments],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.slow
def test_the_rehearsal_resumes_a_killed_run_and_ends_in_a_table_of_both_models(tmp_path):
    result = rehearse(
        *("--out", str(tmp_path / "rehearsal"), "--episodes", "3", "1", "1", "--max-steps", "24"),
        *("--frame-ada-steps", "400", "--lvdm-steps", "5", "--sample-steps", "4"),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "(killed; the same command again" in result.stdout
    assert "resumed at step" in result.stdout
    table = result.stdout.rpartition("$ irasim evaluate table")[2]
    for protocol in ("short", "long"):
        for model in ("frame_ada", "lvdm"):
            assert any(protocol in line and model in line for line in table.splitlines())
    assert "rehearsed in" in table


def test_a_directory_of_something_else_is_not_deleted(tmp_path):
    kept = tmp_path / "kept.txt"
    kept.touch()
    result = rehearse("--out", str(tmp_path))
    assert result.returncode != 0
    assert "was not made by rehearsal.py" in result.stderr
    assert kept.exists()
