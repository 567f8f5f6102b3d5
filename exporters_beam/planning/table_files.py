"""The files of a table: which of them an export would replace, where a Delta table stands, what its folders are called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from exporters_beam.components.traits import GrouperTraits, WriterTraits
from exporters_beam.config.table import DeltaTable
from exporters_beam.planning.plan import Plan


def replaces(plan: Plan) -> Callable[[str], bool]:
    """Tells of the path or URL of a file whether a file of this export may have that name."""
    assert plan.names is not None
    names, to = plan.names, WriterTraits.of(plan.writer)
    group = tuple(f"{_GROUP}{at}" for at in range(names.groups))
    patterns = []
    for number in (names.start, _NUMBER):
        name = names.name(group, number)
        name = to.storage().url(to.key(name)) if to.storage is not None else os.path.abspath(name)
        text = re.sub(f"{_GROUP}[0-9]+", "[^/]*", re.escape(name))
        patterns.append(re.sub(f"0*{_NUMBER}", "[0-9]+", text))
    matches = re.compile("|".join(patterns), re.DOTALL).fullmatch
    return lambda name: bool(matches(name))


def folder_of(plan: Plan) -> str:
    """The folder of a Delta table, a path or a URL."""
    table, to = plan.spec.table, WriterTraits.of(plan.writer)
    assert isinstance(table, DeltaTable) and plan.names is not None
    if to.storage is None:
        return os.path.abspath(table.path or plan.names.root)
    root = "" if plan.names.root == "." else plan.names.root
    return (table.path or to.storage().url(to.key(f"{root}/"))).rstrip("/")


def stands_in(plan: Plan, folder: str) -> bool:
    """Whether all files stand in that folder, a path or a URL, or below."""
    assert plan.names is not None
    base, to = plan.names.base, WriterTraits.of(plan.writer)
    place = os.path.abspath(base) if to.storage is None else to.storage().url(to.key("" if base == "." else f"{base}/"))
    return f"{place.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def folders_in(plan: Plan) -> tuple[str, ...]:
    """What folders by the values of groups are called, as Hive writes them: columns of a Delta table."""
    folders = GrouperTraits.of(plan.spec.grouper.component if plan.spec.grouper else None).folders
    if not folders.hive:
        return ()
    names = (part.partition("=")[0] for part in folders.template.split("/"))
    return tuple(unquote(name.replace("{{", "{").replace("}}", "}")) for name in names)


_GROUP, _NUMBER = "groupxvalue", 7654321
"""Stand in a name where values of groups and the file's number would."""


def told(plan: Plan) -> Iterator[str]:
    """What `explain` says."""
    table = plan.spec.table
    if table is None:
        return
    if isinstance(table, DeltaTable):
        called = f"the Delta table in {table.path or 'their folder'}"
    else:
        called = f"the Iceberg table {table.name}"
    yield f"table: when the manifest stands the files are added to {called} in one commit, once"
