"""Files that web servers give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.errors import ConfigError
from exporters_beam.options import option
from exporters_beam.readers.remote import RemoteReader, as_tuple
from exporters_beam.storages import Storage
from exporters_beam.storages.http import HttpStorage
from exporters_beam.variables import Secret


@dataclass(frozen=True, kw_only=True)
class HttpReader(RemoteReader):
    """Read files of web servers by their URLs, in the order of the URLs.

    Large plain files are entered in the middle where the server knows of ranges. A connection that breaks is taken up
    again where it broke. A file that changes while the export runs ends it, where the server tells an ETag or a time.
    `headers` go with every request, for example for a token, but not where a redirect leads to another origin. Redirects
    lead to http and https only, never from https to http, and addresses of metadata services of clouds are not asked. A
    user and a password may stand in the URL.

    Example:
        reader:
          name: http
          options:
            input: [https://example.org/dumps/1.jl.gz, https://example.org/dumps/2.jl.gz]
            headers: {Authorization: 'Bearer ${secret:env:TOKEN}'}
    """

    place_option: ClassVar[str] = "input"

    input: Any = option("one URL or several", type="str|str_list", example=["https://example.org/dumps/1.jl.gz"])
    headers: dict[str, Any] = option("headers of every request", type="dict", default={}, secret=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not as_tuple(self.input):
            raise ConfigError("input: the list is empty; give at least one URL")
        for url in as_tuple(self.input):
            if not isinstance(url, Secret) and not url.startswith(("http://", "https://")):
                raise ConfigError(f"input: {url!r:.200} is no URL that begins with http:// or https://")
        for name, value in self.headers.items():
            if not isinstance(value, str) or "\n" in value or "\r" in value:
                raise ConfigError(f"headers: {name} has to be a text of one line")

    def connect(self) -> Storage:
        headers: Mapping[str, str] = self.headers
        return HttpStorage(headers=headers, attempts=self.attempts)

    def places(self) -> Iterable[str]:
        return as_tuple(self.input)

    def covers(self, place: str, other: str) -> bool:
        return place == other
