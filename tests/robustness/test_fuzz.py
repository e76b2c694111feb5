"""Damaged inputs: refused in words, quickly, in little memory, and nothing is written elsewhere."""

import pytest

pytest.importorskip("pyarrow", reason="needs pip install 'irasim-env[lerobot]'")

from tests.robustness.fuzz import fuzz
from tests.robustness.readers import FUZZED


@pytest.mark.slow_suite
def test_a_few_damaged_inputs_of_each_kind_are_refused_in_words():
    outcomes = fuzz([fuzzed.name for fuzzed in FUZZED], count=12, seed=1)
    assert not {name: one.faults for name, one in outcomes.items() if one.faults}
    for name, one in outcomes.items():
        assert one.results["refused"], f"{name}: nothing was damaged: {one.results}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [fuzzed.name for fuzzed in FUZZED])
def test_damaged_inputs_are_refused_in_words(name: str):
    [one] = fuzz([name], count=500).values()
    assert not one.faults, "\n".join(one.faults)
