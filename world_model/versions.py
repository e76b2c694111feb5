"""Versions that what is written, measured or trained depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of those of `packages` that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except (PackageNotFoundError, ValueError):  # no such package, or none so named
            continue
    return found
