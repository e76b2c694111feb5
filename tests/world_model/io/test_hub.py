"""Whatever is named in place of a directory, the Hub's client leaves no traceback."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from irasim_env import console
from training.data.irasim.autoencoder import load_autoencoder
from training.data.lerobot.config import ConvertConfig
from training.data.lerobot.convert import main as convert
from world_model.io.checkpoint import find_world

# What is named, and what is told.
NAMES = {
    "runs/absent": "no such directory, though there is runs",
    "runs/file.txt": "file",
    "owner/absent": "cannot be downloaded from the Hub",
    "owner name/x": "Hub id",
    "own--er/x": "Hub id",
    "o" * 120 + "/x": "Hub id",
    "a/b/c": "Hub id",
    "./absent/x": "Hub id",
    "/absent/x": "Hub id",
    "~/absent": "Hub id",
}


def convert_from(name: str) -> None:
    convert(ConvertConfig(source=name, out=Path("out")))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory with a folder and a file, and no connection."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/file.txt").write_text("kept")
    yield
    AcceleratorState._reset_state(reset_partial_state=True)  # it keeps a process's precision


@pytest.mark.parametrize("find", [find_world, load_autoencoder, convert_from])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_directory_is_told(find: Callable[[str], object], name: str):
    expected = "has no config.json" if "file" in name and find is find_world else NAMES[name]
    with pytest.raises(ValueError, match=expected) as refused:
        find(name)
    assert type(refused.value) is ValueError
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "command",
    [
        "play --steps 1 --world NAME",
        "bench quality --data NAME --world NAME",
        "bench speed --world NAME",
        "bench card --world NAME",
        "bench planning --world NAME",
        "evaluate policy --policy policies.pusht_family:expert --world NAME",
        "plan --world NAME",
        "rl --world NAME",
        "export NAME --out x.pt",
        "train --data NAME --out out --cpu",
        "train --data d --init NAME --out out --cpu",
        "train --preset chunk_tiny --data NAME --out out --cpu",
        "distill --world NAME --data NAME --out out --cpu",
        "encode NAME --vae NAME --cpu",
        "convert NAME --out out",
    ],
)
@pytest.mark.parametrize("name", ["runs/absent", "runs/file.txt"])
def test_commands_tell_it_in_a_line(command: str, name: str, monkeypatch: pytest.MonkeyPatch):
    words = [word.replace("NAME", name) for word in command.split()]
    monkeypatch.setattr("sys.argv", ["irasim", *words])
    told = io.StringIO()
    with contextlib.redirect_stderr(told), pytest.raises(SystemExit) as stop:
        console.main()
    text = f"{stop.value.code} {told.getvalue()}"
    assert "Traceback" not in text
    assert name in text, text
    assert Path("runs/file.txt").read_text() == "kept"
