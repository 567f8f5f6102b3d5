"""zip archives."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, cast

from exporters_beam.compressions import Codec, Writable
from exporters_beam.compressions.streams import OUTPUT, head, ratio_option, sniff, stream, wrong
from exporters_beam.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Zip:
    """Read the members of a zip archive one behind the other, as one stream, in the order of the archive's directory.

    Checksums are verified. Encrypted members and bytes before or behind the archive are errors. An archive that does
    not come from a file system is copied to a temporary file first.

    Example:
        decompressor:
          name: zip
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()

    def open(self, raw: BinaryIO) -> BinaryIO:
        sizes: list[int] = []
        return stream(_pieces(raw, sizes), raw, lambda: sum(sizes), self.max_ratio)


def _pieces(raw: BinaryIO, sizes: list[int]) -> Iterator[bytes]:
    """What is in the members. `sizes` gets the size of the archive: members may share the same bytes of it."""
    import zipfile
    import zlib

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
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
            sizes.append(_check_bounds(archive, file))
            for member in archive.infolist():
                if member.flag_bits & 1:
                    raise SourceError(f"the zip member {member.filename!r} is encrypted; unpack it before the export")
                with archive.open(member) as opened:
                    while data := opened.read(OUTPUT):
                        yield data
        except (zipfile.BadZipFile, EOFError) as error:
            raise SourceError(f"the zip archive is truncated or damaged: {error}") from error
        except (zlib.error, ValueError) as error:
            raise SourceError(f"the zip archive is damaged: {error}") from error
        except NotImplementedError as error:
            raise SourceError(f"the zip archive cannot be read: {error}; pack it again with deflate") from error


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
