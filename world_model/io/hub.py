"""What lies on the Hugging Face Hub, by its id: the one place that asks its client."""

import re
from collections.abc import Sequence
from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def fetch(name: str, what: str, *, kind: str = "model", files: Sequence[str] | None = None) -> Path:
    """The directory of a repository's files, from the Hub or its cache here.

    Args:
        name: As the user gave it; no directory of that name is here.
        what: What it shall be, for the message: "world".
        kind: Of the repository, as the Hub says: "model", "dataset".
        files: Which of them; default: all.

    Raises:
        ValueError: It is no Hub id, or the Hub does not give it; says what is here.
    """
    path = Path(name)
    if path.exists():
        raise ValueError(f"{name}: is a file, expected the directory of a {what}, or a Hub id")
    if not _ID.fullmatch(name) or ".." in name or "--" in name:
        raise ValueError(
            f"{name}: no such directory, and no Hub id (owner/name) of a {what} either"
        )
    if path.parent.is_dir():
        raise ValueError(
            f"{name}: no such directory, though there is {path.parent}, so the Hub is not asked "
            f"for a {what} of this name; correct the path (for the Hub's: call from elsewhere)"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name, repo_type=kind, allow_patterns=None if files is None else [*files]
            )
        )
    except Exception as error:  # the client, and what lies below it, raise dozens of kinds
        raise ValueError(
            f"{name}: no such directory, and as a {what} it cannot be had from the Hub "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}); correct the "
            "path, or fetch it where there is a connection and give its directory"
        ) from error
