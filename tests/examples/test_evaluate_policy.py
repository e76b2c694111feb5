"""The example of policy evaluation, in miniature."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/evaluate_policy.py"


def test_policies_are_compared(tiny_world, tmp_path, capsys):
    pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
    main = runpy.run_path(str(SCRIPT))["main"]
    main(world=str(tiny_world), episodes=1, max_steps=3, out=tmp_path)
    printed = capsys.readouterr().out
    assert "by the simulator, " in printed
    assert "by the learned world, " in printed
    assert (tmp_path / "policies.json").is_file()


def test_the_example_is_short():
    assert len(SCRIPT.read_text().splitlines()) <= 50
