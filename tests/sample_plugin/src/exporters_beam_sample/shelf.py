"""A storage of one's own: files in a table of an SQLite database, with a reader and a writer for them.

A storage says how one file is listed, opened, put and removed. `RemoteReader` and `RemoteWriter` do the rest: units and
hidden names, building a file on this machine and checking what arrived, checksum files and the manifest.
"""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from exporters_beam import option
from exporters_beam.storages.base import (
    Content,
    NotThere,
    Storage,
    StorageError,
    Stored,
    arrived,
    changed,
    is_bookkeeping,
    look_again,
)
from exporters_beam.storages.reader import RemoteReader, as_tuple
from exporters_beam.storages.writer import RemoteWriter

TABLE = "CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, size INTEGER, md5 TEXT, data BLOB) WITHOUT ROWID"


@dataclass(frozen=True)
class ShelfStorage(Storage):
    """The files of one database. Options alone: it is pickled to workers, and connects where it is used."""

    file: str

    @classmethod
    def of_url(cls, url: str) -> tuple[ShelfStorage, str]:
        """The storage and the name in it that a URL stands for: `verify` finds files by the URLs in a manifest."""
        file, _, name = url.removeprefix("shelf://").partition(".sqlite/")
        return cls(f"{file}.sqlite"), name

    def url(self, name: str) -> str:
        return f"shelf://{os.path.abspath(self.file)}/{name}"

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection for one thing, which is done as a whole or not at all."""
        try:
            with closing(sqlite3.connect(self.file)) as connection, connection:
                connection.execute(TABLE)
                yield connection
        except sqlite3.Error as error:
            raise StorageError("file", str(error), passing="locked" in str(error)) from error

    def names(self, prefix: str) -> Iterator[Stored]:
        with self._connected() as connection:
            found = connection.execute(
                "SELECT name, size, md5 FROM files WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
            ).fetchall()
        yield from (Stored(name, size, md5, md5) for name, size, md5 in found if not is_bookkeeping(name))

    def stat(self, name: str) -> Stored:
        with self._connected() as connection:
            found = connection.execute("SELECT size, md5 FROM files WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise NotThere("", f"there is no file {name}")
        return Stored(name, found[0], found[1], found[1])

    def open(self, found: Stored) -> BinaryIO:
        with self._connected() as connection:
            row = connection.execute("SELECT md5, data FROM files WHERE name = ?", (found.name,)).fetchone()
        if row is None:
            raise NotThere("", f"there is no file {found.name}")
        if row[0] != found.etag:
            raise changed(self.url(found.name))
        return io.BytesIO(row[1])

    def unchanged(self, found: Stored) -> None:
        look_again(self, found)

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        file.seek(0)
        with self._connected() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (name, content.size, content.md5, file.read())
            )
        return arrived(name, self.stat(name), content)

    def delete(self, name: str) -> None:
        with self._connected() as connection:
            connection.execute("DELETE FROM files WHERE name = ?", (name,))

    def probe(self) -> None:
        with self._connected():
            pass


@dataclass(frozen=True, kw_only=True)
class ShelfReader(RemoteReader):
    """Read the files of an SQLite database, in the order of their names.

    Example:
        reader:
          name: shelf
          options: {file: shop.sqlite, prefix: dumps/}
    """

    file: str = option("the database", example="shop.sqlite")
    prefix: Any = option("beginnings of the names to read, one or several", type="str|str_list", default="")

    def connect(self) -> Storage:
        return ShelfStorage(self.file)

    def places(self) -> Iterable[str]:
        return as_tuple(self.prefix) or ("",)


@dataclass(frozen=True, kw_only=True)
class ShelfWriter(RemoteWriter):
    """Deliver files to an SQLite database, which is made where it is not there.

    Example:
        writer:
          name: shelf
          options: {file: shop.sqlite, filebase: dumps/part-}
    """

    file: str = option("the database", example="shop.sqlite")
    filebase: str = option("folder and name of the files, with % dates, {groups[0]} and {file_number}", default="part-")

    def connect(self) -> Storage:
        return ShelfStorage(self.file)
