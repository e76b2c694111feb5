"""What the README and the docs say to type works as written.

Python blocks run. Commands are parsed by the real parsers, which refuse an option or a value that
they do not know; nothing is played, trained or measured. What stands in a line of text or a table
is checked for its options. A block that cannot be tried has a comment before it:
`<!-- not run: why -->`.
"""

import functools
import inspect
import re
import runpy
import shlex
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import tyro

from irasim_env import console
from irasim_env.env import WorldEnv
from policies.pusht.family import FAMILY
from tests.installed_tasks import install
from tests.test_cli import FLAGS, GROUPS
from world_model.config_fields import refuse_without_effect
from world_model.io.checkpoint import shipped_worlds

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
BLOCK = re.compile(
    r"(?P<why><!-- not run: .+? -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```",
    flags=re.MULTILINE | re.DOTALL,
)
needs_the_shipped_world = pytest.mark.skipif(
    "pusht" not in shipped_worlds(), reason="world_model/worlds/pusht is not there yet"
)


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, code) of each block in a language that can be tried."""
    return [
        (page, found["code"])
        for page, text in PAGES.items()
        for found in BLOCK.finditer(text)
        if found["language"] == language and not found["why"]
    ]


PYTHON = blocks("python")
SHELL = [
    (page, command)
    for page, code in blocks("bash")
    for command in code.replace("\\\n", " ").splitlines()
    if command.strip()
]
# Commands in text and tables.
INLINE = [
    (page, command)
    for page, text in PAGES.items()
    for command in re.findall(r"`(irasim [^`]+)`", BLOCK.sub("", text))
]


class _Parsed(BaseException):
    """Raised instead of running what a command line asks for."""


def test_lines_of_code_fit_a_wide_screen():
    wide = [
        (page, line)
        for page, text in PAGES.items()
        for found in BLOCK.finditer(text)
        for line in found["code"].splitlines()
        if len(line) > 100
    ]
    assert not wide


def parse(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Parse `irasim ...` or `python -m module ...` as the command itself would, and stop there.

    Raises:
        SystemExit: the parser refuses it, and has printed why, or an option changes nothing.
    """
    real = tyro.cli

    def stop(*args, **kwargs):
        config = real(*args, **kwargs)
        if hasattr(config, "without_effect"):
            refuse_without_effect(config, kwargs.get("default"))
        raise _Parsed(config)

    monkeypatch.setattr(tyro, "cli", stop)
    run = functools.partial(console.main, words[1:])
    if words[0] != "irasim":
        monkeypatch.setattr(sys, "argv", words[2:])
        monkeypatch.delitem(sys.modules, words[2], raising=False)
        run = functools.partial(runpy.run_module, words[2], run_name="__main__")
    with pytest.raises(_Parsed):
        run()


@needs_the_shipped_world
@pytest.mark.parametrize(
    ("page", "block"), PYTHON, ids=[f"{page}-{i}" for i, (page, _) in enumerate(PYTHON)]
)
def test_python_blocks_run(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page, monkeypatch, tmp_path):
    if page == "docs/tasks.md":  # its example is a package that is installed
        install(monkeypatch, tmp_path, "toy-task", {"toy": "tests.toy.task:TOY"})
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for _, line in (one for one in SHELL if one[0] == page):
        for command in line.split(" && "):
            words = shlex.split(command.replace("$p", "100"), comments=True)  # of a loop
            if not words:
                continue
            if words[0] == "make":
                assert words[1] in targets, line
            elif words[0] == "irasim" or (words[:2] == ["python", "-m"] and words[2] != "pip"):
                with monkeypatch.context() as patch:
                    parse(patch, words)
            elif words[0] == "python" and words[1] != "-m":
                assert (ROOT / words[1]).is_file(), line


def test_commands_are_found():
    """The pattern finds blocks at all."""
    programs = {shlex.split(line, comments=True)[0] for _, line in SHELL if line[0] != "#"}
    assert {"make", "irasim", "python"} <= programs
    assert len(SHELL) > 40
    assert len(PYTHON) >= 7
    assert len(INLINE) > 20


def test_commands_in_text_use_options_that_exist():
    for page, line in INLINE:
        words = shlex.split(line)[1:]
        command = " ".join(words[:2]) if words[0] in GROUPS and len(words) > 1 else words[0]
        flags = {word[2:].partition("=")[0] for word in words if word.startswith("--")} - {"help"}
        if words[0] in GROUPS and len(words) == 1:
            continue
        if flags:
            assert flags <= {*FLAGS[command].split()}, (page, line)
        assert words[0] in console.COMMANDS, (page, line)


@needs_the_shipped_world
def test_links_of_the_readme_lead_somewhere():
    """Those of the docs are checked as the site is built: `make docs`."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert len(links) > 10
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}
            assert anchor in slugs, link


def test_the_readme_is_a_landing_page():
    assert len(README.split()) <= 900


def test_the_files_and_names_of_a_step_are_there():
    step = PAGES["docs/step.md"]
    hops = re.findall(r"^\d\. `([\w/]+\.py)`, (.*?):", step, flags=re.MULTILINE)
    assert len(hops) == 6
    for path, names in hops:
        source = (ROOT / path).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                assert re.search(rf"^\s*(class|def) {part}\b", source, re.MULTILINE), (path, name)


def test_the_size_of_the_family_of_policies_is_told():
    assert len(FAMILY) == 11
    assert "a family of eleven policies" in PAGES["docs/policies.md"]


def test_figures_below_one_have_a_leading_zero():
    for page, text in PAGES.items():
        assert not re.findall(r"(?<![\w.\]])\.\d", BLOCK.sub("", text)), page


@needs_the_shipped_world
def test_the_page_of_environments_is_true():
    page = PAGES["docs/environments.md"]
    env = gym.make("IRASim/PushT-v0", obs_type="pixels_agent_pos", chunk=2, uncertainty_samples=2)
    spaces = [env.observation_space["pixels"], env.observation_space["agent_pos"]]
    one = gym.make("IRASim/PushT-v0")
    for space in (*spaces, one.action_space):
        assert f"`{space}`" in page
    assert one.spec is not None
    assert f"after {one.spec.max_episode_steps} steps" in page
    _, began = env.reset(seed=0)
    *_, stepped = env.step(env.action_space.sample())
    told = {*re.findall(r"^\| `(\w+)` \| (?:always|after|with) ", page, flags=re.MULTILINE)}
    assert told == {*began, *stepped}
    assert f"{len(env.unwrapped.world.starts)} recorded clips" in page
    arguments = {*inspect.signature(WorldEnv.__init__).parameters} - {"self"}
    table = page[page.index("## Arguments") : page.index("With `output=")]
    assert arguments == {*re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)} - {
        "max_episode_steps"
    }
    env.close()
    one.close()
