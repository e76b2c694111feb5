"""Fields of configs: checked, and read from JSON."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

from world_model.renamed import with_current_names


def check_count(what: str, value: Any) -> None:
    """Raise ValueError unless a value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} is {value!r}, expected a whole number of at least 1")


def check_counts(config: Any, *names: str) -> None:
    """Raise ValueError unless these fields are whole numbers of at least 1."""
    for name in names:
        check_count(name, getattr(config, name))


def check_least(config: Any, **least: float) -> None:
    """Raise ValueError where a field, named with the least that it may be, is less; None may be."""
    for name, lowest in least.items():
        value = getattr(config, name)
        if value is not None and not value >= lowest:
            raise ValueError(f"{name} is {value}, expected at least {lowest}")


def check_within(config: Any, low: float, high: float, *names: str) -> None:
    """Raise ValueError unless these fields are from `low` to `high`."""
    expected = "a share from 0 to 1" if (low, high) == (0, 1) else f"{low} to {high}"
    for name in names:
        if not low <= getattr(config, name) <= high:
            raise ValueError(f"{name} is {getattr(config, name)}, expected {expected}")


def check_positive(what: str, value: float) -> None:
    """Raise ValueError unless a value is a finite number over 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{what} is {value}, expected a finite number over 0")


def check_bounds(what: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Raise ValueError unless low < high, component by component."""
    if len(low) != len(high) or not low:
        raise ValueError(f"{what} bounds differ in length: {len(low)} low, {len(high)} high")
    if not all(
        math.isfinite(a) and math.isfinite(b) and a < b for a, b in zip(low, high, strict=True)
    ):
        raise ValueError(f"{what} bounds must be finite with low < high, got {low} and {high}")


class HasUnused(Protocol):
    """Options of a command, of which some may have no effect."""

    def without_effect(self) -> Mapping[str, tuple[str, ...]]:
        """Fields that change nothing here, by what they are for."""
        ...


def refuse_without_effect(config: HasUnused, usual: Any = None) -> None:
    """Raise ValueError if an option was given that changes nothing.

    Args:
        config: What the command line asks for.
        usual: What it began with (default: the defaults of its fields); only what differs was
            given.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    for purpose, names in config.without_effect().items():
        given = [
            name
            for name in names
            if getattr(config, name) != (getattr(usual, name) if usual else defaults[name])
        ]
        if given:
            raise ValueError(f"{flags(given)}: {purpose}, so it changes nothing here: leave it out")


def flags(names: list[str]) -> str:
    """Fields as the options of a command."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def read_dataclass(kind: type, data: Any, where: str) -> Any:
    """Build dataclass `kind` from a JSON object; unknown keys and wrong types are errors.

    Fields may have their older names (see renamed.py).
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object, got {type(data).__name__}")
    data = with_current_names(kind, data, where)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(data) - set(fields)):
        raise ValueError(
            f"{where}: unknown key {unknown[0]!r}; known keys are {', '.join(fields)}. "
            "The world may have been written by a newer version: update irasim-env"
        )
    hints = get_type_hints(kind)
    values = {k: _read_value(hints[k], v, f"{where}: {k}") for k, v in data.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _read_value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, value, where)
    if origin is Literal:
        ok, result = value in arguments, value
    elif origin is tuple:
        any_length = arguments[-1] is ...
        ok = isinstance(value, list) and (any_length or len(value) == len(arguments))
        result = tuple(_read_value(arguments[0], v, where) for v in value) if ok else value
    elif origin is dict:
        ok = isinstance(value, dict)
        result = (
            {k: _read_value(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
            if ok
            else value
        )
    elif type(None) in arguments:
        rest = next(a for a in arguments if a is not type(None))
        return None if value is None else _read_value(rest, value, where)
    elif hint is Any:
        return value
    elif hint is float:
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        result = float(value) if ok else value
    else:
        ok, result = type(value) is hint, value
    if not ok:
        name = getattr(hint, "__name__", None) if origin is None else str(hint)
        raise ValueError(f"{where}: expected {name or hint}, got {value!r}")
    return result
