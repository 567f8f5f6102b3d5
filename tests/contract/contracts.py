"""What the contract suites share: odd texts, and the promises that components of every kind keep."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from exporters_beam import ConfigError
from exporters_beam.components import registry
from exporters_beam.components.options import build, options_of
from exporters_beam.config import spec

ODD_TEXTS = {
    "empty": "",
    "blanks": "  two before and after  ",
    "accents": "València, naïve, Łódź, ß",
    "combining": "e\u0301 and \u00e9 are different",
    "emoji": "👩‍👩‍👧 🏳️‍🌈 🫠",
    "chinese": "西班牙語",
    "right to left": "שלום \u202eعرب",
    "line feeds": "a\nb\n\nc\n",
    "carriage returns": "a\rb\r\nc",
    "line separators": "a\u2028b\u2029c\x85d\x0be",
    "nul": "a\0b",
    "escape": "a\x1b[31mb\x7f",
    "quotes": "\"'`\\\t,;|",
    "markup": "<a href='x'>&amp;&#0;]]><!-- -- ?></a>",
    "byte-order mark": "\ufeffa",
    "not a character": "a\uffffb",
    "very long": "long é " * 20_000,
}

SURROGATE = "half a pair: \ud800"

SECTIONS = {"filter": "filter_before"}
"""Where a component of a kind stands in a config, if not in the section of the kind's name."""


def is_spanish(record: Any) -> bool:
    """For the components `python`, as the two below."""
    return bool(record.get("country") == "es")


def with_length(record: Any) -> Any:
    return {**record, "length": len(str(record.get("text")))}


def initial(record: Any) -> Any:
    return str(record.get("text"))[:1]


@dataclasses.dataclass(frozen=True)
class Case:
    """One component and options that are right for it."""

    kind: str
    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def make(self) -> Any:
        return build(registry.load(registry.find(self.kind, self.name)), dict(self.options), {})

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.options)])


def table(kind: str, *rows: tuple[Any, ...]) -> list[Any]:
    """Test parameters of the rows (name, options, whatever the suite needs more): (Case, whatever more)."""
    cases = [(Case(kind, row[0], row[1]), *row[2:]) for row in rows]
    ids = [f"{number}-{case[0].name}" for number, case in enumerate(cases)]
    return [pytest.param(*case, id=id) for case, id in zip(cases, ids, strict=True)]


def check_every_component_has_a_row(kind: str, rows: list[Any]) -> None:
    """A component that is registered joins the suite of its kind."""
    elsewhere = {e.name for e in registry.ENTRIES if e.kind == kind and hasattr(registry.load(e), "connect")}
    elsewhere |= {e.name for e in registry.ENTRIES if e.target.startswith("exporters_beam.systems.")}
    known = {entry.name for entry in registry.ENTRIES if entry.kind == kind} - elsewhere  # tests/storages and others
    missing = known - {row.values[0].name for row in rows}
    assert not missing, f"give each of {sorted(missing)} a row in the table of this suite"


def check_options_round_trip(case: Case) -> None:
    """A component made from the options that it shows is the same component, and it shows what it was given."""
    made = case.make()
    shown = {}
    for item in dataclasses.fields(made):
        if "option" in item.metadata:
            value = getattr(made, item.name)
            shown[item.metadata["option"][-1] or item.name] = list(value) if isinstance(value, tuple) else value
    assert case.options.items() <= shown.items()
    assert build(type(made), shown, {}) == made
    assert hash(type(made)) and repr(made).startswith(type(made).__name__)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.anything = 1


def check_pickling(case: Case) -> Any:
    """The component after a journey to a worker."""
    made = case.make()
    arrived = pickle.loads(pickle.dumps(made))
    assert arrived == made
    if hasattr(arrived, "setup"):
        arrived.setup()
    assert pickle.loads(pickle.dumps(arrived)) == made, "it can travel on after it was used"
    return arrived


def check_unknown_options_are_refused(case: Case) -> None:
    """A misspelt option is an error that names the right one, and all of them are told at once."""
    names = [option.name for option in options_of(type(case.make()))]
    section = SECTIONS.get(case.kind, case.kind)
    misspelt = f"{names[0][:-2]}{names[0][-1]}{names[0][-2]}x" if names else "anything"
    config = {
        "reader": {"name": "fs", "options": {"input": "data.jl"}},
        "writer": {"name": "memory", "options": {"filebase": "part-"}},
        section: {"name": case.name, "options": {**case.options, misspelt: 1, "zzzzzz": 1}},
    }
    with pytest.raises(ConfigError) as caught:
        spec.load(config)
    told = [str(problem) for problem in caught.value.problems]
    place = f"{section}.options"
    if names:
        assert f'{place}.{misspelt}: unknown option; did you mean "{names[0]}"?' in told
    else:
        assert f"{place}.{misspelt}: unknown option; there are no options here" in told
    assert any(line.startswith(f"{place}.zzzzzz: unknown option") for line in told)
    assert len(told) == 2
