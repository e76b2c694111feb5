"""Packages that bring tasks, as they look once they are installed."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from world_model.tasks import GROUP


def install(patch: pytest.MonkeyPatch, site: Path, package: str, tasks: Mapping[str, str]) -> None:
    """Put metadata with entry points where Python looks for installed packages."""
    about = site / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in tasks.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    patch.syspath_prepend(str(site))
