"""Files on a server that speaks SFTP."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.options import option
from exporters_beam.storages import Storage
from exporters_beam.storages.sftp import SftpStorage
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class SftpWriter(RemoteWriter):
    """Deliver files to a server that speaks SFTP.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, and renamed when its size is
    right, so it appears whole or not at all. Folders are made as needed. A `filebase` that does not begin with / is below
    the folder of the user. Existing files of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`.

    The server has to be known: its key stands in `known_hosts`, by default that of this machine's user. Without password
    and key those of an SSH agent and in `~/.ssh` are tried. Needs the extra `sftp`.

    Example:
        writer:
          name: sftp
          options:
            host: files.example.org
            sftp_user: shop
            sftp_password: ${secret:env:SFTP_PASSWORD}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    host: str = option("name or address of the server", type="str", example="files.example.org")
    port: int = option("its port", type="int", default=22, minimum=1)
    sftp_user: str | None = option("user", type="str", default=None, env="EXPORTERS_SFTP_USER")
    sftp_password: str | None = option("password", type="str", default=None, env="EXPORTERS_SFTP_PASSWORD", secret=True)
    private_key: str | None = option("private key, as text", type="str", default=None, secret=True)
    private_key_file: str | None = option("file with the private key", type="str", default=None)
    known_hosts: str | None = option("file with the keys of known servers", type="str", default=None)

    def connect(self) -> Storage:
        return SftpStorage(
            host=self.host, port=self.port, user=self.sftp_user, password=self.sftp_password,
            private_key=self.private_key, private_key_file=self.private_key_file, known_hosts=self.known_hosts,
            attempts=self.attempts,
        )  # fmt: skip

    def key(self, name: str) -> str:
        return name.removeprefix("./")

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
