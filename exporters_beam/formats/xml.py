"""XML: one element a record."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from numbers import Number
from typing import Any, BinaryIO, ClassVar
from uuid import UUID
from xml.parsers import expat

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.decimals import text_of
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.limits import MAX_RECORD_BYTES, cut, too_long
from exporters_beam.records import Record

PIECE = 256 * 1024
"""Bytes read at a time, and so about the size of a chunk."""

_DEEPEST = 400
"""How deep elements inside a record may nest: about what Python can carry to another process."""

_HOPELESS = 100_000
"""How deep elements may nest anywhere: the parser keeps those that are open, about 200 bytes for each."""

_MARK = "exporters-beam"
"""The instruction before the root of documents that the XML format writes."""

_CALLED = "name"
"""The instruction inside of an element that holds the name of the field, where the element has another one."""

_TEXT = "text alone"

_Found = list["Record | tuple[RecordError, Any]"]


@dataclass(frozen=True, kw_only=True)
class XmlDeserializer:
    """Read XML files: every element called `item_name` directly below the root is a record.

    Other elements there are passed over; a document that has some and no record is an error.

    An element that holds text alone is that text, exactly; one that holds elements is a mapping, in which a name that
    occurs more than once holds a list. Elements named in `lists` always give lists: `line` wherever it stands,
    `lines/line` or `/line` from the record on. Attributes become keys with an @ before the name, text beside elements or
    attributes the key `#text`. Prefixes stay part of names; comments and processing instructions are left out.

    Files that the format `xml` wrote say so before their root, and come back as they were: there the attribute `type` says
    what an element is (int, float, bool, null, str, list, dict, number), and names that XML does not allow are known again.
    In other documents `type` is an attribute like any other, unless `types: read` asks for it: for files of others who
    write the same types. With `types: ignore` it is one everywhere. Files of exporters 0.6.18 and of earlier versions are
    known by their first lines and a type in each element where their names are the usual ones, `root` and `item`; where
    they are not, `types: read` is needed.

    Declarations of entities are refused, external documents are never read. A record whose elements nest more than 400
    deep is an error; 100,000 deep, anywhere in the document, end its reading. Numbers in messages count records.

    Example:
        deserializer:
          name: xml
          options:
            item_name: product
            lists: [tag]
    """

    kind: ClassVar[str] = "deserializer"

    item_name: str = option("the name of the elements that are records", default="item", example="product")
    lists: tuple[str, ...] = option(
        "elements that are always lists, also where one stands alone", type="str_list", default=(), example=["tag"]
    )
    types: str = option(
        "whether attributes called type say what elements are: in files of the format xml, everywhere, or nowhere",
        default="auto", choices=("auto", "read", "ignore"),
    )  # fmt: skip
    max_record_bytes: int = option(
        "bytes that an element may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )

    def __post_init__(self) -> None:
        if not self.item_name:
            raise ConfigError("item_name: give the name of the elements that are records")
        for path in self.lists:
            for name in path.removeprefix("/").split("/"):
                if not all(map(_is_name, name.split(":"))):
                    raise ConfigError(f"lists: {path!r} names no element; give names of elements, or paths such as lines/line")

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[_Found, int, int]]:
        document = _Document(self.item_name, self.max_record_bytes, self.types, self.lists)
        last = False
        while not last:
            # The parser begins an unfinished token again: with as much again as there is, the work stays linear.
            piece = stream.read(max(PIECE, min(document.unfinished, self.max_record_bytes)))
            last = not piece
            if not document.size:
                if last:
                    return
                document.begin(piece)
            document.feed(piece, last)
            yield from document.taken(last)
        document.check()

    def decode(self, data: _Found) -> list[Record]:
        if {*map(type, data)} != {dict}:
            raise RecordError("a record cannot be decoded")
        return data  # type: ignore[return-value]

    def decode_each(self, data: _Found) -> Iterator[tuple[int, Record | Exception, Any]]:
        for number, found in enumerate(data):
            if isinstance(found, tuple):
                yield number, found[0], found[1]
            else:
                yield number, found, found


_FIRST_LINES = b'<?xml version="1.0" encoding="UTF-8"?>\n<root>\n<item>'
_TAGS = re.compile(rb"<[^/?!][^>]*>").findall
_TYPED = re.compile(rb'<[^ <>"=]+ type="(?:int|float|bool|null|str|list|dict|number)"(?: name="[^"]*")?>').fullmatch
_ZEROS = re.compile(rb'type="(?:int|float|number)"[^>]*>-?0[0-9]').search


def _written_before(beginning: bytes) -> bool:
    """Whether a document begins as the format and the old system wrote it: a record a line, and a type in each element."""
    if not beginning.startswith(_FIRST_LINES):
        return False
    _, _, *lines, _ = beginning.split(b"\n")
    records = b"".join(line.removeprefix(b"<item>").removesuffix(b"</item>") for line in lines if line != b"</root>")
    tags = _TAGS(records)
    return bool(tags) and all(map(_TYPED, tags)) and not _ZEROS(records)


_LISTED: Any = object()
"""Stands behind a value of a name that is always a list."""


class _Element:
    """An element that is not closed yet."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.children: list[tuple[str, Any]] = []
        self.text: list[str] = []


class _Document:
    """Turns what the parser reports into records, and cuts chunks where records end."""

    def __init__(self, item_name: str, limit: int, types: str, lists: tuple[str, ...]) -> None:
        self.size = self._begin = 0
        self._item, self._limit, self._types = item_name, limit, types
        self._own, self._typed = types == "read", types == "read"
        self._called: dict[int, str] = {}  # what fields are called whose open element has another name, by its depth
        self._listing = bool(lists)
        self._lists = frozenset(name for name in lists if "/" not in name)
        self._paths = frozenset(tuple(path.removeprefix("/").split("/")) for path in lists if "/" in path)
        self._depth, self._too_deep, self._taken, self._count, self._others = 0, 0, 0, 0, ""
        self._open: list[_Element] = []
        self._error: RecordError | None = None
        self._records: _Found = []
        self._chunks: list[tuple[_Found, int, int]] = []
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.ProcessingInstructionHandler = self._instruction
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._skipped

    def begin(self, piece: bytes) -> None:
        """Looks at the first piece: documents that were written before there was an instruction do not say whose they are."""
        if self._types == "auto" and _written_before(piece):
            self._own = self._typed = True

    def feed(self, piece: bytes, last: bool) -> None:
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            at = f"line {error.lineno}, column {error.offset + 1}"
            reason = expat.ErrorString(error.code)
            raise SourceError(f"record {self._count + 1}: not well-formed XML at {at}: {reason}") from None
        except (LookupError, UnicodeError, ValueError) as error:
            raise SourceError(f"record {self._count + 1}: the encoding of the XML cannot be read: {error}") from None
        self.size += len(piece)
        if self.unfinished > self._limit or (self._open and self.size - self._begin > self._limit):
            raise self._too_long()

    @property
    def unfinished(self) -> int:
        """Bytes from the last token on, which the parser still holds: a tag or comment may have any length."""
        return self.size - self._parser.CurrentByteIndex if self.size else 0

    def _too_long(self) -> SourceError:
        return SourceError(f"record {self._count + 1}: {too_long('element', 'bytes', self._limit)}")

    def taken(self, last: bool) -> Iterator[tuple[_Found, int, int]]:
        """The chunks that are complete; at the end also what is left."""
        yield from self._chunks
        self._chunks = []
        if last and self._records:
            yield self._records, len(self._records), self.size - self._taken

    def check(self) -> None:
        if not self._count and self._others:
            raise SourceError(f"no element is called {self._item!r} directly below the root, but {self._others}; set item_name")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _HOPELESS:
            raise SourceError(f"record {self._count + 1}: elements are nested more than {_HOPELESS:,} deep")
        if len(self._open) > _DEEPEST:
            self._too_deep += 1
            self._error = self._error or RecordError(f"elements are nested more than {_DEEPEST} deep")
        elif self._open:
            self._open.append(_Element(name, attributes))
            if name == "key" and self._own and "name" in attributes:
                self._called[len(self._open)] = attributes.pop("name")
        elif self._depth == 2 and name == self._item:
            self._begin = self._parser.CurrentByteIndex
            self._open.append(_Element(name, attributes))
        elif self._depth == 2:
            self._others = repr(name)

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)
        elif not self._others and self._depth == 1 and not text.isspace():
            self._others = _TEXT

    def _instruction(self, target: str, data: str) -> None:
        """The format says with one that the document is its own, and with others what fields are called."""
        if target == _MARK and not self._depth:
            self._own = True
            self._typed = self._types != "ignore"
        elif target == _CALLED and self._own and self._open and not self._too_deep:
            try:
                name = json.loads(data)
            except ValueError:
                name = None
            if not isinstance(name, str):
                self._error = self._error or RecordError(f"the instruction {_CALLED} holds no name: {cut(data)}")
            else:
                self._called[len(self._open)] = name

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._too_deep:
            self._too_deep -= 1
            return
        if not self._open:
            return
        if self._called:
            name = self._called.pop(len(self._open), name)
        element = self._open.pop()
        if self._open:
            try:
                value = _value(element) if self._typed else _mapping(element)
            except RecordError as error:
                self._error, value = self._error or error, "".join(element.text)
            self._open[-1].children.append((name, value))
            if self._listing and self._is_list(element.name) and type(value) is not list:
                self._open[-1].children.append((name, _LISTED))
            return
        end = self._parser.CurrentByteIndex
        if end - self._begin > self._limit:
            raise self._too_long()
        record: Any = _mapping(element)
        if isinstance(record, str) and not record.strip():
            record = {}
        if type(record) is not dict:
            self._error = self._error or RecordError(f"the element holds text and no elements: {cut(record)}")
        self._records.append((self._error, record) if self._error else record)
        self._error = None
        self._count += 1
        if end - self._taken >= PIECE:
            self._chunks.append((self._records, len(self._records), end - self._taken))
            self._records, self._taken = [], end

    def _is_list(self, name: str) -> bool:
        """Whether the element of this name that has just ended is to be a list."""
        return name in self._lists or (*(element.name for element in self._open[1:]), name) in self._paths

    def _skipped(self, name: str, _: object) -> None:
        raise SourceError(f"record {self._count + 1}: the entity {cut(name)!r} is not declared in the document")

    def _entity(self, name: str, *_: object) -> None:
        raise SourceError(f"the document declares the entity {cut(name)!r}, which is refused; replace it by its text")


def _value(element: _Element) -> Any:
    """What an element below a record stands for. Raises RecordError where its text is not of its type.

    A type counts only on elements that look as if the XML format had written them.
    """
    kind = element.attributes.get("type")
    if kind not in _TYPES or len(element.attributes) > 1:
        return _mapping(element)
    text = "".join(element.text)
    if kind == "list" or kind == "dict":
        if text and not text.isspace():
            return _mapping(element)
        return (
            [value for _, value in element.children if value is not _LISTED] if kind == "list" else _grouped(element.children)
        )
    if element.children or (kind == "null" and text):
        return _mapping(element)
    try:
        return _TYPES[kind](text)
    except (ValueError, KeyError, InvalidOperation):
        raise RecordError(f"the text of the element {element.name!r} is not of the type {kind}: {cut(text)}") from None


def _mapping(element: _Element) -> Any:
    """An element without a type, or a record: a mapping, or its text if it has neither members nor attributes."""
    own = [(f"@{name}", value) for name, value in element.attributes.items()]
    text = "".join(element.text)
    if not own and not element.children:
        return text
    if text and not text.isspace():
        return _grouped([*own, *element.children, ("#text", text)])
    return _grouped(own + element.children)


def _grouped(members: list[tuple[str, object]]) -> dict[str, Any]:
    """A mapping of the members; the values of a name that occurs more than once become one list."""
    found = dict(members)
    if len(found) < len(members):
        several: dict[str, list[Any]] = {name: [] for name in found}
        for name, value in members:
            several[name].append(value)
        return {
            name: [value for value in values if value is not _LISTED] if len(values) > 1 else values[0]
            for name, values in several.items()
        }
    return found


def _integer(text: str) -> int:
    if "_" in text:
        raise ValueError
    return int(text)


def _float(text: str) -> float:
    if "_" in text:
        raise ValueError
    return float(text)


_TYPES: dict[str, Any] = {
    "int": _integer,
    "float": _float,
    "bool": lambda text: {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()],
    "null": lambda text: None,
    "str": str,
    "number": Decimal,
    "list": None,
    "dict": None,
}


@dataclass(frozen=True, kw_only=True)
class XmlFormat:
    """Write XML: one element a record, on one line, below a root element.

    Fields become elements in the order of the record, with those in `fields_order` first; mappings and lists nest, the
    members of lists are called `item`. Each element says its type (int, float, bool, null, str, list, dict, number)
    unless `attr_type` is false: then null, empty text and empty mappings and lists look alike, and all is text. Booleans
    are `true` and `false`, dates and times ISO 8601 text, bytes base64 text.

    Field names that XML does not allow are changed: `a b` becomes `a_b`, `1` becomes `n1`, and an instruction at the end of
    the element holds the name that was (`<?name "a b"?>`); any other name stands in the attribute `name` of an element called
    `key`. Before the root the instruction `<?exporters-beam?>` tells the deserializer `xml` to read types and names; others
    pass over it. So what is read back is what was written. Characters that XML does not allow, which are most control
    characters, fail the record, in names and in values.

    Example:
        exporter_options:
          formatter:
            name: xml
            options:
              root_name: products
              item_name: product
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "xml"
    separator: ClassVar[bytes] = b"\n"

    root_name: str = option("the element around all records of a file", default="root")
    item_name: str = option("the element around each record", default="item")
    attr_type: bool = option("whether elements say their type", type="bool", default=True)
    fields_order: tuple[str, ...] = option(
        "fields that come first, in this order", type="str_list", default=(), example=["id", "name"]
    )
    xml_header: str = option('the first line; "" leaves it out', default='<?xml version="1.0" encoding="UTF-8"?>')

    def __post_init__(self) -> None:
        for name, value in (("root_name", self.root_name), ("item_name", self.item_name)):
            if not _is_name(value):
                raise ConfigError(f"{name}: {value!r} cannot be the name of an XML element; use letters and digits")
        encoding = re.search(r"encoding\s*=\s*[\"']([^\"']*)", self.xml_header)
        if encoding and encoding[1].upper() not in ("UTF-8", "UTF8"):
            raise ConfigError(f"xml_header: files are written in UTF-8, not in {encoding[1]}; name that encoding or none")
        try:
            expat.ParserCreate().Parse(f"{self.xml_header}\n<r/>".encode(), True)
        except (expat.ExpatError, UnicodeEncodeError):
            raise ConfigError(f"xml_header: {cut(self.xml_header)!r} cannot stand before an XML element") from None

    @property
    def header(self) -> bytes:
        first = f"{self.xml_header}\n" if self.xml_header else ""
        return f"{first}<?{_MARK} types?>\n<{self.root_name}>\n".encode()

    @property
    def footer(self) -> bytes:
        return f"\n</{self.root_name}>".encode()

    @property
    def empty(self) -> bytes:
        """A file without records."""
        return self.header + self.footer.lstrip()

    @property
    def reads_back(self) -> XmlDeserializer:
        """What reads the files again."""
        return XmlDeserializer(item_name=self.item_name)

    def format(self, record: Record) -> bytes:
        if not isinstance(record, Mapping):
            raise RecordError(f"XML records are mappings, not {cut(record)}")
        if self.fields_order:
            first = {name: record[name] for name in self.fields_order if name in record}
            record = {**first, **{name: value for name, value in record.items() if name not in first}}
        out = [f"<{self.item_name}>"]
        try:
            self._members(record, out)
        except RecursionError:
            raise RecordError("the record cannot be written: values are nested too deep or in a circle") from None
        except ValueError as error:
            raise RecordError(f"the record cannot be written: {error}") from None
        out.append(f"</{self.item_name}>")
        text = "".join(out)
        bad = _FORBIDDEN(text)
        if bad:
            near = cut(text[max(0, bad.start() - 40) : bad.start()])
            raise RecordError(f"XML cannot hold the character U+{ord(bad[0]):04X}, which follows {near}; remove it first")
        return text.encode()

    def _members(self, mapping: Mapping[Any, object], out: list[str]) -> None:
        for key, value in mapping.items():
            text = key if isinstance(key, str) else _key(key)
            if text is not key and text in mapping:
                raise RecordError(f"two fields would both be called {text}: a string and {kind_of(key)}; rename one")
            name, attribute, called = _named(text)
            self._element(name, attribute, value, out)
            if called:
                out[-1] = f"{out[-1].removesuffix(f'</{name}>')}{called}</{name}>"

    def _element(self, name: str, attribute: str, value: Any, out: list[str]) -> None:
        kind = type(value)
        if kind is str:
            shown, text = "str", _escaped(value)
        elif kind is int or kind is float:
            shown, text = kind.__name__, repr(value)
        elif isinstance(value, (Mapping, list, tuple)):
            shown = "dict" if isinstance(value, Mapping) else "list"
            out.append(f'<{name} type="{shown}"{attribute}>' if self.attr_type else f"<{name}{attribute}>")
            if isinstance(value, Mapping):
                self._members(value, out)
            else:
                for member in value:
                    self._element("item", "", member, out)
            out.append(f"</{name}>")
            return
        else:
            shown, text = _scalar(value)
        if self.attr_type:
            out.append(f'<{name} type="{shown}"{attribute}>{text}</{name}>')
        else:
            out.append(f"<{name}{attribute}>{text}</{name}>")


def _scalar(value: object) -> tuple[str, str]:
    """Type and text of a value of a less usual type."""
    if value is None:
        return "null", ""
    if isinstance(value, bool):
        return "bool", "true" if value else "false"
    if isinstance(value, Enum):
        return _scalar(value.value)
    if isinstance(value, str):
        return "str", _escaped(str.__str__(value))
    if isinstance(value, int):
        return "int", int.__repr__(value)
    if isinstance(value, float):
        return "float", float.__repr__(value)
    if isinstance(value, (datetime, date, time)):
        return "str", value.isoformat()
    if isinstance(value, UUID):
        return "str", str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "str", base64.b64encode(value).decode()
    if isinstance(value, Number):
        return "number", _escaped(text_of(value))
    raise RecordError(f"XML cannot hold the {type(value).__name__} {cut(value)}; convert it first")


def _key(key: Any) -> str:
    """A key that is not text as text, like keys in JSON."""
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return _scalar(key)[1]


_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").search
_NOT_IN_NAMES = re.compile("[\x00-,/:-@\\[-^`{-\x7f]").search


def _escaped(text: str) -> str:
    """Text for an element. Parsers read a bare carriage return as a line feed, so it is written as a reference."""
    if text.isalnum():
        return text
    for character, reference in _REFERENCES:
        if character in text:
            text = text.replace(character, reference)
    return text


_REFERENCES = (
    ("&", "&amp;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ('"', "&quot;"),
    ("'", "&apos;"),
    ("\r", "&#13;"),
)


@lru_cache(maxsize=4096)
def _named(key: str) -> tuple[str, str, str]:
    """The element's name for a field; where that is not a name in XML, also an attribute with the field's name, or an
    instruction with it.

    >>> _named("a b"), _named("$x")
    (('a_b', '', '<?name "a b"?>'), ('key', ' name="$x"', ''))
    """
    if _is_name(key):
        return key, "", ""
    for name in (f"n{key}" if key.isdecimal() else "", key.replace(" ", "_")):
        if _is_name(name):
            return name, "", f"<?{_CALLED} {json.dumps(key, ensure_ascii=False)}?>"
    value = _escaped(key).replace("\n", "&#10;").replace("\t", "&#9;")
    return "key", f' name="{value}"', ""


def _is_name(name: str) -> bool:
    """Whether it names an element, and without a colon, which would mean a namespace. The parser is the judge."""
    if not name or _NOT_IN_NAMES(name) or _FORBIDDEN(name):
        return False
    try:
        expat.ParserCreate().Parse(f"<{name}/>".encode(), True)
    except expat.ExpatError:
        return False
    return True
