"""The wheel and the source distribution: what is in them, and that they work by themselves."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from world_model.io.checkpoint import shipped_worlds

# What all tests here share is made once.
pytestmark = [pytest.mark.xdist_group("wheel"), pytest.mark.slow_suite]
ROOT = Path(__file__).parent.parent
PACKAGES = {"benchmarks", "irasim_env", "policies", "training", "world_model"}
# Three worlds of 16 MiB and the code.
MOST_MEGABYTES = 50
# The README's lines, and where what they ran came from.
TEN_LINES = re.search(
    r"^## Ten lines\n+```python\n(.*?)^```",
    (ROOT / "README.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
assert TEN_LINES is not None
STEP = f"""{TEN_LINES[1]}
import world_model
from world_model.tasks import load_task
assert obs["pixels"].shape == (96, 96, 3)
assert load_task("pusht").name == "pusht"
print("stepped in", world_model.__file__)
"""


def run(*command: object, cwd: Path) -> str:
    """Run a command in a directory; what it prints."""
    arguments = [str(argument) for argument in command]
    # Nothing is found by the path that these tests may have been given.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def copy_sources(to: Path) -> Path:
    """The repository's sources in a new folder: a build writes into theirs."""
    skipped = (".*", "__pycache__", "*.egg-info", "build", "dist", "data", "runs", "out")
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*skipped))
    return to


@pytest.fixture(scope="module")
def built(tmp_path_factory, tiny_world) -> Path:
    """A folder with the source distribution, and the wheel that is built from it."""
    source = copy_sources(tmp_path_factory.mktemp("source") / "irasim")
    shipped = source / "world_model/worlds/pusht"
    if not shipped.exists():  # before there is one, a tiny one shows that worlds go along
        shutil.copytree(tiny_world, shipped)
    out = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=source)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    """The wheel."""
    (path,) = built.glob("*.whl")
    return path


def test_the_index_would_take_both_and_show_the_readme(built):
    pytest.importorskip("twine", reason="needs pip install 'irasim-env[dev]'")
    files = sorted(built.iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"]
    told = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built)
    assert told.count("PASSED") == 2


def test_the_source_distribution_holds_what_the_wheel_is_made_of(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
    assert Path("pyproject.toml") in names
    folders = {name.parts[0] for name in names if len(name.parts) > 1}
    assert folders == PACKAGES | {"irasim_env.egg-info"}
    assert not [name for name in names if name.is_relative_to("benchmarks/experiments")]
    assert path.stat().st_size <= MOST_MEGABYTES * 2**20


def test_wheel_holds_the_packages_and_the_world_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert not [name for name in names if name.startswith("benchmarks/experiments/")]
    assert wheel.stat().st_size <= MOST_MEGABYTES * 2**20
    wanted = ("config.json", "model.safetensors", "starts.safetensors")
    assert "pusht" in shipped_worlds()
    for shipped in shipped_worlds():
        world = {name for name in names if name.startswith(f"world_model/worlds/{shipped}/")}
        assert {f"world_model/worlds/{shipped}/{name}" for name in wanted} <= world
        assert sum(sizes[name] for name in world) <= 16 * 2**20, f"{shipped} exceeds 16 MiB"
    page = {path.name for path in (ROOT / "irasim_env/browser/static").iterdir()}
    assert {f"irasim_env/browser/static/{name}" for name in page} <= set(names)
    for name in ("LICENSE", "NOTICE"):
        assert any(path.endswith(f".dist-info/licenses/{name}") for path in names)


def test_installed_wheel_steps_the_shipped_world_outside_of_the_repository(wheel, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, wheel, cwd=tmp_path)
    # What the wheel depends on is lent from here. Only the directory is: what this environment's
    # own .pth files add, the repository above all, is not.
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    assert f"stepped in {packages}" in run(python, "-c", STEP, cwd=tmp_path)
    assert "usage: irasim" in run(venv / "bin/irasim", "--help", cwd=tmp_path)
