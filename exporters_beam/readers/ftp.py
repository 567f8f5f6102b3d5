"""Files of a server that speaks FTP."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.readers.remote import FolderReader
from exporters_beam.storages.ftp import FtpServer


@dataclass(frozen=True, kw_only=True)
class FtpReader(FtpServer, FolderReader):
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
