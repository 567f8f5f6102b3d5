"""Files on a server that speaks FTP."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.options import option
from exporters_beam.storages import Storage
from exporters_beam.storages.ftp import FtpStorage
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class FtpWriter(RemoteWriter):
    """Deliver files to a server that speaks FTP, also with TLS.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, and renamed when its size is
    right, so it appears whole or not at all. Folders are made as needed. A `filebase` that does not begin with / is below
    the folder of the user. Existing files of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Without `tls` the password crosses the network as it is.

    Example:
        writer:
          name: ftp
          options:
            host: files.example.org
            tls: true
            ftp_user: shop
            ftp_password: ${secret:env:FTP_PASSWORD}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    host: str = option("name or address of the server", type="str", example="files.example.org")
    port: int = option("its port", type="int", default=21, minimum=1)
    ftp_user: str | None = option("user; without one: anonymous", type="str", default=None, env="EXPORTERS_FTP_USER")
    ftp_password: str | None = option("password", type="str", default=None, env="EXPORTERS_FTP_PASSWORD", secret=True)
    tls: bool = option("encrypt commands and data (FTPS, explicit)", type="bool", default=False)
    ca_file: str | None = option("certificates to trust, with tls; by default the machine's", type="str", default=None)

    def connect(self) -> Storage:
        return FtpStorage(host=self.host, port=self.port, user=self.ftp_user, password=self.ftp_password, tls=self.tls,
                          ca_file=self.ca_file, attempts=self.attempts)  # fmt: skip

    def key(self, name: str) -> str:
        return name.removeprefix("./")

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
