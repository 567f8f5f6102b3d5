"""Files of Google Drive."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.readers.remote import FolderReader
from exporters_beam.storages.google_drive import GoogleDriveFolder


@dataclass(frozen=True, kw_only=True)
class GDriveReader(GoogleDriveFolder, FolderReader):
    """Read files of Google Drive, in the order of their paths.

    `path` is a file or a folder (every file below it), or several; paths begin in the folder `folder_id`. `pattern` chooses
    among the paths. Where nothing at all is found the export fails, unless `allow_empty` is given. A file that is replaced
    while the export runs ends it. Documents, spreadsheets and shortcuts are passed over. Of several files of one name each
    is read: all but the oldest are called `NAME?id=ID`.

    `credentials` are those of a user, with the OAuth client in `client_secret`, or the key of a service account; without
    any, those of the machine are taken (application default credentials). Needs the extra `gdrive`.

    Example:
        reader:
          name: gdrive
          options: {credentials: '${secret:file:/keys/drive.json}', folder_id: 0AExampleOfAnId, path: dumps}
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()
