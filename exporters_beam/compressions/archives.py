"""Archives, zip and tar: each member is a file of its own.

A tar archive is found by its content behind any compression, so that none is ever taken for lines. What archivers add (folders,
`__MACOSX/`, `._name`, `.DS_Store`, `Thumbs.db`, empty members) is passed over, as are other hidden names.
"""

from __future__ import annotations

import importlib
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple, cast

from exporters_beam.components.protocols import Decompressor
from exporters_beam.components.traits import DecompressorTraits
from exporters_beam.compressions.streams import (
    HEAD,
    INPUT,
    OUTPUT,
    SINGLE,
    check_ratio,
    found_in,
    head,
    peeked,
    refuse_contradiction,
    stream,
)
from exporters_beam.errors import SourceError, shown
from exporters_beam.files import Hidden, is_hidden, is_junk
from exporters_beam.records import Warned

BLOCK = tarfile.BLOCKSIZE

HEADER_BYTES = 1 << 20
"""What the headers of one member of a tar archive may have, long names and all."""

_TAR_NAMES = (".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Member(NamedTuple):
    """A file in an archive. Its stream is read before the next member is asked for."""

    name: str
    stream: BinaryIO


class Archive(NamedTuple):
    """A file that holds others. `members` gives them once, in the order of the archive."""

    members: Callable[[], Iterator[Member | Warned]]


class Budget:
    """Counts what all members decompress to. Raises SourceError where it is too much for what was `taken` of the file."""

    def __init__(self, max_ratio: int, taken: Callable[[], int]) -> None:
        self._max_ratio, self._taken, self._made = max_ratio, taken, 0

    def counted(self, pieces: Iterator[bytes]) -> BinaryIO:
        """A stream of the pieces."""
        return stream(self._counted(pieces), io.BytesIO())

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for data in pieces:
            self._made += len(data)
            check_ratio(self._made, self._taken(), self._max_ratio)
            yield data


class Opening:
    """How a decompressor opens files. What it tells of itself is asked once, for there may be many small ones."""

    def __init__(self, decompressor: Decompressor) -> None:
        self._decompressor, self._told = decompressor, DecompressorTraits.of(decompressor)
        self._chosen, self._each = decompressor, self._told.each

    def __call__(self, raw: BinaryIO) -> BinaryIO | Archive:
        """The decompressed bytes of a file, or the archive that it is. Raises SourceError."""
        name, told = str(getattr(raw, "name", "")), self._told
        chosen, raw = (self._decompressor, raw) if told.choose is None else told.choose(raw)
        if chosen is not self._chosen:
            self._chosen, self._each = chosen, DecompressorTraits.of(chosen).each
        if self._each is not None:
            return members_of(self._each(raw), told.members)
        source = chosen.open(raw)
        first, source = _begin(source)
        named = told.choose is not None and name.lower().endswith(_TAR_NAMES)
        if is_tar(first) or (named and len(first) == BLOCK and not first.strip(b"\0")):
            return Archive(lambda: _chosen(_tar_members(source, told.max_ratio), told.members))
        if first and named:
            source.close()
            raise SourceError("the name says that it is a tar archive but the content is none; rename it, or unpack it")
        return source


def members_of(found: Iterator[Any], wanted: str | None) -> Archive:
    """The archive with those of the members found that are wanted, by a pattern."""
    return Archive(lambda: _chosen(found, wanted))


def splits(decompressor: Decompressor, raw: BinaryIO) -> bool:
    """Whether a file holds plain bytes that can be entered anywhere, and is not an archive."""
    detect = DecompressorTraits.of(decompressor).detect
    chosen = decompressor if detect is None else detect(raw)
    return DecompressorTraits.of(chosen).splittable and not is_tar(peeked(raw, BLOCK))


def is_tar(first: bytes) -> bool:
    """Whether the first 512 bytes are the header of a tar archive: its checksum tells, also in archives without a magic.

    >>> is_tar(tarfile.TarInfo("a.jl").tobuf()), is_tar(b" " * 512), is_tar(bytes(512))
    (True, False, False)
    """
    if len(first) < BLOCK or not first[148:156].strip(b" \0").isdigit():
        return False
    try:
        tarfile.TarInfo.frombuf(first[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def spooled(source: BinaryIO) -> BinaryIO:
    """A member as a file that can be entered anywhere, for formats that are read from their end."""
    file = cast(BinaryIO, tempfile.TemporaryFile())
    try:
        while data := source.read(OUTPUT):
            file.write(data)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _begin(source: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first bytes of a stream, enough to tell a tar archive, and the stream, which still begins with them."""
    first = bytes(source.peek(HEAD)[:HEAD]) if hasattr(source, "peek") else b""
    return (first, source) if len(first) == HEAD else head(source)


def _chosen(found: Iterator[tuple[str, str, Callable[[], Iterator[bytes]], Budget]], pattern: str | None) -> Iterator[Any]:
    """Those of an archive's members that are read: (name, what it is if it is not a file, its bytes, the budget) of each."""
    wanted = re.compile(pattern or "").search
    hidden, seen, some = Hidden("the decompressor's option members chooses it"), set[str](), False
    with closing(cast(Any, found)):
        for name, kind, pieces, budget in found:
            path = name.replace("\\", "/").removeprefix("./")
            if is_junk(path) or not wanted(path):
                continue
            if pattern is None and is_hidden(path):
                hidden.add(path, path)
                continue
            if kind:
                yield Warned(f"{shown(path)}: passed over, since it is {kind}")
                continue
            if path in seen:
                raise SourceError(f"two members are called {shown(path)!r}, and one may have been meant to replace the other; "
                                  "unpack the archive, or pack it again")  # fmt: skip
            seen.add(path)
            some = True
            member = budget.counted(pieces())
            try:
                with member, _unpacked(path, member, budget) as source:
                    yield Member(path, source)
            except SourceError as error:
                raise SourceError(f"{shown(path)}: {error}") from error
    yield from hidden.warnings()
    if not some:
        why = f": none has {pattern!r} in its name" if pattern else ""
        yield Warned(f"no member of the archive is read{why}")


def _unpacked(name: str, member: BinaryIO, budget: Budget) -> BinaryIO:
    """A member as it is; decompressed where it was compressed before it was packed. Raises SourceError for archives."""
    first, member = _begin(member)
    found = found_in(first, name)
    refuse_contradiction(found, first, name)
    if found not in ("", "zip"):
        module, _, kind = SINGLE[found].partition(":")
        inner = getattr(importlib.import_module(module), kind)(max_ratio=0)
        member = budget.counted(_reads(inner.open(member)))
        first, member = _begin(member)
    if found == "zip" or is_tar(first):
        raise SourceError("it is an archive inside an archive; unpack the outer one before the export")
    return member


def _reads(source: BinaryIO) -> Iterator[bytes]:
    with source:
        while data := source.read(INPUT):
            yield data


# tar


class _Forward:
    """A stream that is read once, from the beginning to the end, as the headers of tar archives are read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self.at = source, 0

    def read(self, size: int) -> bytes:
        if size > HEADER_BYTES:
            raise SourceError(f"the tar archive has a header of {size:,} bytes; more than {HEADER_BYTES:,} are refused")
        return self.data(size)

    def data(self, size: int) -> bytes:
        found = self._source.read(size)
        self.at += len(found)
        return found

    def tell(self) -> int:
        return self.at

    def skip_to(self, place: int) -> None:
        while self.at < place:
            if not self.data(min(OUTPUT, place - self.at)):
                raise SourceError("the tar archive is truncated: it ends in the middle of a member")

    def read_the_rest(self) -> None:
        """Raises SourceError where something stands behind the end of the archive; so checksums behind it are looked at."""
        while data := self.data(OUTPUT):
            if data.strip(b"\0"):
                raise SourceError("something follows the end of the tar archive; archives cannot be joined to one file")


def _tar_members(source: BinaryIO, max_ratio: int) -> Iterator[tuple[str, str, Callable[[], Iterator[bytes]], Budget]]:
    forward = _Forward(source)
    budget = Budget(max_ratio, lambda: forward.at)
    archive: Any = tarfile.TarFile(fileobj=io.BytesIO(bytes(2 * BLOCK)))  # an empty one, for what it knows of headers
    archive.fileobj, archive.offset = forward, 0
    while (info := _tar_header(archive, forward)) is not None:
        if info.isdir() or (info.isreg() and not info.size):
            continue
        if info.type == b"M":
            raise SourceError(f"{shown(info.name)}: it goes on from another volume of the archive; join the volumes first")
        if info.issparse():
            raise SourceError(f"{shown(info.name)}: it is a sparse file; unpack the archive before the export")
        kinds = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link to another member", tarfile.FIFOTYPE: "a pipe",
                 tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device"}  # fmt: skip
        kind = "" if info.isreg() else kinds.get(info.type, "of a kind that nobody knows")
        yield info.name, kind, lambda size=info.size: _tar_data(forward, size), budget  # type: ignore[misc]
    forward.read_the_rest()


def _tar_header(archive: Any, forward: _Forward) -> tarfile.TarInfo | None:
    """The next member of an archive; None at its end. `tarfile` itself takes what is cut or damaged for the end."""
    forward.skip_to(archive.offset)
    try:
        return tarfile.TarInfo.fromtarfile(archive)
    except tarfile.HeaderError as error:
        kind = type(error).__name__
        if kind == "EOFHeaderError":
            return None
        if kind in ("EmptyHeaderError", "TruncatedHeaderError"):
            raise SourceError("the tar archive is truncated: the blocks that mark its end are missing") from error
        raise SourceError(f"the tar archive is damaged at byte {forward.at:,}: {error}") from error
    except (ValueError, IndexError, OverflowError) as error:
        raise SourceError(f"the tar archive is damaged at byte {forward.at:,}: {error}") from error


def _tar_data(forward: _Forward, size: int) -> Iterator[bytes]:
    while size:
        data = forward.data(min(OUTPUT, size))
        if not data:
            raise SourceError("the tar archive is truncated: it ends in the middle of a member")
        size -= len(data)
        yield data
