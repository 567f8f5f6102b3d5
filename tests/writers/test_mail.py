"""Mails against a real server of SMTP on this machine, and against moto's SES."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam import ConfigError
from exporters_beam.cli.main import main
from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import DestinationError
from exporters_beam.planning.explain import text as explained
from exporters_beam.planning.plan import make
from exporters_beam.reporting.verify import beside, verify
from exporters_beam.writers import mail, posts
from exporters_beam.writers.mail import MailWriter

from helpers import free_port, self_signed

pytest.importorskip("aiosmtpd", reason="get it with: pip install aiosmtpd")

RECORDS = [{"n": n, "g": "ab"[n % 2], "t": "é" * 10} for n in range(40)]
TEAM = ["team@example.org", "Ann Other <ann@example.org>"]
PASSWORD = "canary-of-the-mail-password"


class Mailbox:
    """What a server does with mails: `refuse` says what it answers to a recipient, `lose` how often it breaks off, `third` what
    happens when the third mail is there, before anything is answered."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.refuse: dict[str, str] = {}
        self.lose = 0
        self.senders: list[str] = []
        self.answers: list[str] = []
        self.third: Callable[[], object] = dict

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.senders.append(address)
        if address == "nobody@example.org":
            return "553 5.7.1 nobody may not send"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        if len(self.mails) == 3:
            self.third()
        if self.answers:
            return self.answers.pop(0)
        if self.lose:
            self.lose -= 1
            self.mails.pop()
            self.envelopes.pop()
            server.transport.close()
        return "250 OK"


@contextmanager
def smtp(box: Mailbox, certificate: Path | None = None, over_tls: bool = False, **more: Any) -> Iterator[int]:
    """A server with this mailbox; gives its port. With a certificate it wants STARTTLS and a login."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult, LoginPassword

    def lets_in(server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        return AuthResult(success=data == LoginPassword(b"exports", PASSWORD.encode()), handled=False)

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        more |= {"authenticator": lets_in, "auth_required": True}
        more |= {"auth_require_tls": False} if over_tls else {"tls_context": context, "require_starttls": True}
    server = Controller(box, "127.0.0.1", free_port(), ssl_context=context if over_tls else None, **more)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(mail, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(mail, "LONGEST_WAIT", 0.0)
    monkeypatch.setattr(posts.socket, "gethostname", lambda: "localhost")
    return tmp_path


def config(port: int, **options: Any) -> dict[str, Any]:
    sections = {name: options.pop(name) for name in ("grouper", "exporter_options") if name in options}
    given = {
        "emails": TEAM,
        "from": "exports@example.org",
        "subject": "Products of today,\nthe 1st: é",
        "filebase": "part-",
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        **options,
    }
    return {
        "reader": {"name": "memory", "options": {"records": RECORDS}},
        "writer": {"name": "mail", "options": {name: value for name, value in given.items() if value is not None}},
        **sections,
    }


def attached(mail: Any) -> tuple[str, bytes]:
    (part,) = mail.iter_attachments()
    assert part.get_content_type() == "application/octet-stream"
    return part.get_filename(), part.get_content()


def records_in(mail: Any) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(attached(mail)[1]).splitlines()]


def test_each_file_is_mailed_to_each_address(box: Mailbox) -> None:
    with smtp(box) as port:
        assert "each file is delivered at least once" in explained(make(load(config(port))))
        report = exporters_beam.run(config(port, items_per_buffer_write=20))
    assert box.envelopes == [("exports@example.org", ["team@example.org"]), ("exports@example.org", ["ann@example.org"])] * 2
    assert sorted({attached(each)[0] for each in box.mails}) == ["part-0000.jl.gz", "part-0001.jl.gz"]
    by_name = {attached(each)[0]: each for each in box.mails}
    assert [record for _, each in sorted(by_name.items()) for record in records_in(each)] == RECORDS
    for each in box.mails:
        assert each["Subject"] == "Products of today, the 1st: é" and each["From"] == "exports@example.org"
        name, content = attached(each)
        told = each.get_body().get_content().replace("\r\n", "\n")
        assert told == f"File name: {name}\nSize: {len(content)} bytes\nNumber of records: 20\n"
    assert sorted(each["To"] for each in box.mails) == sorted(TEAM * 2)
    assert len({each["Message-ID"] for each in box.mails}) == 2
    assert [file["name"] for file in report.files] == ["mail:part-0000.jl.gz", "mail:part-0001.jl.gz"]
    assert verify(report.manifest)[0] == [] and list(beside(report.manifest, verify(report.manifest)[1], [])) == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_groups_and_encrypted_connections_with_a_login(box: Mailbox, here: Path, caplog: Any) -> None:
    certificate = self_signed(here / "certificate.pem")
    login = {"smtp_user": "exports", "smtp_password": "${secret:env:MAIL_PASSWORD}", "ca_file": str(certificate)}
    for over_tls in (False, True):
        box.mails.clear()
        with smtp(box, certificate, over_tls) as port, pytest.MonkeyPatch.context() as patch:
            asked = config(port, tls="ssl" if over_tls else "starttls", **login, emails=TEAM[:1],
                           grouper={"name": "file_key", "options": {"keys": ["g"]}})  # fmt: skip
            patch.setenv("MAIL_PASSWORD", PASSWORD)
            report = exporters_beam.run(asked)
            patch.setenv("MAIL_PASSWORD", "another-password")
            with pytest.raises(DestinationError, match=r"option smtp_password: .* does not let exports in \(it said 535"):
                exporters_beam.run(asked)
            asked["writer"]["options"].pop("ca_file")
            with pytest.raises(DestinationError, match=r"option ca_file: the certificate of 127.0.0.1 is not trusted"):
                exporters_beam.run(asked)
        found = {attached(each)[0]: [record["g"] for record in records_in(each)] for each in box.mails}
        assert found == {"part-0000-a.jl.gz": ["a"] * 20, "part-0000-b.jl.gz": ["b"] * 20}
    kept = [path.read_text() for path in here.rglob("*.json")]
    assert kept and not any(PASSWORD in text for text in (*kept, caplog.text, report.to_json()))
    with smtp(box) as port, pytest.raises(DestinationError, match=r"option tls: the server .* does not offer STARTTLS"):
        exporters_beam.run(config(port, tls="starttls"))


@pytest.mark.parametrize(
    ("options", "refuse", "told"),
    [
        (
            {},
            {"ann@example.org": "550 no such user"},
            r"option emails: .* Ann Other <ann@example.org> \(it said 550 no such user\)",
        ),
        ({"from": "nobody@example.org"}, {}, r"option from: .* nobody@example.org \(it said 553 5.7.1 nobody may not send\)"),
        ({"host": "127.0.0.1", "port": 9}, {}, r"option host: the server 127.0.0.1:9 cannot be reached \(.*refused\)"),
    ],
)
def test_what_the_server_refuses_is_told_before_anything_is_read(
    options: dict[str, Any], refuse: dict[str, str], told: str, box: Mailbox
) -> None:
    box.refuse = refuse
    with smtp(box) as port:
        asked = config(**{"port": port, **options})
        asked["reader"] = {"name": "fs", "options": {"input": "in.jl"}}
        Path("in.jl").write_text("this is no JSON")
        with pytest.raises(DestinationError, match=f"cannot mail: {told}"):
            exporters_beam.run(asked)
    assert box.mails == []


def test_more_files_than_may_be_mailed_are_told_before_the_first_mail(box: Mailbox) -> None:
    with smtp(box) as port:
        with pytest.raises(DestinationError, match="max_mails_sent: 8 files would be mailed, and 5 may be; nothing was mailed"):
            exporters_beam.run(config(port, items_per_buffer_write=5))
        assert box.mails == []
        exporters_beam.run(config(port, items_per_buffer_write=8))
    assert len(box.mails) == 10


def test_mails_that_are_too_large(box: Mailbox) -> None:
    with smtp(box, data_size_limit=1000) as port:
        with pytest.raises(DestinationError, match=r"max_mail_bytes: the mail would have [\d,]+ bytes, and 500 are allowed"):
            exporters_beam.run(config(port, max_mail_bytes=500))
        with pytest.raises(DestinationError, match=r"size_per_buffer_write: the mail has [\d,]+ bytes, .* \(it said 552"):
            exporters_beam.run(config(port, compression="none"))
    assert box.mails == []


def test_a_lost_connection_is_made_again_but_not_with_disable_retries(box: Mailbox, caplog: Any) -> None:
    box.lose = 2
    with smtp(box) as port:
        exporters_beam.run(config(port))
        assert [to for _, to in box.envelopes] == [["team@example.org"], ["ann@example.org"]]
        assert caplog.text.count("next try in 0 s: the server") == 2
        box.lose = 1
        with pytest.raises(DestinationError, match=r"cannot mail it: the server .* broke off"):
            exporters_beam.run(config(port, exporter_options={"disable_retries": True}))
        box.answers = ["451 4.3.0 try again later", "250 OK", "250 OK"]
        box.lose = 0
        exporters_beam.run(config(port, subject="again"))


def test_what_was_mailed_is_not_mailed_again_by_a_resumed_run(box: Mailbox) -> None:
    asked: Callable[..., dict[str, Any]] = lambda port, **more: config(  # noqa: E731
        port, items_per_buffer_write=20, exporter_options={"disable_retries": True, **more}
    )
    box.answers = ["250 OK", "250 OK", "250 OK", "554 this one not"]
    with smtp(box) as port:
        with pytest.raises(DestinationError, match=r"cannot mail it: .* \(it said 554 this one not\)"):
            exporters_beam.run(asked(port))
        sent = [(each["To"], attached(each), each["Message-ID"]) for each in box.mails]
        box.mails.clear()
        report = exporters_beam.run(asked(port, resume=True))
        assert [(each["To"], attached(each), each["Message-ID"]) for each in box.mails] == sent[3:]
        assert report.resumed == 40 and len(report.files) == 2
        again = exporters_beam.run(asked(port, resume=True))
        assert len(box.mails) == 1 and again.files == report.files
        exporters_beam.run(asked(port))
        assert len(box.mails) == 5, "a run from the start mails everything again"
        assert {each["Message-ID"] for each in box.mails} == {known for _, _, known in sent}
    assert not list(Path("state").rglob("handed-over-*"))


def test_a_run_that_is_killed_while_it_mails_is_gone_on_with(box: Mailbox, here: Path) -> None:
    """What was accepted and noted is not mailed again; the mail of which nobody heard is, with the same Message-ID."""
    run = [sys.executable, "-m", "exporters_beam", "run", "config.json"]
    with smtp(box) as port:
        Path("config.json").write_text(json.dumps(config(port, items_per_buffer_write=20)), encoding="utf-8")
        child = subprocess.Popen(run, stderr=subprocess.PIPE)
        box.third = lambda: os.kill(child.pid, signal.SIGKILL)
        complained = child.communicate()[1]
        assert child.returncode == -signal.SIGKILL, complained
        killed = [(each["To"], attached(each), each["Message-ID"]) for each in box.mails]
        assert len(killed) == 3
        assert main(["run", "config.json", "--resume"]) == 0
    sent = [(each["To"], attached(each), each["Message-ID"]) for each in box.mails]
    assert len(sent) == 5 and sent[3] == killed[2] and len({*map(repr, sent)}) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"emails": []}, "emails: give at least one address"),
        ({"emails": ["team@example.org", "ann"]}, r"emails\[1\]: 'ann' is not a mail address"),
        ({"from": "x@y.org\r\nBcc: z@y.org"}, "from: .* is not a mail address"),
        ({"generate_md5": True}, "generate_md5: this does not go with mails"),
        ({"smtp_password": "x"}, "smtp_password: give smtp_user, too"),
        ({"host": None}, "port: it is for a server of SMTP"),
        ({"file_name": "{day}-", "filebase": None}, r"file_name: '\{day\}-' has another placeholder than \{date\}"),
        ({"file_name": "x-"}, "file_name: give this or filebase, not both"),
        ({"tls": "some"}, "tls: "),
    ],
)
def test_wrong_options(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        exporters_beam.run(config(25, **options))


@pytest.fixture
def ses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """Gives the mails that SES has taken."""
    pytest.importorskip("boto3", reason="get it with: pip install 'exporters-beam[ses]'")
    moto = pytest.importorskip("moto.server", reason="get it with: pip install 'moto[server,ses]'")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SES", f"http://{host}:{port}")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)

    def taken() -> list[Any]:
        with urllib.request.urlopen(f"http://{host}:{port}/moto-api/data.json") as answer:
            return list(json.load(answer)["ses"].get("RawMessage", []))

    yield taken
    server.stop()


def test_an_old_config_mails_through_ses(ses: Callable[[], list[Any]], monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setenv("EXPORTERS_MAIL_AWS_ACCESS_KEY", "AKIAMAIL")
    monkeypatch.setenv("EXPORTERS_MAIL_AWS_SECRET_KEY", PASSWORD)
    writer = {
        "name": "exporters.writers.mail_writer.MailWriter",
        "options": {
            "emails": ["team@example.org", "ann@example.org"],
            "subject": "Products",
            "from": "exports@example.org",
            "file_name": "products-{date:%Y}-",
            "max_mails_sent": 2,
            "items_per_buffer_write": 30,
        },
    }
    old = {"reader": {"name": "exporters.readers.FSReader", "options": {"input": "in.jl"}}, "writer": writer}
    old["decompressor"] = {"name": "exporters.decompressors.NoDecompressor"}
    Path("in.jl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    Path("old.json").write_text(json.dumps(old), encoding="utf-8")
    assert main(["run", "old.json"]) == 1
    complained = capfd.readouterr().err
    assert "Amazon SES does not take the mail" in complained and "MessageRejected" in complained
    build(MailWriter, writer["options"]).connect().client.verify_email_identity(EmailAddress="exports@example.org")
    assert main(["migrate", "old.json", "-o", "new.yaml"]) == 0
    assert re.search(r"^writer:\n  name: mail$", Path("new.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    found = []
    for file in ("old.json", "new.yaml"):
        before = len(ses())
        assert main(["run", file]) == 0
        mails = [(each["destinations"], email.message_from_string(each["raw_data"], policy=email.policy.default))
                 for each in ses()[before:]]  # fmt: skip
        found.append(sorted((to[0], *attached(mail), len(records_in(mail))) for to, mail in mails))
        assert {mail["Subject"] for _, mail in mails} == {"Products"}
    assert found[0] == found[1] and [(to, name[-8:], count) for to, name, _, count in found[0]] == [
        ("ann@example.org", "-0.jl.gz", 30),
        ("ann@example.org", "-1.jl.gz", 10),
        ("team@example.org", "-0.jl.gz", 30),
        ("team@example.org", "-1.jl.gz", 10),
    ]
    assert PASSWORD not in capfd.readouterr().err + "".join(path.read_text() for path in Path("state").rglob("*.json"))
