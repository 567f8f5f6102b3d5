"""Files of a server that speaks SFTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.options import option
from exporters_beam.readers.remote import RemoteReader, as_tuple, in_folder
from exporters_beam.storages import Storage
from exporters_beam.storages.sftp import SftpStorage


@dataclass(frozen=True, kw_only=True)
class SftpReader(RemoteReader):
    """Read files of a server that speaks SFTP, in the order of their paths.

    `path` is a file or a folder (every file below it), or several. Paths that do not begin with / are looked for in the
    folder of the user. `pattern` chooses among the paths. Where nothing at all is found the export fails, unless
    `allow_empty` is given. The server has to be known: its key stands in `known_hosts`, by default that of this machine's
    user. Without password and key those of an SSH agent and in `~/.ssh` are tried. Needs the extra `sftp`.

    Example:
        reader:
          name: sftp
          options:
            host: files.example.org
            sftp_user: shop
            sftp_password: ${secret:env:SFTP_PASSWORD}
            path: dumps
    """

    place_option: ClassVar[str] = "path"

    host: str = option("name or address of the server", type="str", example="files.example.org")
    port: int = option("its port", type="int", default=22, minimum=1)
    sftp_user: str | None = option("user", type="str", default=None, env="EXPORTERS_SFTP_USER")
    sftp_password: str | None = option("password", type="str", default=None, env="EXPORTERS_SFTP_PASSWORD", secret=True)
    private_key: str | None = option("private key, as text", type="str", default=None, secret=True)
    private_key_file: str | None = option("file with the private key", type="str", default=None)
    known_hosts: str | None = option("file with the keys of known servers", type="str", default=None)
    path: Any = option("a file or folder, or several", type="str|str_list", example="dumps")

    def connect(self) -> Storage:
        return SftpStorage(
            host=self.host, port=self.port, user=self.sftp_user, password=self.sftp_password,
            private_key=self.private_key, private_key_file=self.private_key_file, known_hosts=self.known_hosts,
            attempts=self.attempts,
        )  # fmt: skip

    def places(self) -> Iterable[str]:
        return as_tuple(self.path)

    def covers(self, place: str, other: str) -> bool:
        return in_folder(place, other)
