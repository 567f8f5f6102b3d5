"""Files of HDFS."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.readers.remote import FolderReader
from exporters_beam.storages.hdfs import HdfsServer


@dataclass(frozen=True, kw_only=True)
class HdfsReader(HdfsServer, FolderReader):
    """Read files of HDFS over WebHDFS, in the order of their paths.

    `path` is a file or a folder (every file below it), or several. Paths that do not begin with / are looked for in the
    folder of the user. `pattern` chooses among the paths. Where nothing at all is found the export fails, unless
    `allow_empty` is given. A file that is replaced while the export runs ends it. Clusters with Kerberos cannot be reached.
    Needs the extra `hdfs`.

    Example:
        reader:
          name: hdfs
          options: {host: namenode.example.org, hdfs_user: shop, path: dumps}
    """
