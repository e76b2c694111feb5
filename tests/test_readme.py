"""What the README says to type works as written."""

import re
import shlex
from pathlib import Path

import pytest

from policies.pusht.family import FAMILY
from tests.test_cli import FLAGS, GROUPS
from world_model.io.checkpoint import shipped_worlds

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
SHELL = [
    command
    for block in re.findall(r"^```bash\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines()
]
needs_the_shipped_world = pytest.mark.skipif(
    "pusht" not in shipped_worlds(), reason="world_model/worlds/pusht is not there yet"
)


@needs_the_shipped_world
@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


@needs_the_shipped_world
def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_shell_commands_use_targets_and_flags_that_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    checked = set()
    for line in SHELL:
        program, *words = shlex.split(line, comments=True) or [""]
        name = Path(program).name
        if name == "make":
            assert words[0] in targets, line
        elif name == "irasim":
            command = " ".join(words[:2]) if words[0] in GROUPS else words[0]
            flags = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
            assert flags <= {*FLAGS[command].split()}, line
        checked.add(name)
    assert {"make", "irasim"} <= checked


def test_the_files_and_names_of_a_step_are_there():
    hops = re.findall(r"^\d\. `([\w/]+\.py)`, (.*?):", README, flags=re.MULTILINE)
    assert len(hops) == 6
    for path, names in hops:
        source = (ROOT / path).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                assert re.search(rf"^\s*(class|def) {part}\b", source, re.MULTILINE), (path, name)


def test_the_size_of_the_family_of_policies_is_told():
    assert len(FAMILY) == 11
    assert "a family of eleven policies" in README
