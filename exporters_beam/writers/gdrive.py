"""Files in Google Drive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.records import PlannedFile
from exporters_beam.storages.google_drive import GoogleDriveFolder
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class GDriveWriter(GoogleDriveFolder, RemoteWriter):
    """Deliver files to Google Drive.

    A file is built on the worker and uploaded in several requests (a resumable upload); it appears whole or not at all, and
    its size and MD5 are compared with what was sent. Folders are made as needed, below the folder `folder_id`; give the ID
    of a shared drive there to deliver to it. A file of the same name in the same folder gets the new content and keeps its
    ID and how it is shared (of several the oldest one), so delivering again makes no second file. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`.

    `credentials` are those of a user, with the OAuth client in `client_secret`, or the key of a service account; without
    any, those of the machine are taken (application default credentials). A service account has no room of its own: it
    needs a shared drive, or a user in `subject`. Needs the extra `gdrive`.

    Example:
        writer:
          name: gdrive
          options:
            client_secret: ${secret:file:/keys/client_secret.json}
            credentials: ${secret:file:/keys/gdrive-credentials.json}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    takes_copies: ClassVar[bool | str] = "gdrive"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        return {"total": str(file.records)} if file.records >= 0 else {}

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
