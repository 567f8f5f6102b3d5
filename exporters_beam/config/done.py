"""`done`: what tells customers, where they find the files, that an export is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from exporters_beam.components.names import BATCH
from exporters_beam.components.options import option
from exporters_beam.components.traits import WriterTraits
from exporters_beam.components.words import in_json
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.files import BOOKS

KINDS = MANIFEST, SUCCESS = ("manifest", "success_file")
"""The files of `done`, in the order in which they are delivered."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """Files that are delivered when all others stand at the destination: the section `done`.

    Their names begin in the folder of `filebase`, the part of it before placeholders, and may hold % dates.
    """

    success_file: str | None = option("name of an empty file, which says that the export is whole", type="str", default=None,
                                      example="_SUCCESS")  # fmt: skip
    manifest: str | None = option("name of a file of JSON with the delivered files, their records, sizes and checksums",
                                  type="str", default=None, example="manifest-%Y-%m-%d.json")  # fmt: skip

    def __post_init__(self) -> None:
        for kind, name in self.names:
            check_name(kind, name)
        if not self.names:
            raise ConfigError(Problem((), "name a success_file, a manifest, or both"))

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(kind, name as it stands in the config) of each, in the order in which they are delivered."""
        return tuple((kind, name) for kind in KINDS if (name := getattr(self, kind)) is not None)


def takes_done(writer: object) -> bool:
    """Whether a writer delivers files to a place where customers look: mails and the console have none."""
    to = WriterTraits.of(writer)
    return to.files and not (to.remote and to.storage is None)


def check_name(option: str, name: str) -> None:
    """Raises ConfigError where it is not the name of a file below a folder, with % dates at the most in it."""
    shown = in_json(name, 80)
    if not name or name.endswith("/"):
        raise ConfigError(f"{option}: {shown} is not the name of a file")
    if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ConfigError(f"{option}: {shown} is not a name below the folder of filebase; leave out what leads elsewhere")
    if PurePosixPath(name).parts[0] == BOOKS:
        raise ConfigError(f"{option}: {shown} stands among the books of exports; take another name")
    without = BATCH.sub("", name)
    if "{" in without or "}" in without or not name.isprintable():
        raise ConfigError(f"{option}: {shown} may hold % dates and {{batch}}, and neither other braces nor "
                          "control characters: there is one such "
                          "file for all groups")  # fmt: skip
