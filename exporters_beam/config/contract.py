"""`contract`: the names of its steps, what may become of what violates it, and how that is counted and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporters_beam.components.registry import Entry

ACCEPT, DROP, FREEZE, DEAD_LETTER = ACTIONS = ("accept", "drop", "freeze", "dead_letter")
"""What may become of what a contract does not have: it is delivered and told of, left out, ends the export, or the record
becomes a dead letter."""

NEW_FIELDS, TYPES = STEPS = ("contract_new_fields", "contract_types")
"""The steps that a contract stands for."""

ON_ERROR = {ACCEPT: "fail", DROP: "fail", FREEZE: "fail", DEAD_LETTER: "dead_letter"}
"""What becomes of a record that fails such a step, by what was said of the contract."""

ENTRY = Entry("transform", "contract", "exporters_beam.transforms.contract:Contract")
"""Where the options stand. It is no component of the list: the section has no name."""

_WHAT = {NEW_FIELDS: "new", TYPES: "unlike the schema"}

_DONE = {ACCEPT: "accepted", DROP: "left out"}

MOST = 20
"""So many fields are warned of."""


def counted(path: str, step: str, action: str) -> str:
    """The name under which a step counts the records that have this field, behind its own name.

    >>> counted("colour", NEW_FIELDS, DROP)
    'colour new, left out'
    """
    return f"{path} {_WHAT[step]}, {_DONE.get(action, action)}"


def warnings(counts: Mapping[str, int]) -> Iterator[str]:
    """What was accepted, or left out, by the counts of an export: a sentence for each field, of very many the first."""
    found = []
    for name, n in counts.items():
        step, _, rest = name.partition(".")
        for done in _DONE.values() if step in STEPS else ():
            end = f" {_WHAT[step]}, {done}"
            if rest.endswith(end):
                found.append(_sentence(step, rest.removesuffix(end) or '""', done, n))
    yield from sorted(found)[:MOST]
    if len(found) > MOST:
        yield f"contract: {len(found) - MOST:,} more fields are not in it, or unlike it; the manifest has their counts"


def _sentence(step: str, path: str, done: str, records: int) -> str:
    has = f"{records:,} record{' has' if records == 1 else 's have'}"
    if step == NEW_FIELDS:
        return f"contract: {has} the field {path}, which its schema does not have; it was {done}"
    return f"contract: {has} a value in {path} that its schema does not allow; it was {done}"
