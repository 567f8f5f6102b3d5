"""What servers of files have in common: names are paths, from the folder of the user on, or from / on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol
from urllib.parse import quote, unquote

from exporters_beam.storages.base import ClientStorage, StorageError


class FolderStorage(ClientStorage, Protocol):
    """A storage whose names are paths."""

    @property
    def _servers(self) -> tuple[str, str]:
        """The server with scheme and port, as its URLs begin, and how it may be spelled besides."""
        raise NotImplementedError

    def url(self, name: str) -> str:
        path = quote(name, safe="/ ") if name.startswith("/") else f"/~/{quote(name, safe='/ ')}"
        return f"{self._servers[0]}{path}"

    def name(self, url: str) -> str | None:
        """The path in a URL: `/~/` is the folder of the user."""
        scheme, _, rest = url.partition("://")
        server, slash, path = rest.partition("/")
        if f"{scheme}://{server.rpartition('@')[2]}" not in self._servers:
            return None
        return unquote(path[2:] if path.startswith("~/") else slash + path)


class ConnectionStorage(FolderStorage, Protocol):
    """A storage that is reached through one connection, which ends when it breaks."""

    def _told(self, name: str, writing: bool) -> AbstractContextManager[None]:
        """Turns what the library raises into StorageError."""
        raise NotImplementedError

    @contextmanager
    def _answers(self, name: str, writing: bool = False) -> Iterator[None]:
        """The same. A connection that broke is not used again."""
        try:
            with self._told(name, writing):
                yield
        except StorageError as error:
            if error.passing:
                self._forget()
            raise


def aside_of(half_sent: str) -> str:
    """The hidden name that the old file has for the moment in which the new one gets its name."""
    return f"{half_sent}.old"


def rename_over(connection: Any, remove: Callable[[str], object], refused: type[Exception], old: str, new: str) -> None:
    """Rename on a server that does not replace: what stands under the name is moved aside until the new file has it, and
    comes back where that fails. It is left there (`aside_of`). `refused` is what `remove` raises where there is nothing."""
    aside = aside_of(old)
    with suppress(refused):
        remove(aside)
    connection.rename(new, aside)
    try:
        connection.rename(old, new)
    except BaseException:
        with suppress(Exception):
            connection.rename(aside, new)
        raise
