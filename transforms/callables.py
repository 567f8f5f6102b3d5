"""Finds the functions that the components `python` name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from exporters_beam.components.registry import import_module
from exporters_beam.errors import ConfigError

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[:.][A-Za-z_]\w*\Z")


def check_name(option: str, name: str) -> None:
    """Raises ConfigError where `name` is not of the form package.module:function."""
    if not _FORM.match(name):
        raise ConfigError(f"{option}: {name!r} is not the name of a function; write package.module:function")


def find_function(option: str, name: str) -> Callable[..., Any]:
    """The function that `name` names. Raises ConfigError where it cannot be imported, here or on the worker."""
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    try:
        found = getattr(import_module(module), attribute)
    except ImportError as error:
        missing = isinstance(error.__cause__, ModuleNotFoundError)
        hint = "; install its package here and on every worker" if missing else ""
        raise ConfigError(f"{option}: {name} cannot be imported: {error}{hint}") from None
    except AttributeError:
        raise ConfigError(f"{option}: the module {module} has no function {attribute!r}") from None
    if not callable(found):
        raise ConfigError(f"{option}: {name} is not a function but {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


class Loaded:
    """What the components `python` share: the function, found in `setup` or on first use, never pickled."""

    function: str

    def __post_init__(self) -> None:
        check_name("function", self.function)

    def check_function(self) -> None:
        """Raises ConfigError where the function is not here."""
        find_function("function", self.function)

    def setup(self) -> None:
        object.__setattr__(self, "_call", find_function("function", self.function))

    def call(self, record: object) -> Any:
        if "_call" not in self.__dict__:
            self.setup()
        return self.__dict__["_call"](record)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_call"}
