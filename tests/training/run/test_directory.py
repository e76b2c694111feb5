"""What is kept of a run's settings."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.report import write_report
from training.run.config import BEFORE
from training.run.directory import CONFIG, STATE, as_written, write_config


@dataclass(frozen=True, kw_only=True)
class Settings:
    data: Path
    vae: str | None = None
    splits: tuple[str, ...] = ()
    steps: int = 3


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def test_paths_in_the_working_directory_are_kept_relative(here, tmp_path):
    beside = tmp_path / "here too"
    settings = Settings(data=here / "data/mine", vae=f"{here}/vae", splits=(f"{here}/a", "b"))
    expected = {"data": "data/mine", "vae": "vae", "splits": ["a", "b"], "steps": 3}
    assert as_written(settings) == expected
    relative = Settings(data=Path("data/mine"), vae="vae", splits=("a", "b"))
    assert as_written(relative) == expected
    assert as_written(Settings(data=beside, vae="owner/name"))["data"] == str(beside)
    write_report(here / "report.json", {"config": {"world": here / "runs/world"}, "figure": 1.5})
    report = json.loads((here / "report.json").read_text())
    assert report == {"config": {"world": "runs/world"}, "figure": 1.5}


def test_a_run_goes_on_however_its_paths_are_given(here):
    (here / STATE).touch()
    absolute, relative = Settings(data=here / "data"), Settings(data=Path("data"))
    write_config(absolute, here, set())
    write_config(relative, here, set())
    # As it was kept by versions that kept paths as they were given.
    (here / CONFIG).write_text(json.dumps({**as_written(relative), "data": f"{here}/data"}))
    write_config(absolute, here, set())
    assert json.loads((here / CONFIG).read_text())["data"] == "data"
    with pytest.raises(SystemExit, match=r"a run with another data \(data\), steps \(3\);"):
        write_config(Settings(data=here / "other", steps=4), here, set())
    write_config(Settings(data=here / "data", steps=4), here, {"steps"})


def test_a_run_from_before_a_field_goes_on_as_it_was(here):
    @dataclass(frozen=True, kw_only=True)
    class Grown(Settings):
        plain: int = 1
        changed: int = field(default=5, metadata={BEFORE: 0})

    (here / STATE).touch()
    write_config(Settings(data=Path("data")), here, set())
    with pytest.raises(SystemExit, match=r"changed \(0\); give what it had"):
        write_config(Grown(data=Path("data")), here, set())
    write_config(Grown(data=Path("data"), changed=0), here, set())
