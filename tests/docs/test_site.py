"""The site of docs/: it builds strictly, and needs nothing from outside."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs pip install 'irasim-env[docs]'")

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself, unlike a link that somebody follows.
FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"' >]+")
STYLED = re.compile(r"<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^\"' >]+")


def test_every_page_is_built(site):
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert len(list(site.rglob("index.html"))) >= len(pages)
    assert not (site / "scripts").exists()


def test_nothing_is_fetched_from_outside(site):
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert not FETCHED.findall(text), path
        assert not STYLED.findall(text), path
        assert 'class="mermaid"' not in text, f"{path}: the theme fetches mermaid from a CDN"


def test_a_broken_link_fails_the_build(tmp_path):
    for name in ("docs", "mkdocs.yml", "CHANGELOG.md"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    for card in (ROOT / "world_model/worlds").glob("*/README.md"):
        place = tmp_path / card.relative_to(ROOT)
        place.parent.mkdir(parents=True)
        shutil.copy(card, place)
    with (tmp_path / "docs/quickstart.md").open("a") as page:
        page.write("\n[Nowhere](environments.md#no-such-heading)\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "no-such-heading" in done.stdout + done.stderr


def test_the_figures_are_those_of_their_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs/scripts")
    import figures  # type: ignore[import-not-found]

    drawn = {"step.svg": figures.step(), "packages.svg": figures.packages()}
    for name, figure in drawn.items():
        text = (ROOT / "docs/assets" / name).read_text()
        assert all(part in text for part in figure.parts), name
