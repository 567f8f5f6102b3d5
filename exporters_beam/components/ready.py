"""Components as workers use them, and what is told where one of them fails."""

from __future__ import annotations

from typing import TypeVar

from exporters_beam.components.secret import hide, reveal
from exporters_beam.components.traits import ComponentTraits
from exporters_beam.errors import ExportError

T = TypeVar("T")


def ready(component: T) -> T:
    """A component as workers use it: its secrets resolved and, where it has a `setup`, that done."""
    component = reveal(component)
    setup = ComponentTraits.of(component).setup
    if setup is not None:
        try:
            setup()
        except Exception as error:
            if hide(str(error)) != str(error):
                raise ExportError(explain(error)) from None
            raise
    return component


def explain(error: Exception) -> str:
    """What went wrong, as one sentence without secrets: our own errors as they are, others with their type."""
    text = hide(str(error))
    if isinstance(error, ExportError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
