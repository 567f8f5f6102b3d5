"""XML: what is written is read back as it was, other documents are read without loss, and no entity is followed."""

from __future__ import annotations

import gzip
import io
import json
import math
import pickle
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.xml import XmlDeserializer, XmlFormat

from examples import at_least

CASES = Path(__file__).parents[1] / "oracle" / "cases"


def file_of(records: list[Any], **options: Any) -> bytes:
    form = XmlFormat(**options)
    return form.header + form.separator.join(map(form.format, records)) + form.footer


def read(data: bytes, **options: Any) -> list[Any]:
    """Every record, or the RecordError in its place."""
    deserializer = XmlDeserializer(**options)
    found: list[Any] = []
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        each = list(deserializer.decode_each(pickle.loads(pickle.dumps(chunk))))
        assert [number for number, _, _ in each] == list(range(count))
        records = [record for _, record, _ in each]
        if not any(isinstance(record, Exception) for record in records):
            assert deserializer.decode(chunk) == records
        found += records
    return found


def members(text: str, before: str = "", **options: Any) -> Any:
    """The one record of a document whose record holds this."""
    (record,) = read(f"{before}<r><item>{text}</item></r>".encode(), **options)
    return record


def inner(record: dict[Any, Any], **options: Any) -> str:
    """What stands inside the record's element."""
    text = XmlFormat(**options).format(record).decode()
    assert text.startswith("<item>")
    assert text.endswith("</item>")
    return text.removeprefix("<item>").removesuffix("</item>")


# Writing


@pytest.mark.parametrize(
    ("value", "element"),
    [
        (1, '<a type="int">1</a>'),
        (2**70, f'<a type="int">{2**70}</a>'),
        (1.5, '<a type="float">1.5</a>'),
        (1e-7, '<a type="float">1e-07</a>'),
        (math.nan, '<a type="float">nan</a>'),
        (True, '<a type="bool">true</a>'),
        (None, '<a type="null"></a>'),
        ("x", '<a type="str">x</a>'),
        ("", '<a type="str"></a>'),
        ("<&>\"'", '<a type="str">&lt;&amp;&gt;&quot;&apos;</a>'),
        ("a\r\nb", '<a type="str">a&#13;\nb</a>'),
        ([1, [2], {}], '<a type="list"><item type="int">1</item><item type="list"><item type="int">2</item></item>'
                       '<item type="dict"></item></a>'),
        ((False,), '<a type="list"><item type="bool">false</item></a>'),
        ({"k": "v"}, '<a type="dict"><k type="str">v</k></a>'),
        (datetime(2016, 1, 2), '<a type="str">2016-01-02T00:00:00</a>'),
        (date(2016, 1, 2), '<a type="str">2016-01-02</a>'),
        (time(3, 4), '<a type="str">03:04:00</a>'),
        (Decimal("1.50"), '<a type="number">1.50</a>'),
        (1j, '<a type="number">1j</a>'),
        (b"\0", '<a type="str">AA==</a>'),
        (uuid.UUID(int=1), '<a type="str">00000000-0000-0000-0000-000000000001</a>'),
        (Enum("Color", {"RED": "r"}).RED, '<a type="str">r</a>'),  # type: ignore[attr-defined]
    ],
)  # fmt: skip
def test_values(value: Any, element: str) -> None:
    assert inner({"a": value}) == element
    ElementTree.fromstring(file_of([{"a": value}]))


@pytest.mark.parametrize(
    ("key", "element"),
    [
        ("a", "<a>x</a>"),
        ("_key", "<_key>x</_key>"),
        ("a-b.c_1", "<a-b.c_1>x</a-b.c_1>"),
        ("a b", '<a_b>x<?name "a b"?></a_b>'),
        ("1", '<n1>x<?name "1"?></n1>'),
        (12, '<n12>x<?name "12"?></n12>'),
        (None, "<null>x</null>"),
        (True, "<true>x</true>"),
        (1.5, '<key name="1.5">x</key>'),
        ("1x", '<key name="1x">x</key>'),
        ("$x", '<key name="$x">x</key>'),
        ("a:b", '<key name="a:b">x</key>'),
        ("", '<key name="">x</key>'),
        (" ", '<_>x<?name " "?></_>'),
        ('a b="c"', '<key name="a b=&quot;c&quot;">x</key>'),
        ("a>x</a><b", '<key name="a&gt;x&lt;/a&gt;&lt;b">x</key>'),
        ("a\n\tb", '<key name="a&#10;&#9;b">x</key>'),
        ("größe", "<größe>x</größe>"),
        ("名前", "<名前>x</名前>"),
        ("😀", '<key name="😀">x</key>'),
    ],
)
def test_field_names(key: Any, element: str) -> None:
    assert inner({key: "x"}, attr_type=False) == element
    ElementTree.fromstring(file_of([{key: "x"}]))


def test_options_and_the_frame_of_a_file() -> None:
    form = XmlFormat()
    assert (form.extension, form.separator) == ("xml", b"\n")
    assert (form.header, form.footer) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<?exporters-beam types?>\n<root>\n',
        b"\n</root>",
    )
    form = XmlFormat(root_name="products", item_name="product", xml_header="", attr_type=False, fields_order=("b", "x", "a"))
    record = {"c": [1, {"d": None}], "a": 1, "b": 2}
    assert form.header + form.format(record) + form.footer == (
        b"<?exporters-beam types?>\n<products>\n"
        b"<product><b>2</b><a>1</a><c><item>1</item><item><d></d></item></c></product>\n</products>"
    )
    assert list(record) == ["c", "a", "b"]
    assert pickle.loads(pickle.dumps(form)).format(record) == form.format(record)
    assert build(XmlFormat, {"fields_order": ["a", "b"]}).fields_order == ("a", "b")
    for header in ("", '<?xml version="1.0"?>', "<!DOCTYPE root>", "<?xml-stylesheet href='a.css'?>\n<!-- by us -->"):
        assert read(file_of([{"a": 1}], xml_header=header)) == [{"a": 1}]


def test_the_bytes_of_a_file() -> None:
    assert file_of([{"_key": "1", "a b": None}, {"n": [True]}]) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<?exporters-beam types?>\n<root>\n'
        b'<item><_key type="str">1</_key><a_b type="null"><?name "a b"?></a_b></item>\n'
        b'<item><n type="list"><item type="bool">true</item></n></item>\n'
        b"</root>"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root_name": "1"}, "root_name: '1' cannot be the name of an XML element"),
        ({"item_name": "a b"}, "item_name: 'a b' cannot"),
        ({"item_name": ""}, "item_name: '' cannot"),
        ({"root_name": "a><b"}, "root_name: "),
        (
            {"xml_header": '<?xml version="1.0" encoding="latin-1"?>'},
            "xml_header: files are written in UTF-8, not in latin-1",
        ),
        ({"xml_header": "hello"}, "xml_header: 'hello' cannot stand before an XML element"),
        ({"xml_header": "<!-- \ud800 -->"}, "xml_header: "),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        XmlFormat(**options)
    assert str(caught.value).startswith(message)
    with pytest.raises(ConfigError, match="item_name"):
        XmlDeserializer(item_name="")


def test_what_xml_cannot_hold_fails_the_record() -> None:
    for record, message in (
        ({"a": "x\x00y"}, r"XML cannot hold the character U\+0000, which follows .*x; remove it first"),
        ({"a": {"k\x0b": 1}}, r"U\+000B"),
        ({"a": "\ud800"}, r"U\+D800"),
        ({"a": "\uffff"}, r"U\+FFFF"),
        ({"a": {1, 2}}, r"XML cannot hold the set \{1, 2\}; convert it first"),
        ({"a": 10**5000}, "the record cannot be written"),
        ({1: "a", "1": "b"}, "two fields would both be called 1: a string and a number; rename one"),
        ({"a": {None: 1, "null": 2}}, "two fields would both be called null"),
        ([1], r"XML records are mappings, not \[1\]"),
    ):
        with pytest.raises(RecordError, match=message):
            XmlFormat().format(record)  # type: ignore[arg-type]
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecordError, match="nested too deep"):
        XmlFormat().format({"a": deep})


# Reading what was written

letters = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"), max_size=8)
texts = letters | st.sampled_from(["\t\n\r", " x ", "]]>", "<a/>", "&amp;", "", "\r\n\r", "\x7f\x85\u2028"])
usual = ["a", "_key", "größe", "key", "item", "$x", "a:b", "", "x<y", "1x", "#text", "@at"]
alike = ["a b", "a_b", "a  b", "a__b", "1", "n1", "n١", "١", "xml", "xmlns", "type", "name", " a", "_a", "?>", '"']
names = st.sampled_from([*usual, *alike])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(names, v, max_size=4))


@settings(max_examples=at_least(80), deadline=None)
@given(st.lists(st.dictionaries(names, values, max_size=4), max_size=5), st.sampled_from([1, 7, 100]))
def test_what_is_written_is_read_back(records: list[Any], size: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("exporters_beam.formats.xml.PIECE", size)
        assert repr(read(file_of(records))) == repr(records)


@settings(max_examples=at_least(60), deadline=None)
@given(st.text(max_size=12))
def test_any_name_makes_a_document_that_parsers_accept(name: str) -> None:
    try:
        data = file_of([{name: {name: 1}}])
    except RecordError:
        return
    ElementTree.fromstring(data)
    assert read(data) == [{name: {name: 1}}]


def test_decimals_come_back_with_all_digits() -> None:
    (record,) = read(file_of([{"a": Decimal("1.50"), "b": 2**70, "c": 0.1}]))
    assert str(record["a"]) == "1.50"
    assert record == {"a": Decimal("1.50"), "b": 2**70, "c": 0.1}


def test_chunks_depend_on_the_bytes_alone() -> None:
    data = file_of([{"n": n, "text": "x" * (n % 100)} for n in range(20000)])

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 10_007))

    chunks = list(XmlDeserializer().chunks(io.BytesIO(data)))
    assert chunks == list(XmlDeserializer().chunks(Slow(data)))
    assert len(chunks) > 3
    assert sum(size for _, _, size in chunks) == len(data)
    assert sum(count for _, count, _ in chunks) == 20000


# Reading other documents


def test_elements_without_types() -> None:
    assert members("<a> x </a><b/><c><d>1</d><e><f>2</f></e></c>") == {
        "a": " x ",
        "b": "",
        "c": {"d": "1", "e": {"f": "2"}},
    }
    assert members("<tag>a</tag><x>1</x><tag>b</tag>") == {"tag": ["a", "b"], "x": "1"}
    assert members('<p id="7"><name>x</name></p>') == {"p": {"@id": "7", "name": "x"}}
    assert members('<p unit="kg">5</p>') == {"p": {"@unit": "kg", "#text": "5"}}
    assert members("some <b>bold</b> text") == {"b": "bold", "#text": "some  text"}
    assert members("<dc:title>x</dc:title><![CDATA[]]><!-- no --><a><![CDATA[<b>]]></a>") == {
        "dc:title": "x",
        "a": "<b>",
    }
    assert read(b'<r><item id="1"/><item></item><item>\n</item></r>') == [{"@id": "1"}, {}, {}]


def test_types_of_other_documents_are_attributes() -> None:
    for types in ("auto", "read", "ignore"):
        assert members('<a type="premium">x</a>', types=types) == {"a": {"@type": "premium", "#text": "x"}}
        assert members('<a type="str" lang="en">x</a>', types=types) == {"a": {"@type": "str", "@lang": "en", "#text": "x"}}
        assert members('<a type="list">1, 2</a>', types=types) == {"a": {"@type": "list", "#text": "1, 2"}}
        assert members('<a type="int"><b>1</b></a>', types=types) == {"a": {"@type": "int", "b": "1"}}
        assert members('<a type="null">x</a>', types=types) == {"a": {"@type": "null", "#text": "x"}}
    for kind, text in (("number", "0123456789"), ("int", "7"), ("str", "x"), ("bool", "true")):
        plain = {"a": {"@type": kind, "#text": text}}
        assert members(f'<a type="{kind}">{text}</a>') == plain
        data = f'<?xml version="1.0" encoding="UTF-8"?>\n<root>\n<item><a type="{kind}">{text}</a></item>\n</root>'
        for other in (data.replace("root>", "r>"), data.replace("<item>", "<item><b>1</b>"), data.replace("\n", " ")):
            assert read(other.encode())[0]["a"] == plain["a"]
        assert read(data.encode(), types="ignore") == [plain]
        (record,) = read(data.encode())
        assert record == (plain if text == "0123456789" else {"a": {"int": 7, "str": "x", "bool": True}[kind]})
    assert members('<a type="null"/><a type="dict"/>') == {"a": [{"@type": "null"}, {"@type": "dict"}]}
    assert members('<key name="a b">1</key><?name "x"?>') == {"key": {"@name": "a b", "#text": "1"}}
    assert members('<a>1<?name "x"?></a>') == {"a": "1"}


def test_the_old_systems_types() -> None:
    text = '<a type="bool">True</a><b type="bool">False</b><c type="number">1.50</c><key type="int" name="$x">1</key>'
    wanted = {"a": True, "b": False, "c": Decimal("1.50"), "$x": 1}
    assert members(text, types="read") == members(text, "<?exporters-beam types?>") == wanted
    assert members(text, "<?exporters-beam types?>", types="ignore")["$x"] == {"@type": "int", "#text": "1"}


@pytest.mark.parametrize("kind", ["int", "float", "bool", "number"])
def test_text_that_is_not_of_its_type_fails_its_record_alone(kind: str) -> None:
    data = f'<r><item><a type="int">1</a></item><item><b><a type="{kind}">1_0x</a></b></item><item/></r>'
    found = read(data.encode(), types="read")
    assert found[0] == {"a": 1}
    assert str(found[1]) == f"the text of the element 'a' is not of the type {kind}: 1_0x"
    assert found[2] == {}
    assert str(members("just text")) == "the element holds text and no elements: just text"


def test_records_are_elements_directly_below_the_root() -> None:
    data = b"<catalog><meta><product>no</product></meta><product><id>1</id><product>x</product></product></catalog>"
    assert read(data, item_name="product") == [{"id": "1", "product": "x"}]
    with pytest.raises(SourceError, match="no element is called 'item' directly below the root, but 'product'; set item_name"):
        read(data)
    assert read(b"<item><item><item>1</item></item></item>") == [{"item": "1"}]
    assert read(b"<r/>") == []
    assert read(b"") == []


def test_encodings() -> None:
    for encoding in ("utf-8", "utf-16", "iso-8859-1", "windows-1252", "utf-8-sig"):
        declared = "utf-8" if encoding == "utf-8-sig" else encoding
        text = f'<?xml version="1.0" encoding="{declared}"?><r><item><a>é</a></item></r>'
        assert read(text.encode(encoding)) == [{"a": "é"}]
    with pytest.raises(SourceError, match="encoding"):
        read(b'<?xml version="1.0" encoding="nonsense"?><r/>')
    with pytest.raises(SourceError, match="record 1: not well-formed XML"):
        read(b"<r><item><a>\xff</a></item></r>")


@pytest.mark.parametrize("size", [1, 1000])
def test_documents_that_are_not_well_formed_name_the_record(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("exporters_beam.formats.xml.PIECE", size)
    good = b"<r>\n<item><a>1</a></item>\n"
    for bad, message in (
        (b"<item><a>2</b></item></r>", "record 2: not well-formed XML at line 3, column 13: mismatched tag"),
        (b"<item><a>2", "record 2: not well-formed XML at line 3, column 11: no element found"),
        (b"<item><a>&nbsp;</a></item></r>", "record 2: not well-formed XML at line 3, column 10: undefined entity"),
        (b"</r><r></r>", "record 2: not well-formed XML at line 3, column 5: junk after document element"),
        (b"<item>\0</item></r>", "record 2: not well-formed XML"),
    ):
        with pytest.raises(SourceError) as caught:
            read(good + bad)
        assert str(caught.value).startswith(message)


def test_entities_are_refused() -> None:
    bomb = b'<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><r><item><x>&b;</x></item></r>'
    with pytest.raises(SourceError, match="the document declares the entity 'a', which is refused"):
        read(bomb)
    for declared in (b'<!ENTITY a SYSTEM "file:///etc/passwd">', b'<!ENTITY % a SYSTEM "http://localhost/x.dtd"> %a;'):
        with pytest.raises(SourceError, match="the document declares the entity 'a'"):
            read(b"<!DOCTYPE r [" + declared + b"]><r><item><x>&a;</x></item></r>")
    with pytest.raises(SourceError, match=r"record 1: the entity 'foo' is not declared in the document"):
        read(b'<!DOCTYPE r SYSTEM "r.dtd"><r><item><x>a&foo;b</x></item></r>')
    assert read(b'<!DOCTYPE r SYSTEM "r.dtd"><r><item><x>&lt;&#233;</x></item></r>') == [{"x": "<é"}]


def test_elements_nested_too_deep_fail_their_record_alone() -> None:
    def nested(depth: int) -> bytes:
        return b"<item>" + b"<a>" * depth + b"x" + b"</a>" * depth + b"</item>"

    found = read(b"<r>" + nested(50_000) + nested(401) + nested(400) + b"<item/></r>")
    assert [str(record) for record in found[:2]] == ["elements are nested more than 400 deep"] * 2
    assert XmlFormat(attr_type=False).format(found[2]) == nested(400)
    assert found[3] == {}


# What the old system did


def tree(data: bytes) -> Any:
    def shape(node: ElementTree.Element) -> Any:
        text = (node.text or "").strip()
        text = text.lower() if text in ("True", "False") else text
        return (node.tag, text, sorted(node.attrib.items()), sorted((shape(child) for child in node), key=repr))

    root = ElementTree.fromstring(data)
    return root.tag, [shape(child) for child in root]


@pytest.mark.parametrize("case", ["format-xml", "format-xml-header-buffers", "format-xml-odd-keys-ascii"])
def test_the_documents_of_the_old_system(case: str) -> None:
    config = json.loads((CASES / case / "config.json").read_text("utf-8"))
    options = config["exporter_options"]["formatter"].get("options", {})
    source = gzip.decompress((CASES / case / "input" / "data.jl.gz").read_bytes())
    records = [r for c, _, _ in JsonLinesDeserializer().chunks(io.BytesIO(source)) for r in JsonLinesDeserializer().decode(c)]
    form = build(XmlFormat, options)
    limit = config["writer"]["options"].get("items_per_buffer_write", 10**6)
    files = [records[n : n + limit] for n in range(0, len(records), limit)]
    recorded = [path.read_bytes() for path in sorted((CASES / case / "expected" / "files").iterdir())]
    assert len(files) == len(recorded)
    for file, old in zip(files, recorded, strict=True):
        ours = form.header + form.separator.join(map(form.format, file)) + form.footer
        first, _, *others = ours.split(b"\n")
        assert [first, others[0]] == old.split(b"\n")[:2]
        assert tree(ours) == tree(old)
        if case == "format-xml":
            assert read(old) == read(ours) == file


# What comes back

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=4) | names, v, max_size=4),
    max_leaves=12,
)


@settings(max_examples=at_least(150), deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4) | names, ANY, max_size=4), max_size=4))
def test_any_record_comes_back_or_is_refused(records: list[Any]) -> None:
    kept = []
    for record in records:
        try:
            XmlFormat().format(record)
        except RecordError as error:
            assert "XML cannot hold the character" in str(error)
        else:
            kept.append(record)
    data = file_of(kept)
    assert repr(read(data)) == repr(kept)
    assert len(ElementTree.fromstring(data)) == len(kept)


def test_names_that_would_be_the_same_stay_apart() -> None:
    record = {"a b": 1, "a_b": 2, "1": {"n1": [], "1": {}}, "n1": None, "": "", "+1": 3, "-1": 4, "key": {"key": [[]]}}
    assert read(file_of([record])) == [record]
    untyped = file_of([{"a b": "x", "a_b": "y", "1": "z", "$": "w"}], attr_type=False)
    assert read(untyped) == [{"a b": "x", "a_b": "y", "1": "z", "$": "w"}]
    assert isinstance(members("<a>x<?name 1?></a>", "<?exporters-beam types?>"), RecordError)


def test_lists() -> None:
    data = (
        b"<r><item><line><sku>a</sku></line></item><item><line/><line>2</line></item>"
        b"<item><more><line>x</line><sku>1</sku></more></item><item/></r>"
    )
    assert read(data, lists=("line",)) == [
        {"line": [{"sku": "a"}]},
        {"line": ["", "2"]},
        {"more": {"line": ["x"], "sku": "1"}},
        {},
    ]
    assert read(data, lists=("/line", "more/sku"))[0] == {"line": [{"sku": "a"}]}
    assert read(data, lists=("/line", "more/sku"))[2] == {"more": {"line": "x", "sku": ["1"]}}
    assert members("<dc:tag>x</dc:tag>", lists=("dc:tag",)) == {"dc:tag": ["x"]}
    assert members('<a type="list"><item type="int">1</item></a>', types="read", lists=("a",)) == {"a": [1]}
    assert members('<a type="list"><b>1</b></a>', types="read", lists=("b",)) == {"a": ["1"]}
    assert members('<a><b id="1">x</b></a>', lists=("b",)) == {"a": {"b": [{"@id": "1", "#text": "x"}]}}
    for wrong in ("", "/", "a//b", "a b", "a/", "<a>"):
        with pytest.raises(ConfigError, match="lists: "):
            XmlDeserializer(lists=(wrong,))


def test_documents_without_records_say_so() -> None:
    with pytest.raises(SourceError, match="no element is called 'item' directly below the root, but text alone"):
        read(b"<r>text</r>")
    assert read(b"<r> \n </r>") == []
