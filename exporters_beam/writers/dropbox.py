"""Files in a Dropbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.storages.dropbox_files import DropboxAccount
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class DropboxWriter(DropboxAccount, RemoteWriter):
    """Deliver files to a Dropbox.

    A file is built on the worker and uploaded, in an upload session where it is larger than 8 MiB. It appears whole or not
    at all; its size and content hash are compared with what was sent. Files of the same name are replaced. `filebase` begins
    in the root of the Dropbox, or in the folder of the app where the token is for that. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Access tokens live four hours: give `refresh_token` and `app_key` for longer
    exports. Where the server has too much to do the client waits as long as it says, five times in all.

    The service does not tell capital letters from small ones: an export whose file names differ in nothing else fails,
    naming two of them. Needs the extra `dropbox`.

    Example:
        writer:
          name: dropbox
          options:
            access_token: ${secret:env:DROPBOX_TOKEN}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    takes_copies: ClassVar[bool | str] = "dropbox"
    without_case: ClassVar[str] = "Dropbox"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()

    def listed_as(self, url: str) -> str:
        return f"/{self.storage.name(url) or url}"
