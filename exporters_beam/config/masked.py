"""A config without its secrets, for logs, mails and reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from exporters_beam.components.secret import Secret, without_credentials
from exporters_beam.config.document import Path

MASK = "********"

_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|access_?key|account_?key|credential|private_?key", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def masked(config: Mapping[str, object], secrets: Iterable[Path]) -> dict[str, Any]:
    """A copy without the values of `secrets`, of whatever has the name of a secret, and of passwords in addresses."""
    hidden = set(secrets)

    def inner(value: object, path: Path) -> Any:
        if isinstance(value, Secret) or value is None or isinstance(value, bool):
            return value
        if path in hidden or (path and isinstance(path[-1], str) and _SECRET_NAME.search(path[-1]) and _scalar(value)):
            return MASK
        if isinstance(value, Mapping):
            return {key: inner(member, (*path, key)) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return [inner(member, (*path, at)) for at, member in enumerate(value)]
        return without_credentials(_USER_INFO.sub(MASK, value)) if isinstance(value, str) else value

    return {key: inner(value, (key,)) for key, value in config.items() if key not in ("vars", "env", "parameters", "tests")}


def _scalar(value: object) -> bool:
    return not isinstance(value, (Mapping, list, tuple))
