"""Splits of a LeRobot dataset: its own under any name, what is asked for, or sensible ones."""

from pathlib import Path
from typing import Any

import pytest

from training.data.lerobot.splits import assign

INFO = Path("set/meta/info.json")


def split(
    named: Any,
    count: int = 10,
    kept: list[int] | None = None,
    val: int | None = 0,
    test: int | None = 0,
) -> tuple[str, str]:
    """A letter for each episode that is kept, and what was remarked."""
    kept = list(range(count)) if kept is None else kept
    found = assign(INFO, {"splits": named}, count, kept, val=val, test=test)
    assert list(found.of) == kept
    return "".join(found.of[index][1] for index in kept), " ".join(found.remarks)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, "rrrrrrrrrr"),
        ({}, "rrrrrrrrrr"),
        ({"train": "0:10"}, "rrrrrrrrrr"),
        ({"train": "0:100%"}, "rrrrrrrrrr"),
        ({"train": "0%:80%", "validation": "80%:100%"}, "rrrrrrrraa"),
        ({"train": "80%", "test": "80%:"}, "rrrrrrrree"),
        ({"Training": "0:6", "valid": "6:8", "held_out": "8:10"}, "rrrrrraaee"),
        ({"train": "0:8", "eval": "8:10"}, "rrrrrrrraa"),
        ({"train": [0, 2, 4], "dev": [1, 3], "test": [5, 6, 7, 8, 9]}, "rarareeeee"),
        # Where they overlap, nothing that is held out is trained on.
        ({"val": "8:10", "train": "0:10", "test": "9:10"}, "rrrrrrrrae"),
        ({"train": "0:50"}, "rrrrrrrrrr"),
    ],
)
def test_own_splits_are_used_under_any_name(named: Any, expected: str):
    assert split(named) == (expected, "")


def test_what_splits_leave_out_is_trained_on_and_told():
    letters, remark = split({"train": "0:1", "val": "1:2"})
    assert letters == "rarrrrrrrr"
    assert remark.startswith("set/meta/info.json: its splits leave out 8 of 10 episodes")


def test_splits_of_other_names_are_trained_on_and_told():
    letters, remark = split({"kitchen": "0:5", "garage": "5:10"})
    assert letters == "rrrrrrrrrr"
    assert remark.startswith("set/meta/info.json: splits 'kitchen', 'garage' are neither")


@pytest.mark.parametrize("span", ["first", "", "1:2:3", ":", 3, ["a"], [True], {"a": 1}, "-1:3"])
def test_spans_that_cannot_be_understood_are_named(span: Any):
    with pytest.raises(ValueError, match=r"set/meta/info\.json: split 'train' is .*expected"):
        split({"train": span})


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "r"),
        (2, "ra"),
        (3, "rae"),
        (10, "rrrrrrrrae"),
        (30, "r" * 24 + "aaaeee"),
        (1000, "r" * 900 + "a" * 50 + "e" * 50),
    ],
)
def test_without_a_word_a_tenth_is_set_aside_for_each(count: int, expected: str):
    assert split({"train": f"0:{count}"}, count, val=None, test=None)[0] == expected


def test_what_is_asked_for_is_all_that_is_set_aside():
    assert split(None, val=3, test=None)[0] == "rrrrrrraaa"
    assert split(None, val=0, test=None)[0] == "rrrrrrrrrr"
    assert split(None, val=2, test=3)[0] == "rrrrraaeee"
    assert split(None, val=None, test=3)[0] == "rrrrrraeee"
    assert split({"train": "0:8", "val": "8:10"}, val=None, test=None)[0] == "rrrrrrrraa"
    assert split({"train": "0:8", "test": "8:10"}, val=None, test=None)[0] == "rrrrrrraee"
    assert split({"train": "0:8", "val": "8:10"}, val=1, test=2)[0] == "rrrrraeeaa"


def test_episodes_that_are_left_out_are_in_no_split():
    assert split(None, kept=[1, 4, 5, 9], val=2)[0] == "rraa"


@pytest.mark.parametrize(("val", "test"), [(10, 0), (0, 10), (5, 5), (None, 9)])
def test_something_has_to_be_left_to_train_on(val: int | None, test: int):
    with pytest.raises(ValueError, match="there are 10 training episodes"):
        split(None, val=val, test=test)
