"""What lies on the Hugging Face Hub, by its id: the one place that asks its client."""

import re
from collections.abc import Sequence
from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a repository on the Hub, owner/name."""
    return bool(_ID.fullmatch(name)) and ".." not in name and "--" not in name


def fetch(
    name: str,
    what: str,
    *,
    kind: str = "model",
    files: Sequence[str] | None = None,
    revision: str | None = None,
) -> Path:
    """The directory of a repository's files, from the Hub or its cache here.

    Args:
        name: As the user gave it; no directory of that name is here.
        what: What it shall be, for the message: "world".
        kind: Of the repository, as the Hub says: "model", "dataset".
        files: Which of them; default: all.
        revision: Branch, tag or commit; default: the newest.

    Raises:
        ValueError: It is no Hub id, or the Hub does not give it; says what is here.
    """
    path = Path(name)
    if path.exists():
        raise ValueError(f"{name}: is a file, expected the directory of a {what}, or a Hub id")
    if not is_hub_id(name):
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
                name,
                repo_type=kind,
                revision=revision,
                allow_patterns=None if files is None else [*files],
            )
        )
    except Exception as error:  # the client, and what lies below it, raise dozens of kinds
        raise ValueError(
            f"{name}: no such directory, and as a {what} it cannot be downloaded from the Hub "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}); correct the "
            "path, or fetch it where there is a connection and give its directory"
        ) from error


def upload(
    directory: Path,
    files: Sequence[str],
    name: str,
    *,
    revision: str | None = None,
    private: bool = False,
    message: str,
) -> str:
    """Put files into a repository of models, which is made where there is none, in one commit.

    Args:
        directory: Where they are.
        files: Which ones, by name.
        name: The repository, owner/name.
        revision: Branch, which is made where there is none; default: main.
        private: Whether a repository that is created is private.
        message: Of the commit.

    Returns:
        The commit's hash, which `fetch` takes as `revision`.

    Raises:
        ValueError: The Hub does not take it; says what to do.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        added = [
            CommitOperationAdd(path_in_repo=file, path_or_fileobj=directory / file)
            for file in files
        ]
        return api.create_commit(name, added, commit_message=message, revision=revision).oid
    except Exception as error:  # as in `fetch`
        raise ValueError(
            f"{name}: the Hub does not take it "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}); log in with a "
            "token that may write there (`hf auth login`, or HF_TOKEN)"
        ) from error
