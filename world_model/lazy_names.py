"""A package's names that load their modules when first used (PEP 562), so that importing the
package, as `irasim --help` does, costs nothing."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def load(path: str) -> Any:
    """What an import string, `module:name`, names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def lazy_names(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: Its `__name__`.
        homes: The names that each of its modules brings, by the module's name inside the package.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return find


def deprecated_name(module: str, name: str, now: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that holds one older name: of "module:name", as `now` says."""

    def find(asked: str) -> Any:
        if asked != name:
            raise AttributeError(f"module {module!r} has no attribute {asked!r}")
        warnings.warn(f"{name} is called {now} now", DeprecationWarning, stacklevel=2)
        return load(now)

    return find
