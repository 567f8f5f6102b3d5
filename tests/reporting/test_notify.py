"""Notifications against a real HTTP server on this machine, and mails against moto's SES where it is installed."""

from __future__ import annotations

import importlib.util
import json
import logging
import pickle
import socket
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import exporters_beam
from exporters_beam import web
from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.reporting import notify
from exporters_beam.reporting.notify import SesMailNotifier, WebhookNotifier

FAILED = {"error": "disk full", "stack_trace": "Traceback …\nOSError: disk full"}


class Server:
    """Answers POST with the given statuses in turn (the last one for ever) and keeps what it was sent."""

    def __init__(self) -> None:
        server = self
        self.requests: list[tuple[str, str, dict, bytes]] = []
        self.answers: list[tuple[int, dict]] = [(200, {})]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(body) for _, _, _, body in self.requests]

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def slept():
    return []


def webhook(*endpoints, slept=None, **more):
    return WebhookNotifier(endpoints=endpoints, sleep=(slept if slept is not None else []).append, **more)


def test_the_bodies_of_every_event(server):
    notifier = webhook(f"{server.url}/hook?a=1")
    notifier.send("started", {"config": {"secret": 1}})
    notifier.send("complete", {"counts": {"written": 3}})
    notifier.send("failed", FAILED)
    notifier.send("failed", {"error": "disk full", "stack_trace": ""})
    assert [body for _, _, _, body in server.requests] == [
        b'{"job_status": "STARTED"}',
        b'{"job_status": "COMPLETED"}',
        b'{"job_status": "FAILED", "msg": "disk full", "stack_trace": "Traceback \\u2026\\nOSError: disk full"}',
        b'{"job_status": "FAILED", "msg": "disk full"}',
    ]
    method, path, headers, _ = server.requests[0]
    assert (method, path, headers["Content-Type"]) == ("POST", "/hook?a=1", "application/json")


def test_every_endpoint_is_told_in_order_even_when_one_fails(server, slept, caplog):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/dead"
    webhook(f"{server.url}/1", dead, f"{server.url}/2", slept=slept, attempts=2).send("started", {})
    assert [path for _, path, _, _ in server.requests] == ["/1", "/2"]
    assert "Connection refused" in caplog.text


def test_statuses_that_are_no_success_are_tried_again(server, slept, caplog):
    server.answers = [(500, {}), (404, {}), (503, {}), (204, {})]
    webhook(server.url, slept=slept).send("started", {})
    assert len(server.requests) == 4
    assert slept == [2, 4, 8]
    assert "HTTP status 500" in caplog.text


def test_after_the_last_attempt_it_is_a_warning(server, slept, caplog):
    server.answers = [(500, {})]
    with caplog.at_level(logging.WARNING):
        webhook(f"{server.url}/services/canary", slept=slept).send("complete", {})
    assert len(server.requests) == 10
    assert slept == [2, 4, 8, 10, 10, 10, 10, 10, 10]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert caplog.messages[-1] == "the webhook at 127.0.0.1 was not called: HTTP status 500"
    assert "canary" not in caplog.text


def test_a_login_in_the_address_and_text_that_has_to_be_escaped(server, caplog):
    webhook(server.url.replace("http://", "http://me:c%40nary@") + "/hök?a=é&b=%20").send("started", {})
    _, path, headers, _ = server.requests[0]
    assert path == "/h%C3%B6k?a=%C3%A9&b=%20"
    assert headers["Authorization"] == "Basic bWU6Y0BuYXJ5"
    assert "canary" not in caplog.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_followed_with_the_same_body(server, status):
    server.answers = [(status, {"Location": "/other"}), (200, {})]
    webhook(f"{server.url}/hook").send("started", {})
    assert [(method, path) for method, path, _, _ in server.requests] == [("POST", "/hook"), ("POST", "/other")]
    assert server.bodies == [{"job_status": "STARTED"}] * 2


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://[::ffff:169.254.1.1]/"])
def test_link_local_addresses_are_never_called(server, target, slept, caplog):
    server.answers = [(302, {"Location": target})]
    webhook(f"{server.url}/hook", slept=slept).send("started", {})
    webhook(target, slept=slept).send("started", {})
    assert slept == []
    assert caplog.text.count("link-local addresses and those of metadata services are not called") == 2


def test_a_name_that_leads_to_a_link_local_address_is_not_sent_to(server, monkeypatch, slept, caplog):
    monkeypatch.setattr(web, "refuse_metadata", refuse_loopback(web.refuse_metadata))
    webhook(server.url.replace("127.0.0.1", "localhost"), slept=slept).send("started", {})
    assert server.requests == []
    assert "link-local" in caplog.text


def refuse_loopback(real):
    """127.0.0.1 in the place of a link-local address, which cannot be listened to here."""
    return lambda host: real("169.254.0.1" if host == "127.0.0.1" else host)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"])
def test_other_schemes_are_not_followed(server, target, slept, caplog):
    server.answers = [(302, {"Location": target})]
    webhook(server.url, slept=slept, attempts=1).send("started", {})
    assert len(server.requests) == 1
    assert "was not called" in caplog.text


def test_endless_redirects_end(server, slept, caplog):
    server.answers = [(302, {"Location": "/again"})]
    webhook(server.url, slept=slept, attempts=1).send("started", {})
    assert len(server.requests) < 15
    assert "was not called" in caplog.text


@pytest.mark.parametrize("endpoint", ["ftp://x", "x.org/hook", "http://", "", "http://x y/", "http://x:port/", "http://[::1"])
def test_endpoints_that_are_no_addresses(endpoint):
    with pytest.raises(ConfigError, match=r"^endpoints\[1\]: "):
        WebhookNotifier(endpoints=("https://hooks.example.org/a", endpoint))


def test_an_endpoint_may_be_a_secret(server, monkeypatch, caplog):
    config = {
        "reader": "random",
        "writer": "console",
        "exporter_options": {"notifications": [{"name": "webhook", "options": {"endpoints": ["${secret:env:HOOK}"]}}]},
    }
    notifier = load(config, environ={}).notifications[0].component
    notifier.send("started", {})
    assert "the environment variable HOOK is not set" in caplog.text
    monkeypatch.setenv("HOOK", f"{server.url}/canary")
    notifier.send("started", {})
    assert [path for _, path, _, _ in server.requests] == ["/canary"]
    assert "canary" not in caplog.text + repr(notifier)


def test_no_endpoints_is_no_call():
    webhook().send("started", {})


def test_notifiers_can_be_pickled():
    for made in (WebhookNotifier(endpoints=("http://x",)), mailer(team_mails=["a@b"])):
        assert pickle.loads(pickle.dumps(made)) == made


# Mail


def mailer(**options):
    given = {"access_key": "AK", "secret_key": "SK", "mail_from": "exports@example.org", **options}
    return build(SesMailNotifier, given, {})


CONFIG = {
    "writer": {
        "name": "exporters.writers.ftp_writer.FTPWriter",
        "options": {"filebase": "out/x", "host": "ftp.example.org", "port": 21, "ftp_password": "********"},
    }
}


def test_the_mail_at_the_start():
    told = list(
        mailer(client_mails=["c@x"], team_mails=["t@x", "u@x"], client_name="ACME").mails("started", {"config": CONFIG})
    )
    assert [(to, subject) for to, subject, _ in told] == [
        (["c@x"], "Started ACME export job"),
        (["t@x", "u@x"], "Started ACME export job"),
    ]
    assert told[0][2] == (
        "The export job started with these parameters:\n\nWriter: FTPWriter\nFilebase: out/x\nHost: ftp.example.org\nPort: 21\n"
    )


def test_options_of_writers_that_the_mail_tells():
    options = {
        "emails": ["a@b", "c@d"],
        "bucket": "b",
        "endpoint_url": "http://e",
        "project_id": 7,
        "collection_name": "c",
    }
    text = notify.started_text({"config": {"writer": {"name": "mail", "options": options}}})
    assert text.splitlines()[2:] == [
        "Writer: mail",
        "Bucket: b",
        "Email: a@b, c@d",
        "Endpoint URL: http://e",
        "Collection: https://dash.scrapinghub.com/p/7/collections/s/c",
    ]


@pytest.mark.parametrize("config", [None, {}, {"writer": "console"}, {"writer": {"name": "console"}},
                                    {"writer": {"name": "console", "options": None}}])  # fmt: skip
def test_a_writer_without_options_is_no_trouble(config):
    for event in notify.EVENTS:
        assert list(mailer(team_mails=["t@x"]).mails(event, {"config": config} if config is not None else {}))


def test_the_mail_at_the_end():
    notifier = mailer(team_mails=["t@x"], client_name="A\r\nBcc: x")
    ((_, subject, text),) = notifier.mails("complete", {"counts": {"written": 1234}, "config": CONFIG})
    assert subject == "A Bcc: x export job finished"
    assert text == "The export job finished successfully.\nTotal records exported: 1234\n"
    ((_, _, text),) = notifier.mails("complete", {"counts": {"written": 1234}, "accurate": False})
    assert "1234" not in text


def test_the_mail_of_a_failure_goes_to_the_team_only(monkeypatch):
    monkeypatch.setenv("SHUB_JOBKEY", "123/4/5")
    notifier = mailer(client_mails=["c@x"], team_mails=["t@x"])
    ((to, subject, text),) = notifier.mails("failed", {**FAILED, "config": CONFIG})
    assert (to, subject) == (["t@x"], "Failed export job for Customer")
    assert "disk full" in text
    assert "Job key: 123/4/5\nJob: https://dash.scrapinghub.com/p/123/job/4/5\n" in text
    assert "OSError: disk full" in text
    assert json.loads(text.partition("Configuration:\n")[2]) == CONFIG
    assert list(mailer(client_mails=["c@x"]).mails("failed", FAILED)) == []


@pytest.mark.parametrize("address", ["nobody", "@x", "x@", "", "a@b\nBcc: c@d"])
def test_addresses_that_are_none(address):
    with pytest.raises(ConfigError, match=r"^team_mails\[1\]: .* is not a mail address"):
        mailer(team_mails=["a@b", address])


def test_credentials_come_from_the_environment_too():
    environ = {
        "EXPORTERS_MAIL_AWS_ACCESS_KEY": "a", "EXPORTERS_MAIL_AWS_SECRET_KEY": "s", "EXPORTERS_MAIL_FROM": "me@x",
    }  # fmt: skip
    assert build(SesMailNotifier, {}, environ).mail_from == "me@x"
    with pytest.raises(ConfigError, match="EXPORTERS_MAIL_FROM"):
        build(SesMailNotifier, {}, {})


def test_without_boto3_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r'pip install "exporters-beam\[ses\]"'):
        mailer(team_mails=["a@b"]).send("started", {})
    mailer().send("started", {})


class Client:
    """Refuses a number of times."""

    def __init__(self, *errors):
        self.errors, self.sent = list(errors), []

    def send_email(self, **mail):
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(mail)


class Refusal(Exception):
    def __init__(self, status, code):
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
        super().__init__(code)


@pytest.mark.parametrize(("errors", "sent", "waited"), [
    ([OSError("reset"), Refusal(503, "Unavailable"), Refusal(400, "Throttling")], 1, [2, 4, 8]),
    ([Refusal(400, "MessageRejected")], 0, []),
    ([OSError("reset")] * 99, 0, [2, 4, 8, 10, 10, 10, 10, 10, 10]),
])  # fmt: skip
def test_mails_are_tried_again_where_that_may_help(monkeypatch, caplog, errors, sent, waited):
    client, slept = Client(*errors), []
    monkeypatch.setattr(SesMailNotifier, "_client", lambda self: client)
    notifier = SesMailNotifier(team_mails=("t@x",), access_key="a", secret_key="canary", mail_from="f@x", sleep=slept.append)
    notifier.send("started", {})
    assert (len(client.sent), slept) == (sent, waited)
    assert "a mail was not sent" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("boto3", "moto", "flask")),
    reason="needs boto3 and moto's server: pip install boto3 'moto[server,ses]'",
)
def test_mails_through_ses(monkeypatch):
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SES", f"http://{host}:{port}")
        monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
        notifier = mailer(client_mails=["c@x.org"], team_mails=["t@x.org", "u@x.org"])
        notifier._client().verify_email_identity(EmailAddress="exports@example.org")
        notifier.send("complete", {"counts": {"written": 3}})
        with urllib.request.urlopen(f"http://{host}:{port}/moto-api/data.json") as answer:
            kept = json.load(answer)["ses"]["Message"]
        assert [mail["subject"] for mail in kept] == ["Customer export job finished"] * 2
        assert [mail["destinations"]["ToAddresses"] for mail in kept] == [["c@x.org"], ["t@x.org", "u@x.org"]]
        assert kept[0]["source"] == "exports@example.org"
    finally:
        server.stop()


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("boto3", "moto", "flask")),
    reason="needs boto3 and moto's server: pip install boto3 'moto[server,ses]'",
)
@pytest.mark.parametrize("failing", [False, True])
def test_an_old_config_tells_of_itself(server, failing, tmp_path, monkeypatch):
    from moto.server import ThreadedMotoServer

    (tmp_path / "in.jl").write_text('{"a": 1}\n' + ("no JSON\n" if failing else ""), encoding="utf-8")
    ses = ThreadedMotoServer("127.0.0.1", 0)
    ses.start()
    host, port = ses.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SES", f"http://{host}:{port}")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    options = {
        "team_mails": ["t@x.org"],
        "client_mails": ["c@x.org"],
        "access_key": "k",
        "secret_key": "s",
        "mail_from": "e@x.org",
    }
    notifications = [
        {"name": "exporters.notifications.webhook_notifier.WebhookNotifier", "options": {"endpoints": [server.url]}},
        {"name": "exporters.notifications.ses_mail_notifier.SESMailNotifier", "options": options},
    ]

    def kept():
        with urllib.request.urlopen(f"http://{host}:{port}/moto-api/data.json") as answer:
            return json.load(answer)["ses"].get("Message", [])

    try:
        build(SesMailNotifier, options)._client().verify_email_identity(EmailAddress="e@x.org")
        before = len(kept())
        config = {
            "reader": {"name": "exporters.readers.FSReader", "options": {"input": str(tmp_path / "in.jl")}},
            "decompressor": {"name": "exporters.decompressors.NoDecompressor"},
            "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": f"{tmp_path}/out/"}},
            "exporter_options": {"notifications": notifications},
        }
        if failing:
            with pytest.raises(exporters_beam.ExportError):
                exporters_beam.run(config)
        else:
            exporters_beam.run(config)
        mails = kept()[before:]
    finally:
        ses.stop()
    assert [body["job_status"] for body in server.bodies] == ["STARTED", "FAILED" if failing else "COMPLETED"]
    told = [(mail["subject"], mail["destinations"]["ToAddresses"]) for mail in mails]
    started = [("Started Customer export job", ["c@x.org"]), ("Started Customer export job", ["t@x.org"])]
    ended = [("Customer export job finished", ["c@x.org"]), ("Customer export job finished", ["t@x.org"])]
    assert told == started + ([("Failed export job for Customer", ["t@x.org"])] if failing else ended)
