"""Files are whole or absent, and what killed processes have left goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from world_model.io.whole_files import clear_leftovers, whole_file, whole_folder, write_whole


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "a.json"
    write_whole(path, "before")
    with whole_file(path, durable=True) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_what_was_there(tmp_path: Path):
    path, folder = tmp_path / "a.json", tmp_path / "frames"
    write_whole(path, "before")
    folder.mkdir()
    (folder / "1.png").touch()
    for kind, place in ((whole_file, path), (whole_folder, folder)):
        with pytest.raises(OSError, match="full"), kind(place):
            raise OSError("the disk is full")
    assert path.read_text() == "before"
    assert sorted(tmp_path.rglob("*")) == [path, folder, folder / "1.png"]


def test_a_folder_is_put_in_place_of_another(tmp_path: Path):
    folder = tmp_path / "frames"
    for name in ("1.png", "2.png"):
        with whole_folder(folder) as temporary:
            (temporary / name).touch()
    assert sorted(tmp_path.rglob("*")) == [folder, folder / "2.png"]


HOLD = """
import sys, time
from pathlib import Path
from world_model.io.whole_files import whole_file, whole_folder

with whole_file(Path(sys.argv[1]) / "a.mp4") as file, whole_folder(Path(sys.argv[1]) / "b"):
    file.write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path):
    (tmp_path / ".hidden").touch()
    (tmp_path / "kept.1.tmp").touch()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        clear_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 4
        writer.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 4
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "kept.1.tmp"]
