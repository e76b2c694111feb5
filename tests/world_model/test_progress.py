"""Progress: bars on a terminal, few lines in a log; one place for all of them."""

import ast
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from world_model import progress
from world_model.progress import progress_bar

ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that goes on by a tenth of a second each time it is asked."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 0.1
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was written to the standard error."""
    monkeypatch.setattr(progress, "time", Clock())
    return lambda: capsys.readouterr().err


def test_a_log_gets_a_line_now_and_then(log):
    """Twenty thousand steps of a tenth of a second."""
    bar = progress_bar(desc="states", percent=True)
    for step in range(20_000):
        bar.n = step / 200
        bar.set_postfix_str(f"step {step} loss 0.5")
    bar.close()
    text = log()
    lines = text.splitlines()
    assert 20 < len(lines) < 120
    assert "\r" not in text
    assert "step 19999 loss 0.5" in lines[-1]
    assert lines[0].startswith("states: 0 % in ")


def test_short_work_leaves_one_line(log):
    assert list(progress_bar(range(5), "reading", unit="episodes")) == [0, 1, 2, 3, 4]
    text = log()
    assert text.startswith("reading: 5 of 5 episodes in ")
    assert text.count("\n") == 1


def test_what_is_not_to_stay_or_be_shown_leaves_nothing(log):
    list(progress_bar(range(5), "reading", leave=False))
    list(progress_bar(range(5), "reading", shown=False))
    assert not log()


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(total=3, desc="scoring") as bar:
        bar.update(3)
    text = sys.stderr.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "\r" in text
    assert "100%" in text


def test_no_other_file_makes_bars():
    for package in ("irasim_env", "training", "policies", "benchmarks", "world_model"):
        for path in (ROOT / package).rglob("*.py"):
            modules = {
                node.module
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
            }
            assert "tqdm" not in modules or path.name == "progress.py", path
