"""`irasim push` and `from_pretrained` through the real client, against a stand-in for the Hub."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub import TOKEN, Hub, serve
from training.push import PushConfig, main
from world_model.io.checkpoint import FILES

LOAD = """
import sys
from world_model import WorldModel
name, revision = sys.argv[1:]
world = WorldModel.from_pretrained(name, revision=revision or None)
print(world.config.name, len(world.starts))
"""


@pytest.fixture
def hub():
    with serve() as hub:
        yield hub


def run(hub: Hub, home: Path, *arguments: object, token: str = TOKEN):
    """Python in a process of its own, as the client reads where the Hub is when it is imported."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=home,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow_suite
def test_a_world_is_pushed_and_loaded_again_by_revision(hub, tiny_world, tmp_path):
    world = shutil.copytree(tiny_world, tmp_path / "world")
    push = ("-m", "irasim_env.console", "push", world, "me/tiny")
    done = run(hub, tmp_path, *push, "--private")
    assert not done.returncode, done.stderr
    first = hub.repositories["me/tiny"]["main"][-1]
    assert first in done.stdout
    assert hub.private == {"me/tiny"}
    assert hub.commits[first] == {name: (world / name).read_bytes() for name in FILES}
    (world / "README.md").write_text("# Another card\n")
    done = run(hub, tmp_path, *push, "--revision", "next", "--message", "Another card")
    assert not done.returncode, done.stderr
    branches = hub.repositories["me/tiny"]
    assert branches["main"][-1] == first
    assert hub.commits[branches["next"][-1]]["README.md"] == b"# Another card\n"

    for revision, card in (("", "# tiny"), (first, "# tiny"), ("next", "# Another card")):
        home = tmp_path / f"home{len(revision)}"
        home.mkdir()
        done = run(hub, home, "-c", LOAD, "me/tiny", revision)
        assert not done.returncode, done.stderr
        assert done.stdout.split() == ["tiny", "4"]
        (fetched,) = home.glob("hub/models--me--tiny/snapshots/*/README.md")
        assert card in fetched.read_text()
    done = run(hub, tmp_path, "-c", LOAD, "me/tiny", "no-such-branch")
    assert "no-such-branch" in done.stderr


def test_without_a_token_nothing_is_pushed(hub, tiny_world, tmp_path):
    push = ("-m", "irasim_env.console", "push", tiny_world, "me/tiny")
    done = run(hub, tmp_path, *push, token="hf_wrong")
    assert done.returncode == 1
    assert "HF_TOKEN" in done.stderr
    assert not hub.repositories


def test_a_dry_run_lists_files_and_sizes(tiny_world, capsys):
    assert main(PushConfig(world=str(tiny_world), repository="me/tiny", dry_run=True)) is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == [*FILES]
    assert "me/tiny" in lines[-1]
    sizes = [float(line.split()[0]) for line in lines]
    assert sum(sizes[:-1]) == pytest.approx(sizes[-1], abs=0.03)


@pytest.mark.parametrize("repository", ["tiny", "me/ti ny", "a/b/c", "../x"])
def test_names_of_repositories_have_a_form(repository, tiny_world):
    with pytest.raises(ValueError, match="owner/name"):
        main(PushConfig(world=str(tiny_world), repository=repository, dry_run=True))


def test_a_damaged_world_or_one_without_a_card_is_not_pushed(tiny_world, tmp_path):
    world = shutil.copytree(tiny_world, tmp_path / "world")
    (world / "README.md").unlink()
    config = PushConfig(world=str(world), repository="me/tiny", dry_run=True)
    with pytest.raises(ValueError, match="irasim bench card"):
        main(config)
    (world / "README.md").write_text("# tiny\n")
    (world / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        main(config)


def test_a_revision_is_of_the_hub_only(tiny_world):
    from world_model import WorldModel

    for name in (tiny_world, "pusht"):
        with pytest.raises(ValueError, match="leave revision out"):
            WorldModel.from_pretrained(name, revision="main")
