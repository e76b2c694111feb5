"""Older names and places of configs' fields: in code, in JSON and on the command line."""

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

Config = TypeVar("Config", bound=type)


def renamed(**names: str) -> Callable[[Config], Config]:
    """Keep older names of a dataclass's fields, in its constructor and as attributes.

    Both warn (DeprecationWarning). A dataclass that inherits from such a one needs the decorator
    too, since it has a constructor of its own.

    Args:
        names: Today's name of a field by its older one.
    """

    def keep(kind: Config) -> Config:
        everything = {**renamed_fields(kind), **names}
        construct = kind.__init__

        @functools.wraps(construct)
        def init(self: Any, *values: Any, **fields: Any) -> None:
            for old in everything.keys() & fields.keys():
                _warn(kind, old, everything[old])
                # An older name wins, as dataclasses.replace passes all other fields besides.
                fields[everything[old]] = fields.pop(old)
            construct(self, *values, **fields)

        setattr(kind, "__init__", init)  # noqa: B010  (plain assignment is refused by pyright)
        setattr(kind, "RENAMED_FIELDS", everything)  # noqa: B010
        for old, new in names.items():
            setattr(kind, old, _alias(old, new, attrgetter(new)))
        return kind

    return keep


def moved(part: str, nothing: Callable[[], Any], **names: str) -> Callable[[Config], Config]:
    """Keep fields readable that moved into a part of a config, which may be None.

    Reading them warns (DeprecationWarning).

    Args:
        part: The field that holds the part.
        nothing: Makes the part that is read from where there is none.
        names: Names inside the part by those that the fields had beside it.
    """

    def keep(kind: Config) -> Config:
        for old, new in names.items():
            setattr(kind, old, _alias(old, f"{part}.{new}", lambda self, new=new: find(self, new)))
        return kind

    def find(config: Any, name: str) -> Any:
        held = getattr(config, part)
        return getattr(nothing() if held is None else held, name)

    return keep


def renamed_fields(kind: type) -> dict[str, str]:
    """Today's names of a dataclass's fields by their older ones; most have none."""
    return getattr(kind, "RENAMED_FIELDS", {})


def with_current_names(kind: type, data: dict[str, Any], where: str) -> dict[str, Any]:
    """Fields as read from JSON, which may be of an earlier version, by today's names.

    Raises:
        ValueError: A field is there by both names.
    """
    names = renamed_fields(kind)
    for old in names.keys() & data.keys():
        if names[old] in data:
            raise ValueError(
                f"{where}: {old!r} is the older name of {names[old]!r}, and both are given; "
                f"remove {old!r}"
            )
    return {names.get(key, key): value for key, value in data.items()}


def with_current_flags(kind: type, arguments: Sequence[str]) -> list[str]:
    """Command-line arguments for a config, older flags replaced; each is noted on stderr."""
    names = renamed_fields(kind)
    flags = {_flag(old): _flag(new) for old, new in names.items()}
    if names:
        switches = {field.name for field in fields(kind) if field.type is bool}
        flags |= {
            _flag(f"no_{old}"): _flag(f"no_{new}") for old, new in names.items() if new in switches
        }
    current = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        new = flags.get(flag.replace("_", "-")) if flag.startswith("--") else None
        if new is not None:
            print(f"{flag} is deprecated: use {new}, its new name", file=sys.stderr)
            argument = f"{new}{equals}{value}"
        current.append(argument)
    return current


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _alias(old: str, new: str, read: Callable[[Any], Any]) -> property:
    def get(self: Any) -> Any:
        _warn(type(self), old, new)
        return read(self)

    return property(get, doc=f"Deprecated name of `{new}`.")


def _warn(kind: type, old: str, new: str) -> None:
    warnings.warn(
        f"{kind.__name__}: {old} is deprecated, use {new}", DeprecationWarning, stacklevel=3
    )
