"""`bundle`: one archive in the place of all files."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.components.options import option
from exporters_beam.components.words import in_json
from exporters_beam.config.done import check_name
from exporters_beam.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One zip archive that holds all files of the export: the section `bundle`.

    Its name begins in the folder of `filebase`, the part of it before placeholders, and may hold % dates; what `filebase` and
    the groups add to that folder are the names in the archive.
    """

    name: str = option("name of the archive, with % dates", example="daily-%Y-%m-%d.zip")

    def __post_init__(self) -> None:
        check_name("name", self.name)
        if not self.name.endswith(".zip"):
            raise ConfigError(f"name: {in_json(self.name, 80)} does not end with .zip, and the archive is one of zip")
