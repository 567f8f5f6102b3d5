"""Files of a Dropbox."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.readers.remote import FolderReader
from exporters_beam.storages.dropbox_files import DropboxAccount


@dataclass(frozen=True, kw_only=True)
class DropboxReader(DropboxAccount, FolderReader):
    """Read files of a Dropbox, in the order of their paths.

    `path` is a file or a folder (every file below it), or several; paths begin in the root of the Dropbox, or in the folder
    of the app where the token is for that. `pattern` chooses among the paths. Where nothing at all is found the export
    fails, unless `allow_empty` is given. A file that is replaced while the export runs ends it. Access tokens live four
    hours: give `refresh_token` and `app_key` for longer exports. Needs the extra `dropbox`.

    Example:
        reader:
          name: dropbox
          options: {access_token: '${secret:env:DROPBOX_TOKEN}', path: dumps}
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()
