"""Files of a server that speaks FTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.options import option
from exporters_beam.readers.remote import RemoteReader, as_tuple, in_folder
from exporters_beam.storages import Storage
from exporters_beam.storages.ftp import FtpStorage


@dataclass(frozen=True, kw_only=True)
class FtpReader(RemoteReader):
    """Read files of a server that speaks FTP, also with TLS, in the order of their paths.

    `path` is a file or a folder (every file below it), or several. Paths that do not begin with / are looked for in the
    folder of the user. `pattern` chooses among the paths. Where nothing at all is found the export fails, unless
    `allow_empty` is given. Without `tls` the password crosses the network as it is.

    Example:
        reader:
          name: ftp
          options:
            host: files.example.org
            tls: true
            ftp_user: shop
            ftp_password: ${secret:env:FTP_PASSWORD}
            path: dumps
    """

    place_option: ClassVar[str] = "path"

    host: str = option("name or address of the server", type="str", example="files.example.org")
    port: int = option("its port", type="int", default=21, minimum=1)
    ftp_user: str | None = option("user; without one: anonymous", type="str", default=None, env="EXPORTERS_FTP_USER")
    ftp_password: str | None = option("password", type="str", default=None, env="EXPORTERS_FTP_PASSWORD", secret=True)
    tls: bool = option("encrypt commands and data (FTPS, explicit)", type="bool", default=False)
    ca_file: str | None = option("certificates to trust, with tls; by default the machine's", type="str", default=None)
    path: Any = option("a file or folder, or several", type="str|str_list", example="dumps")

    def connect(self) -> Storage:
        return FtpStorage(host=self.host, port=self.port, user=self.ftp_user, password=self.ftp_password, tls=self.tls,
                          ca_file=self.ca_file, attempts=self.attempts)  # fmt: skip

    def places(self) -> Iterable[str]:
        return as_tuple(self.path)

    def covers(self, place: str, other: str) -> bool:
        return in_folder(place, other)
