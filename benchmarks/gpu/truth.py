"""Stage: what is said of captured steps is true. Runs the tests that are marked `gpu`.

In a rehearsal the same files are run on the processor, where a stand-in takes a graph's place.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import Record, Skipped, StageSettings

ROOT = Path(__file__).parents[2]
# What makes a test one that runs on a GPU: see tests/conftest.py.
SIGNS = ("NEEDS_GPU", "DEVICES")
# A time limit shall not take what matters most.
FIRST = "world_model"
# In a rehearsal: some tests of each kind, by name.
REHEARSED = (
    "(replay_equals_eager and tiny) or (batch_equals_singles and tiny) or whole_optimizer_step "
    "or tensors_are_copies or bf16_stays_near"
)


def run(settings: StageSettings, record: Record) -> None:
    """Run them; each outcome is noted as it comes.

    Raises:
        Skipped: The tests are not here: they come with the repository, not with the package.
    """
    import pytest

    files = gpu_tests(ROOT / "tests")
    if not files:
        raise Skipped(f"no tests beside the packages in {ROOT}; run it in a checkout")
    chosen = ["-m", "not gpu and not slow", "-k", REHEARSED] if settings.smoke else ["-m", "gpu"]
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", "-rfE"]
    # Other versions of packages may warn of other things; here results count.
    lenient = ["-o", "filterwarnings=default", "-o", "addopts="]
    outcomes = Outcomes(record)
    sys.path.insert(0, str(ROOT))
    status = pytest.main(
        [*quiet, *lenient, *chosen, f"--rootdir={ROOT}", *map(str, files)], plugins=[outcomes]
    )
    counts = outcomes.counts()
    ran = counts["passed"] + counts["failed"]
    record.figure("counts", dict(counts))
    if not settings.smoke:
        record.target("tests that passed, share", counts["passed"] / max(ran, 1), least=1.0)
    for name, outcome in sorted(outcomes.outcomes.items()):
        if outcome != "passed":
            record.row("Tests that did not pass", ("test", "outcome"), (name, outcome))
    record.row("Tests", ("passed", "failed", "skipped"), [str(counts[k]) for k in KINDS])
    if status or not ran:
        sys.exit(f"pytest ended with {status!r}; {counts['failed']} of {ran} tests failed")


KINDS = ("passed", "failed", "skipped")


def gpu_tests(root: Path) -> list[Path]:
    """Files with tests that run on a GPU, those of the steps themselves first."""
    files = sorted(root.rglob("test_*.py"), key=lambda path: (FIRST not in path.parts, path))
    return [path for path in files if any(sign in path.read_text() for sign in SIGNS)]


class Outcomes:
    """A pytest plugin that notes how each test ended, as soon as it has."""

    def __init__(self, record: Record):
        self._record = record
        self.outcomes: dict[str, str] = {}

    def counts(self) -> Counter[str]:
        """How many tests ended in which way."""
        return Counter(self.outcomes.values())

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A phase of a test has ended; an error before or after it counts as its failure."""
        if report.when == "call" or report.outcome != "passed":
            earlier = self.outcomes.get(report.nodeid)
            self.outcomes[report.nodeid] = "failed" if earlier == "failed" else report.outcome
            self._record.figure("outcomes", self.outcomes)
