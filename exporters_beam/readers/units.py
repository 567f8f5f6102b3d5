"""Names of units as everybody but their reader knows them: no secret stands in them.

A reader lists and opens what its options name with the secrets in them. What leaves it, the unit, goes into staged segments,
manifests, reports, dead letters and messages: there a reference stands in place of each secret, and `***` in place of
passwords and tokens that stand in URLs of the config. Readers get the name that they gave.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from exporters_beam.components.options import values_of
from exporters_beam.components.protocols import Reader, StreamReader
from exporters_beam.components.secret import Secret, credentials, hide, references, reveal
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.records import Unit, Warned


@dataclass(frozen=True)
class Names:
    """Texts that may stand in a reader's names, and what is shown in their place; all of these are distinct."""

    shown_as: Mapping[str, str] = field(default_factory=dict, repr=False)

    def without_secrets(self, name: str) -> str:
        """The name without secrets."""
        return _replaced(name, self.shown_as)

    def real(self, unit: Unit) -> Unit:
        """The unit as its reader gave it."""
        if not self.shown_as:
            return unit
        return unit._replace(name=_replaced(unit.name, {shown: real for real, shown in self.shown_as.items()}))


NAMES = Names()
"""Those of a reader without secrets: shown as they are."""


def names_of(reader: object) -> Names:
    """The names of a reader, from its options, whose references are not resolved yet. Raises ConfigError where a secret
    cannot be had here."""
    found: dict[str, str] = {}
    for text in _texts(reader):
        if isinstance(text, Secret):
            for reference, value in references(text):
                found.setdefault(value, reference)
                found.setdefault(quote(value), f"{reference[:-1]}, quoted}}")
        for before, secret, after in credentials(text):
            same = sum(1 for other in found if other.startswith(before) and other.endswith(after))
            found.setdefault(f"{before}{secret}{after}", f"{before}***{same + 1 if same else ''}{after}")
    return Names(found)


def listed(reader: Reader | StreamReader, names: Names) -> Iterator[Unit | Warned]:
    """What a reader whose secrets are resolved lists, without them in it, nor in an error."""
    if not names.shown_as:
        yield from reader.units()
        return
    try:
        for found in reader.units():
            yield _without(names, found)
    except (ConfigError, SourceError) as error:
        raise type(error)(names.without_secrets(hide(str(error)))) from None


def units_of(reader: Reader | StreamReader) -> Iterator[Unit]:
    """The units of a reader whose secrets are not resolved, without what it warns of."""
    found = listed(reveal(reader), names_of(reader))
    return (unit for unit in found if not isinstance(unit, Warned))


def _without(names: Names, found: Unit | Warned) -> Unit | Warned:
    if isinstance(found, Warned):
        return Warned(names.without_secrets(found.text))
    return found._replace(name=names.without_secrets(found.name))


def _replaced(text: str, instead: Mapping[str, str]) -> str:
    """All at once: what is put in is not looked at again."""
    if not instead:
        return text
    wanted = "|".join(re.escape(each) for each in sorted(instead, key=len, reverse=True))
    return re.sub(wanted, lambda match: instead[match.group()], text)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from _texts(member)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in values_of(value):
            yield from _texts(each)
