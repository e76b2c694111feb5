"""Published weights of the networks behind LPIPS, FID and FVD: from a path, or fetched and checked.

Nothing is loaded whose SHA-256 is not the one expected, so that a figure always says of which
network it is.
"""

import hashlib
import os
import urllib.error
import urllib.request
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

TIMEOUT_S = 30  # of one wait for the network
BLOCK = 1 << 20  # bytes read at once


class WeightsUnavailableError(ValueError):
    """A network's weights cannot be had, so its metric has no value; the message says why."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of weights as its authors publish it."""

    name: str
    """File name in the cache."""
    url: str
    sha256: str
    """Checksum in hexadecimal, or the beginning of it where only that is published."""


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where to take one network's weights from."""

    path: Path | None = None
    """The file; without it the published one is looked for in torch.hub's cache, then fetched."""
    sha256: str | None = None
    """Checksum of a file other than the published one, which is refused without it. Figures of
    another network cannot be compared with published ones; the report says which it was."""
    fetch: bool = True
    """Download the published file when neither a path nor the cache has it."""


FETCH = WeightsSource()


def obtain(published: PublishedFile, source: WeightsSource = FETCH) -> Path:
    """The local file with the wanted checksum.

    Raises:
        WeightsUnavailableError: There is no such file, it is another one, or it cannot be fetched.
    """
    expected = source.sha256 or published.sha256
    if source.path is not None:
        _check(source.path, expected, published)
        return source.path
    cached = _cache() / published.name
    if cached.is_file():
        _check(cached, expected, published)
        return cached
    if not source.fetch:
        raise WeightsUnavailableError(
            f"{published.name} is not in {cached.parent} and fetching is off: give its path "
            f"({published.url})"
        )
    _download(published.url, cached, expected)
    return cached


def describe(published: PublishedFile, source: WeightsSource) -> str:
    """Which weights a figure was taken with, for reports."""
    if source.sha256 and not source.sha256.startswith(published.sha256):
        return f"NOT the published {published.name} but a file of sha256 {source.sha256[:12]}"
    return f"{published.name}, sha256 {published.sha256[:12]}"


def load_tensors(path: Path) -> "dict[str, Tensor]":
    """A state dict from a file; nothing in it can run code."""
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsUnavailableError(f"{path} holds no state dict: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsUnavailableError(f"{path} holds no state dict: a dict of tensors is expected")
    return state


def is_torchscript(path: Path) -> bool:
    """Whether a file is a scripted module rather than a state dict."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def load_torchscript(path: Path) -> Any:
    """A scripted module on the CPU, in eval mode. Only for files whose checksum was compared."""
    import torch

    with warnings.catch_warnings():
        # The published detector has no other form.
        warnings.filterwarnings("ignore", message=".*torch.jit.load", category=DeprecationWarning)
        return torch.jit.load(str(path), map_location="cpu").eval()


def _cache() -> Path:
    """Where torch.hub keeps weights, so that other programs' downloads are found."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _check(path: Path, expected: str, published: PublishedFile) -> None:
    if not path.is_file():
        raise WeightsUnavailableError(
            f"{path}: no such file; {published.name} is expected there ({published.url})"
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if not digest.hexdigest().startswith(expected.lower()):
        raise WeightsUnavailableError(
            f"{path} has sha256 {digest.hexdigest()}, expected {expected} ({published.name} from "
            f"{published.url}): download it again, or give the checksum if you mean another file"
        )


def _download(url: str, path: Path, expected: str) -> None:
    """Fetch a file, check it, and only then put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, temporary.open("wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                digest.update(block)
        if not digest.hexdigest().startswith(expected.lower()):
            raise WeightsUnavailableError(
                f"{url} gave a file of sha256 {digest.hexdigest()}, expected {expected}: it was "
                "not kept; give the right file by its path"
            )
        temporary.replace(path)
    except (urllib.error.URLError, OSError) as error:
        raise WeightsUnavailableError(
            f"{url} could not be fetched ({error}): download it elsewhere and give its path"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
