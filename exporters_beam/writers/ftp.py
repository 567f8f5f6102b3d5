"""Files on a server that speaks FTP."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.storages.ftp import FtpServer
from exporters_beam.writers.remote import FolderWriter


@dataclass(frozen=True, kw_only=True)
class FtpWriter(FtpServer, FolderWriter):
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
