"""Files of a server that speaks SFTP."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.readers.remote import FolderReader
from exporters_beam.storages.sftp import SftpServer


@dataclass(frozen=True, kw_only=True)
class SftpReader(SftpServer, FolderReader):
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
