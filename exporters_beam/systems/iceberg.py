"""Tables of Apache Iceberg, by pyiceberg: delivered Parquet files are added as they are.

What was added stands in the properties of the snapshot, and in one of the table that is set in the same commit: snapshots
expire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from exporters_beam.components.secret import hide, reveal
from exporters_beam.components.words import one_line
from exporters_beam.config.table import IcebergTable
from exporters_beam.errors import DestinationError, ExportError, MissingExtra
from exporters_beam.storages.base import client
from exporters_beam.systems.tables import ABOUT, ANOTHER, Added, Delivery, Overtaken, added_once, refuse_types, schemas_of

KEYS = {
    "aws_access_key_id": "s3.access-key-id",
    "aws_secret_access_key": "s3.secret-access-key",
    "aws_session_token": "s3.session-token",
    "aws_region": "s3.region",
    "host": "s3.endpoint",
}
"""Options of the writer s3, and what pyiceberg calls them."""


RETRIES = "commit.retry.num-retries"
"""The property of a table that says how often pyiceberg tries a commit again."""


@dataclass
class Iceberg:
    """A table of a catalog. `defaults` are properties that the catalog gets where the config gives others none."""

    given: IcebergTable
    defaults: Mapping[str, str] = field(default_factory=dict, repr=False)
    _catalog: Any = field(default=None, repr=False)

    def look(self) -> None:
        """Reach the catalog and the table. Raises DestinationError, MissingExtra."""
        if self._load() is None and not self.given.create:
            raise DestinationError(f"{self.given.called}: {NO_TABLE}")

    def added(self, key: str) -> Added | None:
        """The last delivery of a key."""
        table = self._load()
        return None if table is None else _added(table, key)

    def files(self) -> Iterator[str]:
        """The files of the table as it is now, of a disk as paths."""
        table = self._load()
        snapshot = table.current_snapshot() if table is not None else None
        with self._telling():
            for manifest in snapshot.manifests(table.io) if snapshot is not None else ():
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    yield entry.data_file.file_path.removeprefix("file://")

    def add(self, delivery: Delivery) -> bool:
        """Add the files in one snapshot, unless they have been: then False. Raises DestinationError."""
        refused = self._errors()
        names = [_url(file.name) for file in delivery.files]

        def commit(table: Any, found: Added | None) -> None:
            with self._telling():
                self._refuse_misfits(table, names)
                table.metadata.properties[RETRIES] = "0"  # Of this commit; pyiceberg would not look again what was added.
                try:
                    with table.transaction() as change:
                        change.set_properties({f"{ABOUT}{delivery.key}": f"{delivery.number} {delivery.digest}"})
                        change.add_files(names, snapshot_properties=delivery.about, check_duplicate_files=found is None)
                except refused as error:
                    raise Overtaken(_first(error)) from None

        return added_once(delivery, self.given.called, load=self._load, make=partial(self._make, delivery),
                          added=lambda table: _added(table, delivery.key), commit=commit)  # fmt: skip

    def _errors(self) -> tuple[type[Exception], ...]:
        found = client("pyiceberg.exceptions", "table.iceberg", "iceberg")
        return found.CommitFailedException, found.CommitStateUnknownException

    def _load(self) -> Any:
        """The table as it is now; None where there is none."""
        catalogs = client("pyiceberg.catalog", "table.iceberg", "iceberg")
        errors = client("pyiceberg.exceptions", "table.iceberg", "iceberg")
        with self._telling():
            if self._catalog is None:
                given = {str(key): str(value) for key, value in reveal(dict(self.given.catalog)).items()}
                name = given.pop("name", "default")
                self._catalog = catalogs.load_catalog(name, **{**self.defaults, **given})
            try:
                return self._catalog.load_table(self.given.name)
            except (errors.NoSuchTableError, errors.NoSuchNamespaceError):
                return None

    def _make(self, delivery: Delivery) -> None:
        """Make the table with the columns of the first file. It has no rows, and another run may have made it."""
        errors = client("pyiceberg.exceptions", "table.iceberg", "iceberg")
        if not self.given.create:
            raise DestinationError(f"{self.given.called}: {NO_TABLE}")
        from pyiceberg.io import load_file_io

        with self._telling():
            name = _url(delivery.files[0].name)
            schema = _schema_of(load_file_io(dict(self._catalog.properties), name), name)
            refuse_types(schema, self.given.called)
            with suppress(errors.NamespaceAlreadyExistsError):
                self._catalog.create_namespace(self.given.name.rpartition(".")[0])
            with suppress(errors.TableAlreadyExistsError):
                self._catalog.create_table(self.given.name, schema=schema)

    def _refuse_misfits(self, table: Any, names: list[str]) -> None:
        """Raises DestinationError where the columns of a file are not those of the table: pyiceberg would print a drawing."""
        from pyiceberg.io.pyarrow import pyarrow_to_schema

        wanted = table.schema()
        mapping = table.name_mapping() or wanted.name_mapping
        known = {each.name for each in wanted.fields}
        for name, schema in schemas_of(names, partial(_schema_of, table.io)):
            refuse_types(schema, self.given.called)
            more = [column for column in schema.names if column not in known]
            if more:
                raise self._misfit(name, f"the table has no column {more[0]}")
            try:
                found = pyarrow_to_schema(schema, name_mapping=mapping)
            except ValueError as error:
                raise self._misfit(name, _first(error)) from None
            if any(_id(found, column) != _id(wanted, column) for column in found.column_names):
                raise self._misfit(name, "its columns have the ids of another table")
            for column in wanted.column_names:
                why = _unlike(column, wanted, found)
                if why:
                    raise self._misfit(name, why)

    def _misfit(self, name: str, why: str) -> DestinationError:
        return DestinationError(
            f"{self.given.called}: {name.removeprefix('file://')} does not fit: {why}; change the table, or what is exported"
        )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What pyiceberg, its clients and servers raise becomes a sentence."""
        try:
            yield
        except ExportError:
            raise
        except Exception as error:
            if type(error).__name__ == "UnsupportedPyArrowTypeException":
                raise DestinationError(f"{self.given.called}: {_first(error)}; {ANOTHER}") from None
            if type(error).__name__ in ("NotInstalledError", "ModuleNotFoundError", "ImportError"):
                raise MissingExtra(f"table.iceberg ({_first(error)})", "iceberg") from None
            raise DestinationError(f"{self.given.called}: {_first(error)}") from error


NO_TABLE = "there is none in the catalog; make it, or add create: true"


def _first(error: Exception) -> str:
    """What an error says, without drawings."""
    text = hide(str(error)).strip()
    return one_line(text.partition("\n")[0] or type(error).__name__, 300)


def _added(table: Any, key: str) -> Added | None:
    told = table.properties.get(f"{ABOUT}{key}")
    if told is not None:
        number, _, digest = told.partition(" ")
        return Added(int(number), digest)
    return None


def _id(schema: Any, column: str) -> int | None:
    """The id of a column in a schema; None where there is none of that name."""
    try:
        return int(schema.find_field(column).field_id)
    except ValueError:
        return None


def _unlike(column: str, wanted: Any, found: Any) -> str:
    """Why a column of a table cannot have what the files have; "" where it can."""
    from pyiceberg.exceptions import ResolveError
    from pyiceberg.schema import promote
    from pyiceberg.types import PrimitiveType

    left = wanted.find_field(column)
    try:
        right = found.find_field(left.field_id)
    except ValueError:
        return f"it has no column {column}, which the table requires" if left.required else ""
    if left.required and not right.required:
        return f"its column {column} may be null, and that of the table may not"
    one, other = left.field_type, right.field_type
    if one == other or (type(one) is type(other) and not isinstance(one, PrimitiveType)):
        return ""
    try:
        promote(other, one)
    except ResolveError:
        return f"its column {column} is {other}, and that of the table {one}"
    return ""


def _url(name: str) -> str:
    """How a file is called in a table. Paths in which a URL would end early stay paths."""
    return f"file://{name}" if name.startswith("/") and not set("?#") & set(name) else name


def _schema_of(io: Any, name: str) -> Any:
    import pyarrow.parquet

    with io.new_input(name).open() as file:
        return pyarrow.parquet.read_schema(file)
