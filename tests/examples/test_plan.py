"""examples/plan.py in miniature."""

from pathlib import Path

import pytest

from tests.examples.test_examples import run


@pytest.mark.slow_suite
def test_plan_plans_and_acts(tiny_world: Path):
    arguments = ("--steps", 3, "--candidates", 2, "--horizon", 2, "--executed", 2)
    printed = run("plan.py", "--world", tiny_world, *arguments).splitlines()
    assert [line.partition(":")[0] for line in printed] == ["step 2", "step 3"]
    assert all("promised" in line and "covered" in line for line in printed)
