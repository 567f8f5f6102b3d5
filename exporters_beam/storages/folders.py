"""What servers of files have in common: names are paths, from the folder of the user on, or from / on."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote, unquote

from exporters_beam.storages import ClientStorage


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
