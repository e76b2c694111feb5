"""What somebody may have meant who typed a name that is not known."""

import difflib
from collections.abc import Iterable


def meant(name: object, known: Iterable[str]) -> str:
    """The nearest known name as the end of a message, such as "; did you mean train?", or nothing
    where none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
