"""A secret of an export is used, and found nowhere: logs, reports, books, staged segments, pipelines, notifications, errors."""

from __future__ import annotations

import json
import logging
import os
import pickle
import pickletools
import re
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pytest

import exporters_beam
from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret, hide, reveal
from exporters_beam.config.spec import load
from exporters_beam.engine.preview import preview
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.planning.explain import mermaid, text
from exporters_beam.planning.plan import make
from exporters_beam.readers.units import names_of
from exporters_beam.records import Record, Unit
from exporters_beam.reporting.notify import failed_text
from exporters_beam.runners.dataflow import literal_secrets

from helpers import delivered, jsonl

CANARY = "canary-5e7f2a-from-the-environment"
FILED = "canary-91bd04-from-a-file"
KEPT = {"environment": "CANARY", "file": "FILED"}
RECORDS = [{"id": n} for n in range(20)]


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """Keep all records, if the secrets are the right ones."""

    kind: ClassVar[str] = "filter"

    token: str = option("a secret", secret=True)
    headers: dict[str, Any] = option("secrets inside", type="dict", default={})
    dsn: str = option("a text with a secret in it", default="")
    fail_at: int = option("the record that fails", type="int", default=-1)

    def __post_init__(self) -> None:
        if self.token == "":
            raise ConfigError("token: give one")

    def keep(self, record: Record) -> bool:
        right = (
            self.token == os.environ["CANARY"]
            and self.headers["list"][0] == Path(os.environ["CANARY_FILE"]).read_text().strip()
            and self.dsn == f"db://user:{os.environ['CANARY']}@host"
        )
        if not right:
            raise ValueError("the secrets did not arrive")
        if record["id"] == self.fail_at:
            raise ValueError(f"record refused by {self!r}")
        return True


@dataclass(frozen=True, kw_only=True)
class Clumsy(Guarded):
    """Put the secrets into the text of an error, as client libraries do."""

    def keep(self, record: Record) -> bool:
        raise ValueError(f"401 for {self.dsn} with {self.token} and {self.headers}")


class Hook:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def config(tmp_path, monkeypatch, hook) -> dict[str, Any]:
    secret = tmp_path / "kept" / "secret"
    secret.parent.mkdir()
    secret.write_text(FILED + "\n")
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("CANARY_FILE", str(secret))
    source = tmp_path / "data.jl"
    source.write_bytes(jsonl(RECORDS))
    return {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "filter": {
            "name": f"{__name__}:Guarded",
            "options": {
                "token": "${secret:env:CANARY}",
                "headers": {"list": [f"${{secret:file:{secret}}}"]},
                "dsn": "db://user:${secret:env:CANARY}@host",
            },
        },
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "compression": "none"}},
        "exporter_options": {
            "log_level": "DEBUG",
            "notifications": [{"name": "webhook", "options": {"endpoints": [f"{hook.url}?key=${{secret:env:CANARY}}"]}}],
        },
    }


def assert_clean(*texts: str | bytes) -> None:
    for found in texts:
        data = found if isinstance(found, bytes) else found.encode("utf-8", "surrogatepass")
        for canary in (CANARY, FILED):
            at = data.find(canary.encode())
            assert at < 0, f"leaked: {data[max(0, at - 200) : at + 60]!r}"


def files(folder: Path) -> list[bytes]:
    """All files below a folder, and their inflated parts: segments end with a zlib footer."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found.append(str(path).encode() + b"\n" + data)
            for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
                with suppress(zlib.error):
                    found.append(zlib.decompressobj().decompress(data[start.start() :]))
    return found


def test_a_run_that_succeeds(tmp_path, config, hook, caplog, capfd):
    logging.getLogger().setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        report = exporters_beam.run(config)
    assert report.written == len(RECORDS)  # The secrets arrived.
    assert delivered(tmp_path / "out") == {"part-0000.jl": RECORDS}
    out, err = capfd.readouterr()
    assert [json.loads(body)["job_status"] for body in hook.bodies] == ["STARTED", "COMPLETED"]
    assert_clean(report.to_json(), repr(report), report.summary(), out, err, caplog.text, *hook.bodies)
    assert_clean(*(repr(record.__dict__) for record in caplog.records))
    assert list((tmp_path / "out").rglob("manifest.json"))
    assert_clean(*files(tmp_path / "out"))


def test_a_run_whose_record_fails(tmp_path, config, hook, caplog, capfd, monkeypatch):
    """Also what the run leaves for the next one: `export.json` and staged segments, which are copied as it ends."""
    monkeypatch.setattr("exporters_beam.engine.source.RANGE_BYTES", 60)
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 60)
    swept = exporters_beam.staging.books.sweep
    copies = tmp_path / "copies"

    def copied(books: Any) -> int:
        if os.path.isdir(books.folder):
            shutil.copytree(books.folder, copies, dirs_exist_ok=True)
        return int(swept(books))

    monkeypatch.setattr("exporters_beam.staging.books.sweep", copied)
    config["filter"]["options"]["fail_at"] = 15
    with caplog.at_level(logging.DEBUG), pytest.raises(ExportError, match="record 16: filter_before: ") as caught:
        exporters_beam.run(config)
    out, err = capfd.readouterr()
    assert json.loads(hook.bodies[-1])
    assert_clean(*_chain(caught.value), out, err, caplog.text, *hook.bodies, *files(tmp_path / "out"), *files(copies))


def test_secrets_that_a_component_puts_into_its_error(tmp_path, config, hook, caplog, capfd):
    config["filter"]["name"] = f"{__name__}:Clumsy"
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ExportError, match=r"record 1: filter_before: .*401 for") as caught,
    ):
        exporters_beam.run(config)
    out, err = capfd.readouterr()
    assert_clean(str(caught.value), *_chain(caught.value), out, err, caplog.text, *hook.bodies, *files(tmp_path / "out"))
    with pytest.raises(ExportError, match="401 for") as caught:
        preview(make(load(config)), 5, lambda line: None)
    assert_clean(str(caught.value))


@dataclass(frozen=True, kw_only=True)
class Unready(Guarded):
    """Fail before the first record, with the secret in the error."""

    def setup(self) -> None:
        raise ConnectionError(f"cannot connect to {self.dsn}")


def test_secrets_in_the_error_of_a_set_up(tmp_path, config, hook, caplog, capfd):
    config["filter"]["name"] = f"{__name__}:Unready"
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ExportError, match="ConnectionError: cannot connect to db") as caught,
    ):
        exporters_beam.run(config)
    out, err = capfd.readouterr()
    assert_clean(*_chain(caught.value), out, err, caplog.text, *hook.bodies)


def test_a_mail_tells_of_a_failure_without_secrets(config, monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr("exporters_beam.reporting.notify.WebhookNotifier.send", lambda self, event, report: told.append(report))
    config["filter"]["name"] = f"{__name__}:Clumsy"
    with pytest.raises(ExportError):
        exporters_beam.run(config)
    assert "Traceback" in told[-1]["stack_trace"]
    assert_clean(*(failed_text(report) for report in told), *map(repr, told))


def test_secrets_are_hidden_in_every_spelling():
    environ = {"ODD": "p\u00e4ss/w\"rd 'x'", "SHORT": "abc"}
    Secret("${secret:env:ODD}${secret:env:SHORT}").resolve(environ)
    odd = environ["ODD"]
    for spelling in (odd, repr(odd), json.dumps(odd), f"https://u:{quote(odd, safe='')}@h", urlencode({"k": odd})):
        assert "${secret:env:ODD}" in hide(spelling) and "rd" not in hide(spelling)
    assert hide("abcdef and no secret") == "abcdef and no secret"


def _chain(error: BaseException | None) -> Iterator[str]:
    """What a traceback shows of an error: itself and what led to it."""
    while error is not None:
        yield f"{error!r}\n{error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_what_is_shown_before_a_run(config):
    spec = load(config)
    plan = make(spec)
    shown: list[str] = []
    preview(plan, 3, shown.append)
    assert len(shown) > 6
    assert_clean(text(plan), mermaid(plan), *shown, repr(spec), repr(plan), repr(spec.document), plan.export_id)
    assert_clean(pickle.dumps(plan), pickle.dumps(spec.step("filter_before")))
    assert "${secret:env:CANARY}" in text(plan) or "***" in text(plan)


def test_the_pipeline_as_it_is_sent_to_a_runner(config):
    import apache_beam as beam

    pipeline = beam.Pipeline()
    exporters_beam.build(config, pipeline)
    proto = pipeline.to_runner_api()
    assert_clean(proto.SerializeToString(), str(proto))
    decoded = list(_payloads(proto))
    assert any(b"secret:env:CANARY" in data for data in decoded), "the references were not found, so this looked at nothing"
    assert_clean(*decoded)


def _payloads(proto: Any) -> Iterator[bytes]:
    """The payload of every step, and what is packed in it: Beam's own base64, bz2, zlib and nested pickles."""
    import base64
    import bz2

    waiting = [t.spec.payload for t in proto.components.transforms.values()]
    waiting += [c.spec.payload for c in proto.components.coders.values()]
    while waiting:
        data = waiting.pop()
        yield data
        for part in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data):
            try:
                packed = base64.b64decode(part[: len(part) // 4 * 4])
            except ValueError:
                continue
            for unpack in (bz2.decompress, zlib.decompress):
                try:
                    waiting.append(unpack(packed))
                except (OSError, ValueError, zlib.error):
                    continue
        try:
            nested = [arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, bytes)]
        except Exception:
            continue
        waiting += [arg for arg in nested if len(arg) > 20]


@pytest.mark.parametrize("fail_at", [-1, 15])
def test_the_command_line_with_debug(tmp_path, config, hook, fail_at):
    config["filter"]["options"]["fail_at"] = fail_at
    path, report = tmp_path / "export.json", tmp_path / "report.json"
    path.write_text(json.dumps(config))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-m", "exporters_beam", "run", str(path), "--debug", "--report", str(report)],
        capture_output=True, text=True, check=False, env=environ,
    )  # fmt: skip
    assert ran.returncode == (0 if fail_at < 0 else 1), ran.stderr
    assert_clean(ran.stdout, ran.stderr, *hook.bodies, *files(tmp_path / "out"))
    if report.exists():
        assert_clean(report.read_bytes())
    assert fail_at < 0 or "record 16: filter_before: " in ran.stderr


def test_a_secret_that_is_missing_is_named_and_no_other_is_shown(tmp_path, config, monkeypatch):
    config["filter"]["options"]["dsn"] = "db://${secret:env:CANARY}:${secret:env:MISSING_CANARY}@host"
    with pytest.raises(
        ExportError, match=r"\$\{secret:env:MISSING_CANARY\}: the environment variable MISSING_CANARY"
    ) as caught:
        exporters_beam.run(config)
    assert_clean(*_chain(caught.value))


def test_secrets_in_the_options_of_steps_of_a_list(tmp_path, config):
    steps = [{"filter": "dupe"}, {"filter": config.pop("filter"), "as": "guarded"}]
    spec = load({**config, "steps": steps})
    plan, shown = make(spec), list[str]()
    preview(plan, 3, shown.append)
    told = json.dumps(plan.told, default=repr)
    assert_clean(text(plan), *shown, repr(spec), repr(plan), repr(spec.document), told, pickle.dumps(plan))
    assert "${secret:env:CANARY}" in told
    report = exporters_beam.run({**config, "steps": steps})
    assert report.written == len(RECORDS)
    assert_clean(*files(tmp_path / "out"), report.to_json().encode())
    steps[1]["filter"]["options"]["token"] = CANARY
    literal = load({**config, "steps": steps})
    (problem,) = literal_secrets(literal)
    assert str(problem).startswith("steps[1].filter.options.token: this secret would be staged with the pipeline")
    assert "${secret:gcp:projects/PROJECT/secrets/NAME}" in str(problem)
    assert_clean(repr(literal.document), json.dumps(make(literal).told, default=repr))


def test_components_that_are_revealed_stay_references_when_pickled_before(config):
    component = load(config).step("filter_before").component
    assert_clean(pickle.dumps(component), repr(component))
    assert isinstance(pickle.loads(pickle.dumps(component)).token, Secret)
    assert reveal(component).token == CANARY
    assert_clean(repr(component))


def read_from(config: dict[str, Any], reader: Any, **sections: Any) -> dict[str, Any]:
    return {**{name: value for name, value in config.items() if name != "filter"}, "reader": reader, **sections}


@pytest.fixture
def kept_in(tmp_path, config) -> Iterator[dict[str, Any]]:
    """Readers whose options hold a secret, each of the same two records and one line that is not JSON."""
    folder = tmp_path / f"in-{CANARY}"
    folder.mkdir()
    (folder / "a.jl").write_bytes(b'{"id": 0}\n{"id": 1}\nnot JSON\n')
    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    url, secret = f"http://127.0.0.1:{served.server_port}", "${secret:env:CANARY}"
    fs = {
        "a folder": {"dir": f"{tmp_path}/in-{secret}"},
        "a path": f"{tmp_path}/in-{secret}/a.jl",
        "a pattern": {"dir": str(tmp_path), "pattern": f"in-{secret}/.*jl$"},
    }
    http = {
        "a path of a URL": f"{url}/in-{secret}/a.jl",
        "a parameter": f"{url}/in-{secret}/a.jl?page=1&key={secret}",
        "a parameter in the config itself": f"{url}/in-{secret}/a.jl?api_token={CANARY}",
        "a password in the config itself": f"{url.replace('//', f'//me:{CANARY}@')}/in-{secret}/a.jl",
    }
    yield {
        **{name: {"name": "fs", "options": {"input": given}} for name, given in fs.items()},
        **{name: {"name": "http", "options": {"input": given}} for name, given in http.items()},
    }
    served.shutdown()
    served.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


READERS = ["a folder", "a path", "a pattern", "a path of a URL", "a parameter", "a parameter in the config itself",
           "a password in the config itself"]  # fmt: skip


@pytest.mark.parametrize("which", READERS)
def test_secrets_of_readers_stand_nowhere_and_the_records_arrive(which, tmp_path, config, kept_in, hook, capfd, caplog):
    given = read_from(config, kept_in[which], on_error={"action": "dead_letter"})
    with caplog.at_level(logging.DEBUG):
        report = exporters_beam.run(given)
    assert (report.read, report.written) == (3, 2)
    shown: list[str] = []
    preview(make(load(given)), 3, shown.append)
    assert any("failed (dead_letter)" in line for line in shown)
    out, err = capfd.readouterr()
    assert_clean(report.to_json(), out, err, caplog.text, *shown, text(make(load(given))), *hook.bodies)
    assert_clean(*files(tmp_path / "out"))
    (letters,) = (tmp_path / "out").rglob("dead-letters.jl")
    assert json.loads(letters.read_text())["file"] == report.units[0]["name"]
    exporters_beam.replay(given, [str(letters)])
    assert_clean(*files(tmp_path / "out"))


@pytest.mark.parametrize("which", ["a folder", "a parameter in the config itself"])
def test_secrets_of_readers_stand_in_no_message_and_nothing_that_is_staged(
    which, tmp_path, config, kept_in, hook, capfd, caplog
):
    """What a run that failed leaves for the next one, which goes on with it."""
    given = read_from(config, kept_in[which])
    with caplog.at_level(logging.DEBUG), pytest.raises(ExportError, match=r"a\.jl.*: record 3: ") as caught:
        exporters_beam.run(given)
    out, err = capfd.readouterr()
    assert_clean(*_chain(caught.value), out, err, caplog.text, *hook.bodies, *files(tmp_path / "out"))
    with suppress(FileNotFoundError):
        (tmp_path / f"in-{CANARY}/a.jl").unlink()
    with pytest.raises(ExportError) as caught:
        exporters_beam.run(given)
    assert_clean(*_chain(caught.value))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://me:finch@a.org/b", "https://me:***@a.org/b"),
        ("https://finch@a.org/b", "https://***@a.org/b"),
        ("sftp://me@a.org/b", "sftp://me@a.org/b"),
        ("https://a.org/?page=2&Token=finch&x=1#y", "https://a.org/?page=2&Token=***&x=1#y"),
        ("https://a.blob.core.windows.net/c?sv=2024&sig=finch%3D&se=1", "https://a.blob.core.windows.net/c?sv=2024&sig=***&se=1"),
        ("s3 https://b/x?X-Amz-Credential=finch&X-Amz-Signature=finch", "s3 https://b/x?X-Amz-Credential=***&X-Amz-Signature=***"),
        ("https://a.org/?a%70i_key=finch", "https://a.org/?a%70i_key=***"),
        ("https://a.org/?token=${secret:env:X}", "https://a.org/?token=${secret:env:X}"),
        ("a = b@c, no ?question=1", "a = b@c, no ?question=1"),
    ],
)  # fmt: skip
def test_passwords_and_tokens_of_urls_are_hidden_wherever_they_are_shown(before, after):
    assert hide(before) == after
    assert hide(after) == after


def test_two_urls_that_differ_in_their_token_stay_two(tmp_path):
    reader = load({"reader": {"name": "http", "options": {"input": ["https://a.org/?token=one", "https://a.org/?token=two"]}},
                   "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/p-"}}}).reader.component  # fmt: skip
    names = names_of(reader)
    units = [Unit(n, url) for n, url in enumerate(reader.input)]
    shown = [unit._replace(name=names.without_secrets(unit.name)) for unit in units]
    assert [unit.name for unit in shown] == ["https://a.org/?token=***", "https://a.org/?token=***2"]
    assert [names.real(unit) for unit in shown] == units
