"""Reading from and sending to an HTTP API of JSON, also one that misbehaves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rest_service import TOKEN, Api

import exporters_beam
from exporters_beam import ConfigError, ExportError, SourceError
from exporters_beam.components.options import build
from exporters_beam.systems.rest_api_reader import RestApiReader
from exporters_beam.systems.rest_api_writer import RestApiWriter

from helpers import delivered, jsonl


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)


NUMBERED = [{"id": n, "náme": "ü"} for n in range(1234)]

WAYS = {
    "page": {"paging": "page", "size_param": "limit", "page_size": 50},
    "offset": {"paging": "offset"},
    "cursor": {"paging": "cursor", "page_param": "after", "next": "meta.next"},
    "next_url": {"paging": "next_url", "next": "meta.next"},
    "link": {},
}


def reader(api: Api, way: str, **options: Any) -> RestApiReader:
    given = {"url": f"{api.url}/pages/{way}", "records": "data.items", "bearer": TOKEN, **WAYS.get(way, {}), **options}
    return build(RestApiReader, given, {})


def read(made: RestApiReader, start: int = 0) -> list[Any]:
    (unit,) = made.units()
    return [record for _, found in made.read(unit, start) for record in found]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_paging(api: Api, way: str) -> None:
    api.records = NUMBERED
    made = reader(api, way)
    assert read(made) == NUMBERED
    size = 500 if way == "page" else 1000
    before = len(api.asked)
    assert read(made, 1) == NUMBERED[size:]
    if way in ("page", "offset"):
        assert f"={11 if way == 'page' else 1000}" in api.asked[before][1], "it begins where it is asked to"
    api.records = []
    assert read(made) == []


def test_an_export_of_an_api(api: Api, tmp_path: Path) -> None:
    api.records = [*NUMBERED[:150], "no object", *NUMBERED[150:300]]
    config = {
        "reader": {"name": "rest_api", "options": {
            "url": f"{api.url}/pages/link", "records": "data.items", "params": {"state": "all"},
            "secret_params": {"key": "${secret:env:TOKEN}"}, "bearer": "${secret:env:TOKEN}",
        }},
        "writer": {"name": "fs", "options": {"filebase": str(tmp_path / "out" / "part-")}},
        "on_error": {"action": "dead_letter", "file": str(tmp_path / "letters.jl")},
    }  # fmt: skip
    exporters_beam.run(config)
    assert [record for records in delivered(tmp_path / "out").values() for record in records] == NUMBERED[:300]
    (letter,) = map(json.loads, (tmp_path / "letters.jl").read_text().splitlines())
    assert (letter["number"], letter["message"]) == (151, "it is not an object")
    assert all("state=all" in path and f"key={TOKEN}" in path for _, path, _, _ in api.asked)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_answers_that_break_off_or_are_refused_for_a_while(api: Api) -> None:
    api.records = NUMBERED
    instead = ["break", (429, "", {"Retry-After": "1"}), None, (503, "<h1>Busy</h1>", {}), "break", (200, '{"data": ', {})]
    api.before = lambda method, path: instead.pop(0) if instead else None
    begun = time.monotonic()
    assert read(reader(api, "cursor")) == NUMBERED
    assert time.monotonic() - begun >= 1 and not instead


def test_no_more_requests_than_allowed(api: Api) -> None:
    api.records = NUMBERED[:500]
    begun = time.monotonic()
    read(reader(api, "cursor", requests_per_second=10))
    assert time.monotonic() - begun >= 0.4


@pytest.mark.parametrize(
    ("way", "options", "instead", "message"),
    [
        ("link", {"bearer": "not-the-token"}, None, r"does not accept these credentials; it said 401 .*who are you"),
        ("link", {"records": "data.things"}, None, r"records: there is nothing at 'data.things' in the answer, which begins"),
        ("link", {"records": "data"}, None, r"records: what is at 'data' in the answer is no list of records"),
        ("link", {}, (404, f"<p>no {TOKEN} here</p>", {}), r"^the API said 404 no \*\*\* here$"),
        ("link", {}, (200, "<p>Welcome</p>", {}), "^the answer is not JSON: Welcome$"),
        ("link", {}, (302, "", {"Location": "http://169.254.169.254/"}), "url: the API is not asked: link-local addresses"),
        ("link", {}, (200, '{"data": {"items": []}}', {"Link": "<http://other.example/>; rel=next"}), "is at another server"),
        ("cursor", {}, (200, '{"data": {"items": []}, "meta": {"next": {}}}', {}), "next: what is at 'meta.next' in the"),
        ("cursor", {}, (200, '{"data": {"items": []}, "meta": {"next": "7"}}', {}), "says that it is the next page itself"),
        ("page", {"page_param": "seite"}, None, "page_param: page 2 is the same as the one before it; .* no heed of 'seite'"),
        ("offset", {"page_size": 120}, None, "page_size: page 1 has 100 records, not 120"),
        ("offset", {"page_size": 70}, None, "page_size: page 1 has 100 records, not 70"),
    ],
)
def test_what_is_wrong_is_one_sentence(api: Api, way: str, options: Any, instead: Any, message: str) -> None:
    api.records = NUMBERED[:300]
    made = reader(api, way, **options)
    object.__setattr__(made, "attempts", 2)
    api.before = lambda method, path: instead
    with pytest.raises(SourceError, match=message) as caught:
        read(made)
    assert TOKEN not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("component", "options", "message"),
    [
        (RestApiReader, {"url": "ftp://a"}, "url: 'ftp://a' is not an http or https address"),
        (RestApiReader, {"url": "https://me:pw@a.org/"}, "url: a user does not belong in the address"),
        (RestApiReader, {"url": "https://a.org/", "bearer": "a", "user": "b"}, "bearer: give either a token or a user"),
        (RestApiReader, {"url": "https://a.org/", "paging": "cursor", "next": ""}, "next: paging by cursor needs"),
        (RestApiWriter, {"url": "https://a.org/", "headers": {"a": "b\nc"}}, "headers: a has to be a text of one line"),
        (RestApiWriter, {"url": "https://a.org/", "inside": "x", "body": "lines"}, "inside: it is for the body `array`"),
    ],
)
def test_wrong_options(component: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(component, options, {})


# The writer


def sent(api: Api, tmp_path: Path, records: list[Any], on_error: Any = "fail", **options: Any) -> Any:
    if not (tmp_path / "in.jl").exists():
        (tmp_path / "in.jl").write_bytes(jsonl(records))
    given = {"url": f"{api.url}/records", "bearer": "${secret:env:TOKEN}", **options}
    return exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "rest_api", "options": given},
        "on_error": on_error,
    })  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"body": "lines"}, {"inside": "items", "method": "PUT"}, {"items_per_buffer_write": 100}]
)
def test_records_are_sent_once(api: Api, tmp_path: Path, options: dict[str, Any]) -> None:
    api.lost = 1
    instead: list[Any] = [(503, "", {"Retry-After": "0"}), None]
    api.before = lambda method, path: instead.pop(0) if instead else None
    report = sent(api, tmp_path, NUMBERED, **options)
    assert api.stored() == NUMBERED
    assert report.targets[0]["name"] == f"{api.url}/records"
    sent(api, tmp_path, NUMBERED, **options)
    assert api.stored() == NUMBERED, "the same export again has the same keys"


def test_a_record_in_each_request(api: Api, tmp_path: Path) -> None:
    sent(api, tmp_path, NUMBERED[:20], body="object")
    assert api.stored() == NUMBERED[:20] and len(api.asked) == 20


@pytest.mark.parametrize("tells", [True, False])
def test_records_that_are_not_taken(api: Api, tmp_path: Path, tells: bool) -> None:
    api.wrong = lambda record: "no such animal" if record["id"] in (7, 8, 90) else ""
    api.tells = tells
    letters = tmp_path / "letters.jl"
    on_error = {"action": "dead_letter", "file": str(letters)}
    report = sent(api, tmp_path, NUMBERED[:100], on_error, **({"refused": "errors"} if tells else {}))
    assert report.counts["writer.dead_lettered"] == 3
    found = [(line["number"], line["message"]) for line in map(json.loads, letters.read_text().splitlines())]
    told = "the API said no such animal" if tells else 'the API said 422 {"error": "no such animal"}'
    assert found == [(8, told), (9, told), (91, told)]
    assert api.stored() == [record for record in NUMBERED[:100] if record["id"] not in (7, 8, 90)]
    with pytest.raises(ExportError, match=r"in\.jl: record 8: writer: the API said"):
        sent(api, tmp_path, NUMBERED[:100], delivery_id="b", **({"refused": "errors"} if tells else {}))


@pytest.mark.parametrize(
    ("instead", "options", "message"),
    [
        ((403, "no", {}), {}, "the API does not accept these credentials; it said 403 no"),
        ((404, "", {}), {}, "the API said 404 Not Found"),
        ((400, "no", {}), {"halve": False}, "the API said 400 no"),
        ((200, '{"errors": [{"row": 1}]}', {}), {"refused": "errors"}, "refused_number: the API has refused a record, and its"),
    ],
)
def test_what_the_api_refuses_is_one_sentence(
    api: Api, tmp_path: Path, instead: Any, options: dict[str, Any], message: str
) -> None:
    api.before = lambda method, path: instead
    with pytest.raises(ExportError, match=message) as caught:
        sent(api, tmp_path, NUMBERED[:3], **options)
    assert TOKEN not in str(caught.value)
