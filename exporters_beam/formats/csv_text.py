"""Text of CSV files in any encoding, read and written."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporters_beam.errors import ConfigError, SourceError

_UNDECODED = "exporters_beam.undecoded"


def _undecoded(error: UnicodeError) -> tuple[str, int]:
    """Stands in for bytes that are not of the encoding, so that the record which holds them can be found."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_UNDECODED, _undecoded)


_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip


def check_mark(beginning: bytes, encoding: str) -> None:
    """Raises SourceError where a file begins with the mark of another encoding than it is read in.

    The marks of UTF-16 are letters in other encodings; text of these has no NUL bytes.
    """
    for mark, family in _BYTE_ORDER_MARKS:
        if not beginning.startswith(mark):
            continue
        name = codecs.lookup(encoding).name
        if name.startswith(family):
            return
        if family == "utf-8" or name.startswith("utf-") or b"\0" in beginning:
            raise SourceError(
                f"the file begins with the mark of {family.upper()}, and is read as {encoding}; set encoding: {family}"
            )


def decoded(decoder: Any, raw: bytes) -> tuple[str, bool]:
    """The text of the bytes that were read last, and whether all of them are of the encoding."""
    state = decoder.getstate()
    try:
        return decoder.decode(raw, not raw), True
    except UnicodeDecodeError:
        decoder.setstate(state)
        decoder.errors = _UNDECODED
        text: str = decoder.decode(raw, not raw)
        decoder.errors = "strict"
        return text, False
    except UnicodeError as error:
        raise SourceError(f"not readable as text: {error}; give another encoding") from error


def undecodable(text: str) -> bool:
    return not text.isascii() and any("\udc00" <= char <= "\udcff" for char in text)


@dataclass(frozen=True)
class Encoding:
    """An encoding of which pieces can be joined: `codec` writes no mark of its own, `mark` stands at the beginning of files."""

    name: str
    codec: str
    mark: bytes = b""
    replace: bool = False

    @classmethod
    def of(cls, name: str, bom: bool, replace: bool) -> Encoding:
        """The encoding that options name. Raises ConfigError."""
        try:
            "".encode(name)
            known = codecs.lookup(name).name
        except (LookupError, UnicodeError):
            raise ConfigError(f"encoding: Python knows no encoding of text called {name!r}") from None
        codec = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}.get(known, known)
        marked = bom or codec != known
        if marked and not codec.startswith(("utf-8", "utf-16", "utf-32")):
            raise ConfigError(f"bom: {name} has no byte-order mark; leave it out, or set encoding: utf-8")
        made = cls(name, codec, "\ufeff".encode(codec) if marked else b"", replace)
        pieces = ('0,"\\u0041;', "\r\n", "a.B-\t|'" * 20, "\n")
        try:
            whole = b"".join(map(made.encode, pieces)) == made.encode("".join(pieces))
        except UnicodeError:
            whole = False
        if not whole:
            raise ConfigError(f"encoding: {name} cannot hold CSV; give one such as utf-8 or windows-1252")
        return made

    def encode(self, text: str) -> bytes:
        """The bytes of a text, nothing of it changed. Raises UnicodeEncodeError."""
        data = text.encode(self.codec)
        if not self._whole and data.decode(self.codec, "replace") != text:
            at = next((n for n, char in enumerate(text) if self.lacks(char)), 0)
            raise UnicodeEncodeError(self.codec, text, at, at + 1, "another character is written for it")
        return data

    def lacks(self, text: str) -> str:
        """The first character of a text that cannot be written, "" where all can."""
        try:
            if text.encode(self.codec).decode(self.codec) == text:
                return ""
        except UnicodeError:
            pass
        return next((char for char in text if self._lacks(char)), text[:1])

    def _lacks(self, char: str) -> bool:
        try:
            return char.encode(self.codec).decode(self.codec) != char
        except UnicodeError:
            return True

    def replaced(self, value: Any) -> Any:
        """A value with question marks for what cannot be written."""
        if not isinstance(value, str) or not self.lacks(value):
            return value
        return "".join("?" if self._lacks(char) else char for char in value)

    @cached_property
    def _whole(self) -> bool:
        """Whether it holds all of Unicode, but for halves of surrogate pairs."""
        return self.codec.startswith("utf-")
