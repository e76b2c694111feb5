"""The site, and a plain server of its files."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.serving import served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="needs pip install 'irasim-env[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    return out


@pytest.fixture(scope="session")
def address(site) -> Iterator[str]:
    """Where the site's files are served, with what plays the world."""
    for made in ("world/world.json", "runtime/VERSION"):
        if not (site / "play" / made).exists():
            pytest.skip(f"needs make docs, which makes build/play/{made}")
    with served(site) as where:
        yield where
