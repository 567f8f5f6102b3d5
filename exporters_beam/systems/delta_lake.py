"""Tables of Delta Lake, by deltalake: delivered Parquet files become files of the table where they stand.

What was added stands in the log as transactions of an application, which are kept as long as the table, and in the commit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

from exporters_beam.components.names import HIVE_NULL
from exporters_beam.components.secret import hide, reveal
from exporters_beam.components.words import one_line
from exporters_beam.config.table import DeltaTable
from exporters_beam.errors import DestinationError, ExportError
from exporters_beam.storages.base import client
from exporters_beam.systems.tables import ABOUT, ANOTHER, Added, Delivery, File, Overtaken, added_once, refuse_types, schemas_of

NO_TABLE = "there is none yet; make it, or add create: true"

KEYS = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "aws_region": "AWS_REGION",
    "host": "AWS_ENDPOINT_URL",
}
"""Options of the writer s3, and what deltalake calls them."""


@dataclass
class Delta:
    """A table in a folder, `root`, a path or a URL. `folders` are the names of values of groups in the paths of files that are
    columns of the table where the files have none of that name. `defaults` are storage options that the config does not
    give."""

    given: DeltaTable
    root: str
    folders: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict, repr=False)

    def look(self) -> None:
        """Reach the table. Raises DestinationError, MissingExtra."""
        if self._load() is None and not self.given.create:
            raise DestinationError(f"{self._called}: {NO_TABLE}")

    def added(self, key: str) -> Added | None:
        """The last delivery of a key."""
        table = self._load()
        return None if table is None else _added(table, key)

    def files(self) -> Iterator[str]:
        """The files of the table as it is now."""
        table = self._load()
        if table is None:
            return
        import pyarrow

        with self._telling():  # URIs of a storage would be escaped in part; paths of the log are as a whole.
            for path in pyarrow.table(table.get_add_actions(flatten=True))["path"].to_pylist():
                yield path if "://" in path or path.startswith("/") else f"{self.root}/{unquote(path)}"

    def add(self, delivery: Delivery) -> bool:
        """Add the files in one commit, unless they have been: then False. Raises DestinationError."""
        errors = client("deltalake.exceptions", "table.delta", "delta")
        schema, split = self._schema_of(delivery.files)
        actions = [self._action(file, split) for file in delivery.files]

        def commit(table: Any, _: Added | None) -> None:
            self._refuse_misfit(table, schema, split)
            with self._telling():
                try:
                    table.create_write_transaction(actions, "append", schema, split, commit_properties=_told(delivery))
                except errors.CommitFailedError as error:
                    raise Overtaken(_first(error)) from None

        return added_once(delivery, self._called, load=self._load, make=partial(self._make, schema, split),
                          added=lambda table: _added(table, delivery.key), commit=commit)  # fmt: skip

    @property
    def _called(self) -> str:
        return f"{self.given.called} in {self.root}"

    @property
    def _options(self) -> dict[str, str]:
        given = {str(key): str(value) for key, value in reveal(dict(self.given.storage_options)).items()}
        plain = {"AWS_ALLOW_HTTP": "true"} if self.defaults.get("AWS_ENDPOINT_URL", "").startswith("http://") else {}
        return {**plain, **self.defaults, **given}

    def _load(self) -> Any:
        """The table as it is now; None where there is none."""
        found = client("deltalake", "table.delta", "delta")
        with self._telling():
            if not found.DeltaTable.is_deltatable(self.root, self._options):
                return None
            return found.DeltaTable(self.root, storage_options=self._options)

    def _make(self, schema: Any, split: Sequence[str]) -> None:
        """Make the table, without files. Another run may have made it."""
        if not self.given.create:
            raise DestinationError(f"{self._called}: {NO_TABLE}")
        from deltalake.transaction import create_table_with_add_actions

        with self._telling():
            create_table_with_add_actions(self.root, schema, [], "ignore", list(split), storage_options=self._options)

    def _action(self, file: File, split: Sequence[str]) -> Any:
        from deltalake.transaction import AddAction

        values = dict(zip(self.folders, file.group, strict=False))
        parts = {name: None if values[name] == HIVE_NULL else values[name] for name in split}
        stats = {} if file.records is None else {"numRecords": file.records}
        path = self._relative(file.name)
        return AddAction(path, file.bytes, parts, int(time.time() * 1000), True, json.dumps(stats))

    def _relative(self, name: str) -> str:
        if not name.startswith(self.root + "/"):
            raise DestinationError(f"{self._called}: {name} does not stand in the folder of the table")
        return name[len(self.root) + 1 :]

    def _schema_of(self, files: Sequence[File]) -> tuple[Any, tuple[str, ...]]:
        """The columns of a table of these files, and those of them that folders tell."""
        import pyarrow
        import pyarrow.parquet

        schemas = client("deltalake", "table.delta", "delta")
        with self._telling():
            there: Any = pyarrow.fs.LocalFileSystem()
            if "://" in self.root:
                fs = client("deltalake.fs", "table.delta", "delta")
                there = pyarrow.fs.PyFileSystem(fs.DeltaStorageHandler(self.root, self._options))

            def schema_of(name: str) -> Any:
                path = self._relative(name)
                with there.open_input_file(path if "://" in self.root else name) as opened:
                    return pyarrow.parquet.read_schema(opened).remove_metadata()

            (_, first), *more = schemas_of([file.name for file in files], schema_of)
        others = [name for name, schema in more if schema != first]
        if others:
            raise DestinationError(f"{self._called}: {others[0]} has other columns than the files before; give the formatter "
                                   "a schema")  # fmt: skip
        split = tuple(name for name in self.folders if name not in first.names)
        refuse_types(first, self._called)
        whole = pyarrow.schema([*first, *(pyarrow.field(name, pyarrow.string()) for name in split)])
        try:
            return schemas.Schema.from_arrow(whole), split
        except Exception as error:
            raise DestinationError(f"{self._called}: {_first(error)}; {ANOTHER}") from None

    def _refuse_misfit(self, table: Any, schema: Any, split: Sequence[str]) -> None:
        """Raises DestinationError where the columns of the files are not those of the table: deltalake does not look."""
        wanted = {each["name"]: each for each in json.loads(table.schema().to_json())["fields"]}
        found = {each["name"]: each for each in json.loads(schema.to_json())["fields"]}
        parts = table.metadata().partition_columns
        why = ""
        if list(parts) != list(split):
            has, have = (f"by {', '.join(names)}" if names else "by nothing" for names in (parts, split))
            why = f"it is partitioned {has}, and the files {have}"
        for name, column in found.items():
            if why:
                break
            if name not in wanted:
                why = f"it has no column {name}"
            elif wanted[name]["type"] != column["type"]:
                why = f"its column {name} is {_type(wanted[name])}, and that of the files {_type(column)}"
            elif column["nullable"] and not wanted[name]["nullable"]:
                why = f"its column {name} may not be null, and that of the files may"
        missing = [name for name, column in wanted.items() if name not in found and not column["nullable"]]
        if missing and not why:
            why = f"it requires the column {missing[0]}, which the files do not have"
        if why:
            raise DestinationError(f"{self._called}: the files do not fit: {why}; change the table, or what is exported")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What deltalake and servers raise becomes a sentence."""
        try:
            yield
        except ExportError:
            raise
        except Exception as error:
            raise DestinationError(f"{self._called}: {_first(error)}") from error


def _type(column: Mapping[str, Any]) -> str:
    return column["type"] if isinstance(column["type"], str) else f"a {column['type']['type']} of another kind"


def _first(error: Exception) -> str:
    return one_line(hide(str(error)).strip().partition("\n")[0] or type(error).__name__, 300)


def _ids(key: str) -> tuple[str, str]:
    """The applications whose transactions say which batch of a key was added last, and which files."""
    return f"{ABOUT}{key}", f"{ABOUT}{key}.files"


def _added(table: Any, key: str) -> Added | None:
    number, digest = (table.transaction_version(name) for name in _ids(key))
    return None if number is None else Added(number, "" if digest is None else f"{digest:015x}")


def _told(delivery: Delivery) -> Any:
    from deltalake.transaction import CommitProperties, Transaction

    batch, files = _ids(delivery.key)
    versions = [Transaction(batch, delivery.number, None), Transaction(files, int(delivery.digest, 16), None)]
    return CommitProperties(custom_metadata=delivery.about, app_transactions=versions)
