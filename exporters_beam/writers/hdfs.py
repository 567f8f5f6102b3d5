"""Files of HDFS."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.storages.hdfs import HdfsServer
from exporters_beam.writers.remote import FolderWriter


@dataclass(frozen=True, kw_only=True)
class HdfsWriter(HdfsServer, FolderWriter):
    """Deliver files to HDFS over WebHDFS.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, read back and compared, and
    renamed, so it appears whole or not at all. Folders are made as needed. A `filebase` that does not begin with / is below
    the folder of the user. Existing files of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Clusters with Kerberos cannot be reached. Needs the extra `hdfs`.

    Example:
        writer:
          name: hdfs
          options: {host: namenode.example.org, hdfs_user: shop, filebase: 'dumps/%Y-%m-%d/part-'}
    """
