"""Components for people: what `exporters-beam modules` prints, the option reference, and a config to start with.

All of it comes from the components themselves: their docstrings and what they declare with `option(...)`.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from exporters_beam.components import registry, words
from exporters_beam.components.options import REQUIRED, Option, options_of
from exporters_beam.components.traits import ComponentTraits
from exporters_beam.components.words import expected
from exporters_beam.errors import ConfigError, Problem

HEADINGS = {
    "reader": "Readers",
    "decompressor": "Decompressors",
    "deserializer": "Deserializers",
    "filter": "Filters",
    "transform": "Transforms",
    "grouper": "Groupers",
    "formatter": "Formatters",
    "write_buffer": "Write buffers",
    "writer": "Writers",
    "persistence": "Persistence",
    "stats_manager": "Stats managers",
    "notification": "Notifications",
}


def listing(kind: str | None = None) -> str:
    """Every component, one a line: kind, name, first sentence."""
    rows = []
    for entry in _entries(kind):
        try:
            told = _summary(registry.load(entry))
        except ConfigError as error:
            told = f"({error.problems[0].message.removeprefix('name: ')})"
        rows.append((entry.kind, entry.name, told))
    return _table(rows)


def describe(name: str, kind: str | None = None) -> str:
    """Everything about the components of a name: purpose, options, example. Raises ConfigError for an unknown one."""
    found = list(_named(name, kind))
    return "\n\n".join(_described(entry) for entry in found)


def markdown() -> str:
    """The reference of all components, as Markdown."""
    parts = [
        "# Components and their options",
        "<!-- Made by `exporters-beam modules --markdown`; edit the components instead. -->",
        "An option without a default has to be given. Where a variable is named, the environment may give the value "
        "instead. Any string may be a reference: `${vars.name}`, `${env:NAME}`, `${secret:env:NAME}`.",
        "Filters and transforms stand in the sections `filter_before`, `transform` and `filter_after`, one or a list of them, "
        "or in any order and number in the list `steps`: `{filter: {name: …, options: …}, as: NAME, on_error: ACTION}`.",
    ]
    for kind in registry.KINDS:
        parts.append(f"## {HEADINGS.get(kind, kind)}")
        for entry in (entry for entry in registry.ENTRIES if entry.kind == kind):
            parts += _markdown(entry, registry.load(entry))
    return "\n\n".join(parts) + "\n"


def _markdown(entry: registry.Entry, component: type) -> Iterator[str]:
    prose, example = docstring(component)
    yield f"### {entry.kind} `{entry.name}`"
    yield prose
    if entry.extra:
        yield f'Needs `pip install "exporters-beam[{entry.extra}]"`.'
    declared = options_of(component)
    if declared:
        rows = ["| option | type | default | variable | meaning |", "| --- | --- | --- | --- | --- |"]
        for o in declared:
            default = "" if o.required else f"`{_default(o)}`"
            variables = ", ".join(f"`{name}`" for name in o.variables)
            cells = (f"`{o.name}`", expected(o.type), default, variables, _help(o))
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        yield "\n".join(rows)
    if example:
        yield f"```yaml\n{example}\n```"
    if entry.legacy:
        yield f"Old names: {', '.join(f'`{name}`' for name in entry.legacy)}{_as_before(entry)}."


def _entries(kind: str | None) -> Iterator[registry.Entry]:
    if kind is not None and kind not in registry.KINDS:
        raise ConfigError(f"there is no kind of component called {kind!r}{words.did_you_mean(kind, registry.KINDS)}")
    for each in registry.KINDS:
        if kind in (None, each):
            for name in registry.names(each):
                yield registry.find(each, name)


def _named(name: str, kind: str | None) -> Iterator[registry.Entry]:
    entries = list(_entries(kind))
    found = [entry for entry in entries if name in (entry.name, *entry.legacy)]
    if not found and ":" in name:
        made = registry.load(registry.Entry(kind or "", name, name)) if kind else _own(name)
        found = [registry.Entry(ComponentTraits.of(made).kind or kind or "component", name, name)]
    if not found:
        known = list(dict.fromkeys(entry.name for entry in entries))
        raise ConfigError(f"there is no component called {name!r}{words.did_you_mean(name, known)}")
    yield from found


def _own(name: str) -> type:
    """A class of the user's own, whose kind it says itself."""
    for kind in registry.KINDS:
        try:
            return registry.load(registry.Entry(kind, name, name))
        except ConfigError as error:
            if f"not a {kind}" not in str(error):
                raise
    raise ConfigError(f"{name} says of itself that it is of no kind that is known: {', '.join(registry.KINDS)}")


def _described(entry: registry.Entry) -> str:
    component = registry.load(entry)
    prose, example = docstring(component)
    parts = [f"{entry.kind} {entry.name}", textwrap.indent(prose, "  ")]
    if entry.extra:
        parts.append(f'  Needs: pip install "exporters-beam[{entry.extra}]"')
    declared = options_of(component)
    if declared:
        rows = [("option", "type", "default", "variable", "meaning")]
        rows += [(o.name, expected(o.type), _default(o), ", ".join(o.variables), _help(o)) for o in declared]
        parts.append("  Options:\n" + textwrap.indent(_table(rows), "    "))
    else:
        parts.append("  It has no options.")
    if example:
        parts.append("  Example:\n" + textwrap.indent(example, "    "))
    if entry.legacy:
        parts.append("  Old names: " + ", ".join(entry.legacy) + _as_before(entry))
    return "\n\n".join(parts)


def _as_before(entry: registry.Entry) -> str:
    """What an old name means besides the component."""
    options = ", ".join(f"`{name}: {value}`" for name, value in entry.as_before)
    return f", where these options are not given with {options}" if options else ""


def docstring(component: type) -> tuple[str, str]:
    """(what it says, its example)."""
    prose, _, example = inspect.cleandoc(component.__doc__ or "").partition("\nExample:\n")
    return prose.strip(), textwrap.dedent(example).strip("\n")


def _summary(component: type) -> str:
    paragraph = docstring(component)[0].partition("\n\n")[0]
    sentence, stop, _ = " ".join(paragraph.split()).partition(". ")
    return sentence + "." if stop else sentence


def _default(option: Option) -> str:
    if option.required:
        return "required"
    if option.default is REQUIRED:
        return "from the variable"
    if option.secret and option.default:
        return "(hidden)"
    return json.dumps(option.default, ensure_ascii=False, default=str)


def _help(option: Option) -> str:
    text = option.help
    if option.choices:
        text += f" (one of {', '.join(map(str, option.choices))})"
    if option.minimum is not None:
        text += f" (at least {option.minimum})"
    return text


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)] if rows else []
    lines = ("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


# A config to start with

_STARTS = {
    ("reader", "random", "number_of_items"): 100,
    ("reader", "scrapy_cloud", "project_id"): 78,
    ("reader", "scrapy_cloud", "collection_name"): "products",
    ("reader", "sql", "table"): "products",
    ("reader", "bigquery", "table"): "shop.sales.orders",
    ("writer", "fs", "filebase"): "out/part-",
    ("writer", "fs", "compression"): "none",
}

_ANY = {"int": 1, "number": 1, "str": "CHANGE ME", "bool": False, "dict": {}, "list": [], "object": "CHANGE ME"}

_MORE = """\
# Records pass these on their way from the reader to the writer; take the number signs away to use them.

# filter_before:
#   name: key_value
#   options:
#     keys: [{name: country_code, value: es}]

# transform:
#   name: pythonmap
#   options:
#     map: dict(item, tagged=True)

# grouper:             # one folder or file for each value: {groups[0]} in the writer's filebase
#   name: file_key
#   options:
#     keys: [state]

# formatter:
#   name: csv
#   options:
#     fields: [key, state]
"""


def starter(reader: str = "random", writer: str = "fs") -> str:
    """A config in YAML with every option of two components explained. Raises ConfigError for unknown names."""
    problems: list[Problem] = []
    sections = {}
    for kind, name in (("reader", reader), ("writer", writer)):
        try:
            sections[kind] = section(kind, name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*(Problem(problem.path, problem.message.removeprefix("name: ")) for problem in problems))
    head = (
        "# An export. Check it with `exporters-beam validate FILE`, run it with `exporters-beam run FILE`.\n"
        f"# All components: `exporters-beam modules`; one of them: `exporters-beam modules {reader}`.\n"
    )
    return "\n".join((head, sections["reader"], _MORE, sections["writer"]))


def section(kind: str, name: str) -> str:
    """The section of a component in a config to start with, every option explained. Raises ConfigError for an unknown name."""
    entry = registry.find(kind, name)
    component = registry.load(entry)
    given, others = [], []
    for o in options_of(component):
        key = (entry.kind, entry.name, o.name)
        if key in _STARTS:
            value: Any = _STARTS[key]
        elif o.required or (o.default is REQUIRED and not o.secret):
            value = o.example if o.example is not None else _ANY[_simplest(o)]
        elif o.default is REQUIRED:
            given.append(_variable(o))
            continue
        else:
            others.append(f"    # {o.name}: {_default(o)}  # {_help(o)}")
            continue
        given.append(f"    {o.name}: {json.dumps(value, ensure_ascii=False)}  # {_help(o)}")
    lines = [f"{entry.kind}:  # {_summary(component)}", f"  name: {entry.name}"]
    if given or others:
        lines += ["  options:" if given else "  options:  # none has to be given", *given, *others]
    return "\n".join(lines) + "\n"


def _variable(option: Option) -> str:
    return f"    {option.name}: ${{secret:env:{option.env}}}  # {_help(option)}"


def _simplest(option: Option) -> str:
    kind = option.type.partition("|")[0]
    return "list" if kind.endswith("_list") else kind
