"""Files on a server that speaks SFTP."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.storages.sftp import SftpServer
from exporters_beam.writers.remote import FolderWriter


@dataclass(frozen=True, kw_only=True)
class SftpWriter(SftpServer, FolderWriter):
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
