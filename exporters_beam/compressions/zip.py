"""zip archives."""

from __future__ import annotations

import shutil
import stat as modes
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.compressions import Codec, Writable
from exporters_beam.compressions.archives import Budget, Member, members_of
from exporters_beam.compressions.streams import (
    OUTPUT,
    check_members,
    head,
    member_option,
    ratio_option,
    sniff,
    stream,
    wrong,
)
from exporters_beam.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Zip:
    """Read the members of zip archives, each as a file of its own, in the order of the archive's directory.

    What archivers add (folders, `__MACOSX/`, `.DS_Store`, `Thumbs.db`, empty members) is passed over, and so are other
    members whose names, or folders, begin with a dot or an underscore, unless `members` chooses them; links and devices
    are, with a warning. A member that is compressed itself (`a.csv.gz`) is decompressed; an archive inside the archive is
    an error, as are two members of one name.

    Checksums are verified. Encrypted members and bytes before or behind the archive are errors. An archive that does
    not come from a file system is copied to a temporary file first.

    Example:
        decompressor:
          name: zip
          options: {members: '\\.csv$'}
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()
    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        """What is in the members, one behind the other."""
        archive = members_of(self.each(raw), self.members)
        streams = (part.stream for part in archive.members() if isinstance(part, Member))
        return stream((data for part in streams for data in iter(partial(part.read, OUTPUT), b"")), raw)

    def each(self, raw: BinaryIO) -> Iterator[tuple[str, str, Callable[[], Iterator[bytes]], Budget]]:
        """(name, what it is if it is not a file, its bytes, the budget of all) of each member."""
        import zipfile

        first, raw = head(raw)
        if not first:
            return
        if sniff(first) != "zip":
            raise wrong("zip", first)
        with ExitStack() as stack:
            file = raw
            if not getattr(raw, "seekable", bool)():
                file = cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile()))
                shutil.copyfileobj(raw, file, OUTPUT)
            with _told():
                archive = stack.enter_context(zipfile.ZipFile(file))
                size = _check_bounds(archive, file)
            budget = Budget(self.max_ratio, lambda: size)  # members may share the same bytes
            for member in archive.infolist():
                if not member.is_dir() and member.file_size:
                    yield member.filename, _kind(member), partial(_data, archive, member), budget


def _kind(member: Any) -> str:
    """What a member is that is not a file; "" for files."""
    mode = modes.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
    return {0: "", modes.S_IFREG: "", modes.S_IFLNK: "a link"}.get(mode, "a pipe, a socket or a device")


def _data(archive: Any, member: Any) -> Iterator[bytes]:
    if member.flag_bits & 1:
        raise SourceError("it is encrypted; unpack the archive before the export")
    with _told(), archive.open(member) as source:
        while data := source.read(OUTPUT):
            yield data


@contextmanager
def _told() -> Iterator[None]:
    import zipfile
    import zlib

    try:
        yield
    except (zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"the zip archive is truncated or damaged: {error}") from error
    except NotImplementedError as error:
        raise SourceError(f"the zip archive cannot be read: {error}; pack it again with deflate") from error
    except (zlib.error, ValueError) as error:
        raise SourceError(f"the zip archive is damaged: {error}") from error


def _check_bounds(archive: object, file: BinaryIO) -> int:
    """Archives joined to one file would be read as the last one alone, so the archive must be the whole file.

    Gives its size.
    """
    import zipfile

    assert isinstance(archive, zipfile.ZipFile)
    offsets = [member.header_offset for member in archive.infolist()]
    end = 22 + len(archive.comment)
    size = file.seek(0, 2)
    file.seek(max(0, size - end))
    if file.read(4) != b"PK\x05\x06":
        raise SourceError("something follows the zip archive; it may be truncated, or joined to another file")
    if min(offsets, default=0) != 0:
        raise SourceError("the zip archive does not begin where the file does; archives cannot be joined to one file")
    return size


@dataclass(frozen=True)
class ZipCodec(Codec):
    """Archives of one deflated member, dated 1980-01-01; the usual level is 6."""

    name: ClassVar[str] = "zip"
    suffix: ClassVar[str] = ".zip"
    joins: ClassVar[bool] = False
    levels: ClassVar[range] = range(1, 10)

    @contextmanager
    def archive(self, out: BinaryIO, member: str) -> Iterator[Writable]:
        import zipfile

        with (
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=self.level or 6) as archive,
            archive.open(member, "w", force_zip64=True) as opened,
        ):
            yield opened
