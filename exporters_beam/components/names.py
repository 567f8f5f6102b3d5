"""Names of delivered files: the `filebase` template, and group values made safe for paths."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from exporters_beam.errors import ConfigError

MAX_PART = 200
"""Bytes of one group value in a name; longer ones are cut and told apart by a hash. File systems allow 255 in all."""

EMPTY = "%empty"
"""What stands for an empty group value. No other value becomes this: a percent sign is written %25."""


def safe_part(value: str, escape: str = "") -> str:
    """A group value as part of a path: itself where it is harmless, else with %XX for the bytes that are not.

    Letters and digits of any script, spaces and `_ - . , + @ = ( ) [ ] ~ & ; !` and the like stay; separators, control
    characters, percent signs, a leading dot and the characters in `escape` do not. Different values give different
    parts, and none of them is empty, `.` or `..`, or leaves its folder.

    >>> safe_part("valéncia"), safe_part("a/../b"), safe_part(".."), safe_part("")
    ('valéncia', 'a%2F..%2Fb', '%2E.', '%empty')
    """
    if not value:
        return EMPTY
    safe = "".join(_escaped(char) if _unsafe(char) or char in escape else char for char in value)
    if safe[0] == ".":
        safe = "%2E" + safe[1:]
    if len(safe.encode("utf-8", "surrogatepass")) > MAX_PART:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        head = safe.encode()[: MAX_PART - 17].decode("utf-8", "ignore")
        safe = f"{head}%~{digest}"
    return safe


HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What stands for null in the names of folders, as Hive has it."""

_OF_HIVE = frozenset("\"#%'*/:=?\\{[]^\x7f").union(map(chr, range(0x20)))


def escaped_for_hive(value: str) -> str:
    """A name or a value as Hive, and what reads after it, writes it in the name of a folder.

    >>> escaped_for_hive("a/b=50% é"), escaped_for_hive("14:00")
    ('a%2Fb%3D50%25 é', '14%3A00')
    """
    return "".join(f"%{ord(char):02X}" if char in _OF_HIVE else char for char in value)


class Folders(NamedTuple):
    """Folders that a grouper asks for behind that of `filebase`: a template with a place for each group value, and whether
    these are written as Hive writes them."""

    template: str = ""
    hive: bool = False

    def in_name(self, filebase: str) -> str:
        """The name with these folders in it."""
        end = filebase.rfind("/") + 1
        return f"{filebase[:end]}{self.template}/{filebase[end:]}" if self.template else filebase


def _unsafe(char: str) -> bool:
    return char in '/\\%:*?"<>|{}' or not (char.isprintable())


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


BATCH = re.compile(r"\{batch(?::([^{}]*))?\}")
"""Where the number of a batch stands in a name."""


def in_batch(name: str, number: int) -> str:
    """The name with the number of the batch in it. Raises ConfigError.

    >>> in_batch("items-{batch:06d}-", 12)
    'items-000012-'
    """

    def formatted(match: re.Match[str]) -> str:
        try:
            return format(number, match[1] or "")
        except ValueError as error:
            raise ConfigError(f"filebase: {match[0]}: {error}") from None

    return BATCH.sub(formatted, name)


WINDOW = re.compile(r"\{window(?::([^{}]*))?\}")
"""Where the beginning of a window of time stands in a name, with directives of strftime."""


def spread(name: str) -> str:
    """The name with a placeholder of its own for each folder that windows name.

    >>> spread("out/{window:%Y/%m}/items-")
    'out/{window:%Y}/{window:%m}/items-'
    """
    return WINDOW.sub(lambda match: match[0].replace("/", "}/{window:"), name)


def of_window(window: str, spec: str) -> str:
    """The beginning of a window as its placeholder asks for it; what is no time, as `unknown`, stays as it is.

    >>> of_window("2026-11-28T14:00", "%Y-%m-%d"), of_window("2026-11-28T14:00", "")
    ('2026-11-28', '2026-11-28T1400')
    """
    try:
        return _strftime(datetime.fromisoformat(window), spec) if spec else window.replace(":", "")
    except ValueError:
        return window


@dataclass(frozen=True)
class FileNames:
    """Names of an export's files, from a `filebase` whose % dates have been expanded.

    `groups` is how many values a group has; with `windows` the first of them is a window of time. `template` is the
    `filebase` before dates were expanded. The name part gets the four-digit number where it has no placeholder at all; groups
    that the template does not name are added behind it, each after a dash; where a name holds groups but no number, files
    after the first get the number behind the name. With `hive` each value stands behind `name=` as a folder of its own, and is
    written as Hive does.
    """

    filebase: str
    groups: int
    extension: str
    start: int = 0
    template: str = ""
    mark: str = ""
    hive: bool = False
    windows: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for placeholders that do not exist, before anything is read."""
        for part, where in ((self._folder, "folder"), (self._name, "name")):
            for field, spec in _placeholders(part):
                index = self._index(field)
                if index is not None:
                    if index >= self.groups:
                        values = self.groups - self.windows
                        have = f"the grouper gives {values}" if values else "there is no grouper"
                        raise ConfigError(f"filebase: {{{field}}} names a group value that does not exist: {have}")
                elif field == "file_number":
                    if where == "folder":
                        raise ConfigError("filebase: {file_number} can stand in the name only, not in the folder part")
                    _try(field, spec, 0)
                else:
                    raise ConfigError(
                        f"filebase: unknown placeholder {{{field}{':' + spec if spec else ''}}}; "
                        "there are {groups[0]}, {groups[1]}, …, {file_number}, with new_only {batch}, with window "
                        "{window}, and % directives for dates"
                    )

    @property
    def _folder(self) -> str:
        return self.filebase[: self.filebase.rfind("/") + 1]

    @property
    def _name(self) -> str:
        return self.filebase[self.filebase.rfind("/") + 1 :]

    @property
    def base(self) -> str:
        """The folder part up to the first placeholder, "." where there is none."""
        fixed = self._folder
        if "{" in fixed:
            fixed = fixed[: fixed.index("{")].rpartition("/")[0] + "/" if "/" in fixed[: fixed.index("{")] else ""
        return fixed.rstrip("/") or ("/" if self.filebase.startswith("/") else ".")

    @property
    def root(self) -> str:
        """The folder above all files whatever the day and the group: books stand there."""
        fixed = (self.template or self.filebase)[: (self.template or self.filebase).rfind("/") + 1]
        fixed = BATCH.sub("%", fixed)  # Another one in each run, as a date may be.
        if "%" in fixed:
            fixed = fixed[: fixed.index("%")]
            fixed = fixed[: fixed.rfind("/") + 1]
        return FileNames(fixed, self.groups, "", windows=self.windows).base

    @property
    def checksums(self) -> str:
        """The path of the file with the checksums of all others."""
        return self.beside(f"md5checksum{self.mark}.md5")

    def beside(self, name: str) -> str:
        """The path of a file that there is once for all groups."""
        return name if self.base == "." else f"{self.base.rstrip('/')}/{name}"

    def marked(self, name: str) -> str:
        """The name of such a file as it is in a replay, which does not replace that of the export."""
        folder, slash, last = name.rpartition("/")
        stem, dot, suffix = last.rpartition(".")
        return f"{folder}{slash}{stem}{self.mark}{dot}{suffix}" if stem else f"{folder}{slash}{last}{self.mark}"

    def _index(self, field: str) -> int | None:
        """Which value of a group a placeholder stands for; None for another one."""
        if self.windows and field == "window":
            return 0
        index = _group_index(field)
        return None if index is None else index + self.windows

    def window_folder(self, window: str) -> str:
        """The folder of a window, with a slash at its end: up to the last part of the path that says the window."""
        folder = self._folder
        end = max((match.end() for match in WINDOW.finditer(folder)), default=0)
        return self._fill(folder[: folder.find("/", end) + 1], [window], 0)

    def name(self, group: tuple[str, ...], number: int) -> str:
        """The path of the group's file with this number (counted from `start`)."""
        in_name = [field for field, _ in _placeholders(self._name)]
        used = {self._index(field) for field in (*in_name, *(field for field, _ in _placeholders(self._folder)))}
        safe = [escaped_for_hive(value) if self.hive else safe_part(value) for value in group]
        if self.windows:
            safe[0] = group[0]  # It is made safe as it is written.
        stem = self._fill(self._name, safe, number)
        if not in_name:
            stem += f"{number:04d}"
        unused = [value for index, value in enumerate(group) if index not in used]
        if unused:
            escape = "-" if len(unused) > 1 else ""
            stem += "".join(f"-{safe_part(value, escape)}" for value in unused)
        if in_name and "file_number" not in in_name and number > self.start:
            stem += f"{number:04d}"
        return self._fill(self._folder, safe, number) + stem + self.mark + self.extension

    def ambiguous(self, several: bool) -> bool:
        """Whether two groups might have files of one name, as `{groups[0]}{groups[1]}` gives for ab, c and a, bc. `several`
        says that a group may have several files: then a number stands in their names.

        A group value holds no slash, so that one which has a part of the folder to itself is told by the name. The same
        is true of one that has the file's name to itself, and of those behind the number where the name has no placeholder.
        """
        fields = [[self._index(field) for field, _ in _placeholders(part)] for part in self._folder.split("/")]
        told = {found[0] for found in fields if len({*found}) == 1}
        named = [self._index(field) for field, _ in _placeholders(self._name)]
        used = {index for found in (*fields, named) for index in found}
        if not named:
            return not told >= used
        unknown = [index for index in range(self.groups) if index not in told]
        return bool(unknown) and (several or len(named) > 1 or unknown != named)

    def _fill(self, template: str, safe: list[str], number: int) -> str:
        out = []
        for text, field, spec in _parsed(template):
            out.append(text)
            if field is not None:
                index = self._index(field)
                if index == 0 and self.windows:
                    out.append(safe_part(of_window(safe[0], spec or "")))
                else:
                    out.append(format(number, spec or "") if index is None else safe[index])
        return "".join(out)


@dataclass(frozen=True)
class Naming:
    """How delivered files are called, None where the writer delivers none, and which stand beside those with records: a list
    of `checksums`, one where the export is `empty`, and those that say that the export is `done`: their kinds and paths, in
    the order in which they are delivered. `when` the export began is told there, in UTC."""

    names: FileNames | None = None
    checksums: bool = False
    empty: bool = False
    done: tuple[tuple[str, str], ...] = ()
    when: str = ""
    bundle: str = ""
    """The path of the archive that all files go into, where there is one."""


def expand_dates(filebase: str, now: datetime) -> str:
    """The template with its % directives replaced, once, by the local time at which the export starts."""
    return _strftime(now, WINDOW.sub(lambda match: match[0].replace("%", "%%"), filebase))


def _strftime(time: datetime, template: str) -> str:
    return time.strftime(template.encode("unicode_escape").decode("ascii")).encode("ascii").decode("unicode_escape")


@lru_cache(maxsize=64)
def _parsed(template: str) -> tuple[tuple[str, str | None, str | None], ...]:
    """The template's texts, each with the placeholder behind it. Every file asks for them."""
    return tuple((text, field, spec) for text, field, spec, _ in string.Formatter().parse(template))


def _placeholders(template: str) -> Iterator[tuple[str, str]]:
    try:
        parsed = _parsed(template)
    except ValueError as error:
        raise ConfigError(f"filebase: {template!r} is not a template: {error}; write {{{{ for a brace") from None
    for _, field, spec in parsed:
        if field is not None:
            yield field, spec or ""


@lru_cache(maxsize=64)
def _group_index(field: str) -> int | None:
    found = re.fullmatch(r"groups\[(\d+)\]", field)
    return int(found[1]) if found else None


def _try(field: str, spec: str, value: int) -> None:
    if re.search(r"\d{4}", spec):
        raise ConfigError(f"filebase: {{{field}:{spec}}}: a number of files has no need of so many digits")
    try:
        format(value, spec)
    except ValueError as error:
        raise ConfigError(f"filebase: {{{field}:{spec}}}: {error}") from None
