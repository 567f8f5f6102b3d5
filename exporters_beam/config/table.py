"""`table`: delivered Parquet files become part of a table of Iceberg or of Delta Lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.components.words import in_json
from exporters_beam.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class IcebergTable:
    """A table of Apache Iceberg that gets the delivered files: `table: {iceberg: …}`. The extra `iceberg` is needed."""

    catalog: Mapping[str, Any] = option(
        "properties of the catalog as pyiceberg knows them, and its name", type="dict", secret=True,
        example={"type": "sql", "uri": "sqlite:////data/catalog.db", "warehouse": "file:///data/warehouse"},
    )  # fmt: skip
    name: str = option("the table behind its namespace", example="shop.orders")
    create: bool = option("make the table, and its namespace, where there is none", type="bool", default=False)

    kind = "iceberg"

    @property
    def called(self) -> str:
        """What sentences call it."""
        return f"the table {self.name}"

    def __post_init__(self) -> None:
        if "." not in self.name or not all(self.name.split(".")):
            raise ConfigError(f"name: {in_json(self.name, 80)} is not the name of a table behind that of its namespace, as "
                              "shop.orders")  # fmt: skip
        for key, value in self.catalog.items():
            if isinstance(value, (Mapping, list, tuple)):
                raise ConfigError(f"catalog: its property {key} is no text; give properties as s3.region: eu-west-1")


@dataclass(frozen=True, kw_only=True)
class DeltaTable:
    """A table of Delta Lake whose files the delivered ones are: `table: {delta: …}`. The extra `delta` is needed."""

    path: str | None = option("folder of the table, in which the files stand; by default that in which filebase begins",
                              type="str", default=None, example="/data/orders")  # fmt: skip
    storage_options: Mapping[str, Any] = option("options of deltalake for the storage, where those of the writer do not do",
                                                type="dict", default={}, secret=True)  # fmt: skip
    create: bool = option("make the table where there is none", type="bool", default=False)

    kind, called = "delta", "the table"


AnyTable = IcebergTable | DeltaTable

KINDS: dict[str, tuple[type, str]] = {
    "iceberg": (IcebergTable, "{catalog: {type: sql, uri: …, warehouse: …}, name: shop.orders}"),
    "delta": (DeltaTable, "{create: true}"),
}
