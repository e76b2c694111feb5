"""Directories that results go to, checked before the work whose result goes there."""

import os
from pathlib import Path


def check_directory(path: str | Path, option: str = "--out") -> None:
    """Find out whether files can be written into a directory; makes none.

    Args:
        path: The directory, there or not.
        option: What the user calls it.

    Raises:
        ValueError: It, or what it would be made in, is a file or cannot be written.
    """
    place = Path(path).absolute()
    there = next(one for one in (place, *place.parents) if os.path.lexists(one))
    if not os.path.isdir(there):
        raise ValueError(
            f"{option} {path}: {there} is a file, expected a directory; give another {option}"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"{option} {path}: {there} cannot be written; give another {option}, or change its mode"
        )
