"""Files that are whole or absent: written under a temporary name, which then takes their place.

A process that is killed leaves its temporary file behind. It holds a lock on it while it lives, so
that `clear_leftovers` tells what nobody is writing any more, in whatever process or container.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LEFTOVER = re.compile(r"\..+\.\d+\.tmp")


@contextmanager
def whole_file(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary name for a file, which takes its place unless the block raises.

    Args:
        path: The file; its directory is there.
        durable: Have it on disk before it takes its place, for what is dear: not even a machine
            that loses power then has half of it.
    """
    path = Path(path)
    with _temporary(path, os.O_RDWR | os.O_CREAT) as temporary:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """An empty temporary folder, which takes a folder's place unless the block raises."""
    path = Path(path)
    with _temporary(path, os.O_RDONLY) as temporary:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)


def write_whole(path: str | Path, text: str, *, durable: bool = False) -> None:
    """Write text in UTF-8, all of it or none."""
    with whole_file(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def clear_leftovers(directory: str | Path) -> None:
    """Remove what killed processes have left half written below a directory."""
    for folder, folders, files in os.walk(directory):
        found = [name for name in (*folders, *files) if _LEFTOVER.fullmatch(name)]
        folders[:] = [name for name in folders if name not in found]
        for name in found:
            leftover = Path(folder) / name
            with suppress(OSError):  # it is being written, or is gone
                descriptor = os.open(leftover, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(leftover)
                finally:
                    os.close(descriptor)


@contextmanager
def _temporary(path: Path, flags: int) -> Iterator[Path]:
    """A name beside `path`, hidden from listings, locked and cleared away in the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = _open_locked(temporary, flags)
    try:
        yield temporary
    finally:
        os.close(descriptor)
        _remove(temporary)


def _open_locked(path: Path, flags: int) -> int:
    """An open file, or without O_CREAT an open folder, that this process made and has locked."""
    while True:
        _remove(path)
        if not flags & os.O_CREAT:
            path.mkdir()
        descriptor = os.open(path, flags, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # It may have been cleared away between the two.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
