"""JSON, read strictly: whatever is wrong with it is a ValueError that names where it is from."""

import json
import re
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes, source: object, cure: str = "delete it or restore it") -> Any:
    """What JSON says.

    Args:
        text: The JSON; bytes are UTF-8 (or UTF-16 or 32, which JSON allows too).
        source: What errors call it, such as its path.
        cure: What errors advise.

    Raises:
        ValueError: It is no JSON, is nested too deeply to be read, or gives one key two values.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once_each)
        if _SURROGATE.search(text if isinstance(text, str) else text.decode(errors="replace")):
            # Halves of a character, which can be neither printed nor written.
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: is not readable as JSON ({error}); {cure}") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found
