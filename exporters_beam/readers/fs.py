"""The files of this machine or of a shared mount."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.options import option
from exporters_beam.records import Unit


@dataclass(frozen=True, kw_only=True)
class FsReader:
    """Read the files of this machine or of a shared mount, in the order of their paths.

    `input` is a path, a mapping, or a list of both. A path is taken literally, and it must exist when the export
    starts. A mapping has `dir` (every file below it; a folder that does not exist is empty, with a warning) or
    `dir_pointer` (a small text file that holds the folder's path), and may have `pattern` (a regular expression
    searched in the whole path) and `include_dot_files` (false: files whose name begins with a dot are passed over;
    files in folders whose name does are not; the books of earlier exports, `.exporters`, always are). Links to
    folders are not followed. A file that is named twice is read once. Files are decompressed and decoded by the
    sections `decompressor` and `deserializer`.

    Example:
        reader:
          name: fs
          options:
            input: {dir: data, pattern: 'day=2026-.*\\.jl\\.gz$'}
    """

    kind: ClassVar[str] = "reader"
    on_this_machine: ClassVar[bool] = True

    input: Any = option(
        "a file, a mapping with dir or dir_pointer, or a list of both", type="str|dict|list", example={"dir": "data"}
    )
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=10000)

    def __post_init__(self) -> None:
        places = self._places()
        if not places:
            raise ConfigError("input: the list is empty; give at least one file or folder")
        for place in places:
            if isinstance(place, str):
                if not place:
                    raise ConfigError("input: a path is empty")
                continue
            if not isinstance(place, Mapping):
                raise ConfigError(f"input: {place!r} is neither a path nor a mapping with dir or dir_pointer")
            if ("dir" in place) == ("dir_pointer" in place):
                raise ConfigError("input: give either dir or dir_pointer in a mapping, and not both")
            unknown = set(place) - {"dir", "dir_pointer", "pattern", "include_dot_files"}
            if unknown:
                raise ConfigError(
                    f"input: unknown key {sorted(map(str, unknown))[0]!r}; "
                    "known: dir, dir_pointer, pattern, include_dot_files"
                )
            for key in ("dir", "dir_pointer"):
                if key in place and not (isinstance(place[key], str) and place[key]):
                    raise ConfigError(f"input: {key} is {place[key]!r}; give the path of a "
                                      f"{'folder' if key == 'dir' else 'text file that holds a path'}")  # fmt: skip
            try:
                re.compile(place.get("pattern") or "")
            except (re.error, TypeError) as error:
                raise ConfigError(
                    f"input: pattern {place.get('pattern')!r} is no regular expression: {error}"
                ) from None

    def _places(self) -> tuple[Any, ...]:
        return tuple(self.input) if isinstance(self.input, (tuple, list)) else (self.input,)

    def check(self) -> tuple[str, ...]:
        """Warnings about what is not there. Raises ConfigError for a listed file that does not exist."""
        warnings = []
        for place in self._places():
            if isinstance(place, str):
                if not os.path.exists(place):
                    raise ConfigError(f"input: there is no file {place!r}")
                if os.path.isdir(place):
                    raise ConfigError(
                        f"input: {place!r} is a folder; write {{dir: {place}}} to read the files below it"
                    )
            else:
                folder = self._folder(place)
                if not os.path.isdir(folder):
                    warnings.append(f"input: there is no folder {folder!r}; nothing is read from it")
        return tuple(warnings)

    def _folder(self, place: Mapping[str, Any]) -> str:
        if "dir" in place:
            return str(place["dir"])
        try:
            with open(place["dir_pointer"], encoding="utf-8") as file:
                folder = file.read(65536).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"input: dir_pointer {place['dir_pointer']!r} cannot be read: {error}") from None
        if not folder:
            raise ConfigError(
                f"input: the file {place['dir_pointer']!r} of dir_pointer is empty; it has to hold a path"
            )
        return folder

    def units(self) -> Iterator[Unit]:
        """Every file once, sorted by path. Raises SourceError where a listed file does not exist."""
        paths = set()
        for place in self._places():
            if isinstance(place, str):
                paths.add(place)
            else:
                paths.update(self._walk(place))
        for index, path in enumerate(sorted(paths)):
            try:
                found = os.stat(path)
            except OSError as error:
                raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
            yield Unit(index, path, found.st_size, f"{found.st_size}-{found.st_mtime_ns}")

    def _walk(self, place: Mapping[str, Any]) -> Iterator[str]:
        wanted = re.compile(place.get("pattern") or "").search
        for folder, folders, names in os.walk(self._folder(place)):
            if ".exporters" in folders:
                folders.remove(".exporters")  # The books of an export that was delivered here.
            for name in names:
                path = os.path.join(folder, name)
                if (place.get("include_dot_files") or not name.startswith(".")) and wanted(path):
                    yield path

    def open(self, unit: Unit) -> BinaryIO:
        """The file's bytes. Raises SourceError where the file is not the one that was listed."""
        file = open(unit.name, "rb")
        found = os.fstat(file.fileno())
        if f"{found.st_size}-{found.st_mtime_ns}" != unit.etag:
            file.close()
            raise SourceError("the file changed while the export ran; export again when it is complete")
        return file
