"""What a result cannot be written to is told before the work."""

from pathlib import Path

import pytest

from world_model import directories
from world_model.directories import check_directory


def test_directory_may_be_there_or_not_and_none_is_made(tmp_path: Path):
    check_directory(tmp_path)
    check_directory(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["", "a/b"])
def test_file_in_its_place_or_on_the_way_is_named(tmp_path: Path, below: str):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--out .*file is a file, expected a directory"):
        check_directory(tmp_path / "file" / below)


def test_directory_of_others_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(directories.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f"--data .*{tmp_path} cannot be written"):
        check_directory(tmp_path / "a", "--data")
