"""The reinforcement-learning example, in miniature."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
EXAMPLE = Path(__file__).parents[2] / "examples" / "reinforcement.py"


@pytest.mark.slow_suite
def test_policy_of_the_world_runs_in_the_simulator(tiny_world, tmp_path):
    command = [sys.executable, EXAMPLE, "--world", tiny_world, "--steps", 32, "--num-envs", 2]
    command += ["--horizon", 3, "--out", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert (tmp_path / "policy.zip").is_file()
    for place in ("learned world", "real simulator"):
        assert f"return in the {place}: " in done.stdout
    assert "over 2 episodes" in done.stdout


def test_it_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 50
