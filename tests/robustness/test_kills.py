"""Commands that are killed at random moments: given again, they end as if nothing had happened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")
pytest.importorskip("pyarrow", reason="needs pip install 'irasim-env[lerobot]'")

from tests.robustness.commands import COMMANDS, Command
from tests.robustness.kills import Killer
from tests.robustness.zygote import Zygote

QUICK = ("collect", "encode", "evaluate short")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as started:
        yield started


def check(zygote: Zygote, command: Command, place: Path, kills: int, seed: int) -> None:
    report = Killer(zygote, command, place, seed).kill(kills)
    assert report.kills >= kills
    assert not report.problems, "\n".join(report.problems)


@pytest.mark.slow_suite
@pytest.mark.parametrize("command", [one for one in COMMANDS if one.name in QUICK])
def test_a_killed_command_ends_as_an_undisturbed_one(
    command: Command, zygote: Zygote, tmp_path: Path
):
    check(zygote, command, tmp_path, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_twenty_kills_of_a_command_change_nothing(command: Command, zygote: Zygote, tmp_path: Path):
    check(zygote, command, tmp_path, kills=20, seed=0)
