"""Keys typed beforehand, for playing without a window: "right*20 right+down*10 g space n*3"."""

import re
from collections.abc import Collection
from dataclasses import dataclass

# A word of a script that holds no key.
WAIT = "wait"
_TOKEN = re.compile(r"(?P<keys>.+?)(?:\*(?P<count>\d+))?")


@dataclass(frozen=True, kw_only=True)
class KeyPress:
    """What happens at one moment of a script."""

    held: frozenset[str]
    """Keys held; without `commands` for one step's time."""
    commands: tuple[str, ...]
    """Keys pressed once, which takes no time."""


def parse_keys(script: str, holdable: Collection[str], commands: Collection[str]) -> list[KeyPress]:
    """Read a script: words separated by blanks, each KEY[+KEY...][*COUNT].

    Keys that change the action are held for COUNT steps ("right*20"), "wait*5" holds none for
    five. A key that commands is pressed COUNT times ("n*3"), with the others of its word held.

    Args:
        script: The text.
        holdable: Names of the keys that change the action.
        commands: Names of the keys that command.

    Raises:
        ValueError: an unknown key, or a count below 1.
    """
    presses: list[KeyPress] = []
    for token in script.split():
        match = _TOKEN.fullmatch(token)
        assert match, "every word has the form KEYS[*COUNT]"
        count = int(match["count"] or 1)
        if count < 1:
            raise ValueError(f"{token!r} in the keys has count {count}, expected at least 1")
        names = match["keys"].lower().split("+")
        for name in names:
            if "*" in name:
                raise ValueError(f"{token!r} in the keys: expected a whole number after the *")
            if name not in (*holdable, *commands, WAIT):
                raise ValueError(
                    f"{token!r} in the keys has an unknown key {name!r}; this world's keys are "
                    f"{' '.join(holdable)} and {WAIT} (held: right*20, right+down*5) and "
                    f"{' '.join(commands)} (pressed)"
                )
        press = KeyPress(
            held=frozenset(name for name in names if name in holdable),
            commands=tuple(name for name in names if name in commands),
        )
        presses += [press] * count
    return presses
