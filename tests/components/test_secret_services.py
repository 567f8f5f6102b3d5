"""Secrets that services keep: AWS Secrets Manager as moto has it, Google's by a server that answers the one request."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.components import secret_services
from exporters_beam.components.secret import Secret, hide, reveal
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.storages.http import HttpReader

CANARY = "canary-77aa30-from-a-service"


def installed(name: str) -> bool:
    """Whether a module is there; looking for it imports the packages around it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


needs_aws = pytest.mark.skipif(
    not all(map(installed, ("boto3", "moto", "flask"))),
    reason="needs boto3 and moto's server: pip install boto3 'moto[server,secretsmanager]'",
)
needs_gcp = pytest.mark.skipif(
    not installed("google.cloud.secretmanager_v1"),
    reason="needs Google's client: pip install google-cloud-secret-manager",
)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_services, "_kept", {})


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SK")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    yield boto3.client("secretsmanager")
    server.stop()


class SecretManager:
    """Google Secret Manager as far as versions of secrets are read. Keeps what it was asked for."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}
        self.asked: list[str] = []
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.partition("?")[0].removeprefix("/v1/").removesuffix(":access")
                manager.asked.append(name)
                data = manager.secrets.get(name)
                if data is None:
                    status = 404
                    said: Any = {"error": {"code": 404, "message": f"Secret [{name}] not found.", "status": "NOT_FOUND"}}
                else:
                    status, said = 200, {"name": name, "payload": {"data": base64.b64encode(data).decode()}}
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def gcp(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    made = SecretManager()
    monkeypatch.setenv(secret_services.GCP_EMULATOR, f"127.0.0.1:{made.server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield made
    made.server.shutdown()
    made.server.server_close()


@needs_aws
def test_a_secret_of_aws_is_read_by_its_name_and_by_its_arn(aws):
    arn = aws.create_secret(Name="prod/db", SecretString=CANARY)["ARN"]
    aws.create_secret(Name="bytes", SecretBinary=CANARY.encode())
    for name in ("prod/db", arn, "bytes"):
        assert Secret(f"user:${{secret:aws:{name}}}@").resolve() == f"user:{CANARY}@"
    assert hide(f"401 for {CANARY}") == "401 for ${secret:aws:bytes}"


@needs_aws
def test_a_member_of_a_secret_that_is_json(aws):
    aws.create_secret(Name="prod/db", SecretString=json.dumps({"user": "me", "password": CANARY, "port": 5432, "more": {}}))
    assert Secret("${secret:aws:prod/db#user}:${secret:aws:prod/db#password}:${secret:aws:prod/db#port}").resolve() == (
        f"me:{CANARY}:5432"
    )
    for member, why in (("nope", "does not exist"), ("more", "is not a string")):
        with pytest.raises(ConfigError, match=rf"^\$\{{secret:aws:prod/db#{member}\}}: the member '{member}' .* {why}$"):
            Secret(f"${{secret:aws:prod/db#{member}}}").resolve()
    aws.create_secret(Name="plain", SecretString=CANARY)
    with pytest.raises(ConfigError, match="the secret is not a JSON object; leave #a out") as caught:
        Secret("${secret:aws:plain#a}").resolve()
    assert CANARY not in str(caught.value)


@needs_aws
def test_what_aws_refuses_is_told_with_the_option(aws, monkeypatch):
    reader = HttpReader(input="http://a.org/x", headers={"Authorization": Secret("Bearer ${secret:aws:nope}")})
    with pytest.raises(ConfigError) as caught:
        reveal(reader)
    assert str(caught.value) == (
        "option headers: ${secret:aws:nope}: AWS Secrets Manager does not give it where the export runs: Secrets Manager "
        "can't find the specified secret"
    )
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigError, match="does not give it where the export runs: You must specify a region"):
        Secret("${secret:aws:nope}").resolve()


@needs_gcp
def test_a_secret_of_google_cloud_is_read(gcp):
    gcp.secrets = {"projects/p/secrets/s/versions/latest": CANARY.encode(), "projects/p/secrets/s/versions/1": b"old-one",
                   "projects/p/secrets/json/versions/latest": b'{"password": "p4ss"}'}  # fmt: skip
    assert Secret("${secret:gcp:projects/p/secrets/s}").resolve() == CANARY
    assert Secret("${secret:gcp:projects/p/secrets/s/versions/1}").resolve() == "old-one"
    assert Secret("${secret:gcp:projects/p/secrets/json#password}").resolve() == "p4ss"
    assert Secret("${secret:gcp:projects/p/secrets/s}").resolve() == CANARY
    assert len(gcp.asked) == 3


@needs_gcp
def test_what_google_cloud_refuses_is_told(gcp):
    with pytest.raises(ConfigError, match=r"^\$\{secret:gcp:projects/p/secrets/s\}: Google Secret Manager does not give it "
                                          r"where the export runs: .*Secret \[projects/p/secrets/s/versions/latest\] not "
                                          r"found$"):  # fmt: skip
        Secret("${secret:gcp:projects/p/secrets/s}").resolve()
    gcp.secrets = {"projects/p/secrets/s/versions/latest": b"", "projects/p/secrets/t/versions/latest": b"\xff"}
    with pytest.raises(ConfigError, match="the secret is empty"):
        Secret("${secret:gcp:projects/p/secrets/s}").resolve()
    with pytest.raises(ConfigError, match="the secret is not UTF-8 text"):
        Secret("${secret:gcp:projects/p/secrets/t}").resolve()


@needs_gcp
def test_without_credentials_google_cloud_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv(secret_services.GCP_EMULATOR, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    with pytest.raises(ConfigError, match=r"does not give it where the export runs: File .*nothing\.json was not found"):
        Secret("${secret:gcp:projects/p/secrets/s}").resolve()


@pytest.mark.parametrize(("store", "name", "module", "extra"), [
    ("gcp", "projects/p/secrets/s", "google.cloud.secretmanager_v1", "gcp-secrets"), ("aws", "s", "boto3", "aws-secrets"),
])  # fmt: skip
def test_without_the_client_it_says_what_to_install(monkeypatch, store, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    reader = HttpReader(input="http://a.org/x", headers={"Authorization": Secret(f"${{secret:{store}:{name}}}")})
    with pytest.raises(MissingExtra) as caught:
        reveal(reader)
    assert str(caught.value) == (
        f"option headers: ${{secret:{store}:{name}}} needs a package that is not installed; run: pip install "
        f'"exporters-beam[{extra}]"'
    )


@needs_gcp
def test_worker_processes_read_them_and_nobody_else_sees_them(gcp, tmp_path: Path):
    """The server of the input wants the secret, and keeps nothing of it; the file is too large for one worker."""
    gcp.secrets["projects/p/secrets/token/versions/latest"] = CANARY.encode()

    class Input(BaseHTTPRequestHandler):
        def answer(self) -> None:
            right = self.headers.get("Authorization") == f"Bearer {CANARY}"
            body = b'{"id": 1}\n' * 1000
            self.send_response(200 if right else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Input)
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    config = {
        "reader": {"name": "http", "options": {
            "input": [f"http://127.0.0.1:{served.server_port}/{name}.jl" for name in "abcd"],
            "headers": {"Authorization": "Bearer ${secret:gcp:projects/p/secrets/token}"},
        }},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "compression": "none"}},
    }  # fmt: skip
    path = tmp_path / "export.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "exporters_beam", "run", str(path), "--workers", "2"]
    ran = subprocess.run(command, capture_output=True, text=True)
    served.shutdown()
    served.server_close()
    assert ran.returncode == 0, ran.stderr
    assert sum(part.read_bytes().count(b"\n") for part in tmp_path.glob("out/part-*.jl")) == 4000
    assert CANARY not in ran.stdout + ran.stderr
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
