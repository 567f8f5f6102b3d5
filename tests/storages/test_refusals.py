"""What storages refuse: one line that names the option and the server's answer, exit status 1, and no secret in it."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from exporters_beam.cli.main import main
from exporters_beam.components import registry

from hdfs_cluster import asked, rpc_port
from places import SECRET, Place, free_port

pytestmark = pytest.mark.servers

RANDOM = {"name": "random", "options": {"number_of_items": 10}}


@pytest.fixture
def run(tmp_path, capfd, monkeypatch):
    """Runs a config by the command line: run(reader=…, writer=…) gives (status, what is on standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(reader=None, writer=None, **sections) -> tuple[int, str]:
        config = {
            "reader": reader or RANDOM,
            "writer": writer or {"name": "fs", "options": {"filebase": "out/part-"}},
            **sections,
        }
        Path("config.json").write_text(json.dumps(config))
        capfd.readouterr()
        status = main(["run", "config.json"])
        told = capfd.readouterr().err
        assert SECRET not in told
        return status, told

    return run


def refused(found: tuple[int, str], *parts: str) -> None:
    status, told = found
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert status == 1 and len(lines) == 1, told
    for part in parts:
        assert part in lines[0]


def changed(section: dict, **options) -> dict:
    return {**section, "options": {**section["options"], **options}}


def test_s3_no_such_bucket(run, s3: Place):
    refused(run(writer=changed(s3.writer("out/a-"), bucket="nowhere")), "option bucket", "'nowhere'", "NoSuchBucket")
    refused(run(reader=changed(s3.source("in/"), bucket="nowhere")), "option bucket", "'nowhere'", "NoSuchBucket")


def test_s3_wrong_keys(run, s3: Place):
    for section, name in ((s3.writer("out/a-"), "writer"), (s3.source("in/"), "reader")):
        wrong = changed(section, aws_access_key_id="nobody")
        refused(run(**{name: wrong}), "option aws_access_key_id", "InvalidAccessKeyId")
        wrong = changed(section, aws_secret_access_key=f"{SECRET}-of-another")
        refused(run(**{name: wrong}), "option aws_secret_access_key", "SignatureDoesNotMatch")


def test_s3_no_keys_at_all(run, s3: Place, monkeypatch):
    section = s3.writer("out/a-")
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        del section["options"][name]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    refused(run(writer=section), "option aws_access_key_id", "no credentials were given")


def test_s3_no_server(run, s3: Place):
    section = changed(s3.writer("out/a-"), host=f"http://127.0.0.1:{free_port()}")
    section["options"]["bucket"] = "b"
    refused(run(writer={**section}), "option host", "cannot be reached")


def test_s3_no_permission(run, s3: Place):
    answers = Answers(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
    with answers as url:
        refused(run(writer=changed(s3.writer("out/a-"), host=url)), "option bucket", "no permission", "AccessDenied")
        refused(run(reader=changed(s3.source("in/"), host=url)), "option bucket", "no permission", "AccessDenied")


def test_s3_expired_credentials(run, s3: Place):
    answers = Answers(400, "<Error><Code>ExpiredToken</Code><Message>The token has expired</Message></Error>")
    with answers as url:
        refused(run(writer=changed(s3.writer("out/a-"), host=url)), "option aws_session_token", "ExpiredToken")
        refused(run(reader=changed(s3.source("in/"), host=url)), "option aws_session_token", "ExpiredToken")


def test_s3_pointers_and_prefixes(run, s3: Place):
    section = s3.source("")
    del section["options"]["prefix"]
    refused(run(reader=changed(section, prefix_pointer="LAST")), "option prefix_pointer", "there is no object", "/LAST")
    refused(run(reader=s3.source("nowhere/")), "option prefix", "there is nothing at", "nowhere/")


def test_gcs(run, gcs: Place):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    refused(run(writer=changed(gcs.writer("out/a-"), bucket="nowhere")), "option bucket", "'nowhere'")
    refused(run(reader=changed(gcs.source("in/"), bucket="nowhere")), "option bucket", "'nowhere'")
    with Answers(401, '{"error": {"code": 401, "message": "Invalid Credentials"}}') as url:
        refused(run(writer=changed(gcs.writer("out/a-"), host=url)), "option credentials", "the server wants them")
        refused(run(reader=changed(gcs.source("in/"), host=url)), "option credentials", "the server wants them")
    with Answers(400, '{"error": "invalid_grant", "error_description": "Invalid JWT: it has expired"}') as url:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        given = {"client_email": "a@b", "private_key": pem, "token_uri": url, "type": "service_account"}
        found = run(writer=changed(gcs.writer("out/a-"), credentials=given))
        refused(found, "option credentials", "invalid_grant")
        assert pem[40:60] not in found[1]
    with Answers(403, '{"error": {"code": 403, "message": "not allowed to storage.objects.create"}}') as url:
        refused(run(writer=changed(gcs.writer("out/a-"), host=url)), "option bucket", "storage.objects.create")


def test_gcs_without_a_server(run, gcs: Place):
    section = changed(gcs.writer("out/a-"), host=f"http://127.0.0.1:{free_port()}")
    refused(run(writer=section, exporter_options={"disable_retries": True}), "option host", "cannot be reached")


def test_sftp(run, sftp: Place, monkeypatch):
    section = sftp.writer("out/a-")
    refused(run(writer=changed(section, known_hosts=str(Path(__file__)))), "option known_hosts", "cannot be read")
    Path("known").write_text("")
    refused(run(writer=changed(section, known_hosts="known")), "option known_hosts", "ssh-keyscan")
    wrong = changed(section, sftp_password="${secret:env:WRONG_PASSWORD}", private_key_file=None)
    monkeypatch.setenv("WRONG_PASSWORD", SECRET)
    refused(run(writer=wrong), "option sftp_password", "does not let")
    refused(run(writer=changed(section, port=free_port())), "option host", "cannot be reached")
    refused(run(reader=sftp.source("nowhere")), "option path", "there is nothing at")
    refused(run(writer=sftp.writer("/proc/no/a-")), "cannot deliver", "/proc/no")


@pytest.mark.parametrize(("name", "module"), [("s3", "boto3"), ("gcs", "google.cloud.storage"), ("sftp", "paramiko"),
                                              ("azure_file", "azure.storage.fileshare"), ("hdfs", "hdfs"),
                                              ("gdrive", "googleapiclient.discovery"), ("dropbox", "dropbox")])  # fmt: skip
def test_a_missing_package_is_named(name, module, run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    options = {"s3": {"bucket": "b"}, "gcs": {"bucket": "b", "project": "p"}, "sftp": {"host": "h"}, "hdfs": {"host": "h"},
               "azure_file": {"share": "s", "account_name": "a", "account_key": "aw=="},
               "gdrive": {}, "dropbox": {"access_token": "t"}}[name]  # fmt: skip
    extra = name.replace("_", "-")
    assert registry.find("writer", name).extra == extra
    status, told = run(writer={"name": name, "options": {**options, "filebase": "out/a-"}})
    assert status == 2 and f'pip install "exporters-beam[{extra}]"' in told
    where = {"path": "in"} if name in ("sftp", "hdfs", "gdrive", "dropbox") else {}
    options.pop("project", None)
    status, told = run(reader={"name": name, "options": {**options, **where}})
    assert status == 2 and f'pip install "exporters-beam[{extra}]"' in told
    assert main(["validate", "config.json"]) == 0


def test_secrets_of_the_environment_stay_references(s3: Place, run, monkeypatch, tmp_path):
    """What the variables hold stands in no staged file, no book and no pickle."""
    import pickle

    from exporters_beam.config.spec import load
    from exporters_beam.planning.plan import make

    monkeypatch.setenv("EXPORTERS_S3WRITER_AWS_LOGIN", "rootkey")
    monkeypatch.setenv("EXPORTERS_S3WRITER_AWS_SECRET", SECRET)
    section = s3.writer("out/a-")
    del section["options"]["aws_access_key_id"], section["options"]["aws_secret_access_key"]
    status, told = run(writer=section)
    assert status == 0, told
    plan = make(load({"reader": RANDOM, "writer": section}))
    assert SECRET.encode() not in pickle.dumps((plan.writer, plan.told))
    plan = make(load({"reader": RANDOM, "writer": s3.writer("out/a-")}))
    assert SECRET not in repr(plan.told)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "config.json":
            assert SECRET.encode() not in path.read_bytes()


class Answers:
    """A server that gives every request the same answer."""

    def __init__(self, status: int, body: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                kind = "application/json" if body.startswith("{") else "application/xml"
                self.send_header("Content-Type", kind)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body.encode())

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.parametrize("name", ["ftp", "ftps"])
def test_ftp(name, run, request):
    place: Place = request.getfixturevalue(name)
    section = place.writer("out/a-")
    found = run(writer=changed(section, ftp_password=f"{SECRET}-of-another"))
    refused(found, "option ftp_password", "530")
    refused(run(writer=changed(section, port=free_port())), "option host", "cannot be reached")
    refused(run(reader=place.source("nowhere")), "option path", "there is nothing at")
    if name == "ftps":
        refused(run(writer=changed(section, ca_file=None)), "option ca_file", "is not trusted")
        refused(run(writer=changed(section, tls=False, ca_file=None)), "the server refused", "TLS")


def test_azure(run, azure_blob: Place):
    section = azure_blob.writer("out/a-")
    wrong = "d3Jvbmcga2V5IG9mIHRoZSBhY2NvdW50"
    found = run(writer=changed(section, account_key=wrong))
    refused(found, "option account_key", "Auth")
    assert wrong not in found[1]
    refused(run(reader=changed(azure_blob.source("in/"), container="nowhere")), "option container", "'nowhere'")
    refused(run(writer=changed(section, container="No Name")), "option container")
    refused(run(writer=changed(section, host=f"http://127.0.0.1:{free_port()}/devstoreaccount1"),
                exporter_options={"disable_retries": True}), "option host", "cannot be reached")  # fmt: skip
    nothing = changed(section, account_key=None)
    refused(run(writer=nothing), "option account_key", "it is missing")


def test_azure_files(run, azure_file: Place):
    service, section = azure_file.made, azure_file.writer("out/a-")
    for wrong in ("d3Jvbmcga2V5IG9mIHRoZSBhY2NvdW50", "no base64"):
        found = run(writer=changed(section, account_key=wrong))
        refused(found, "option account_key")
        assert wrong not in found[1]
        refused(run(reader=changed(azure_file.source("in"), account_key=wrong)), "option account_key")
    assert "AuthenticationFailed" in run(writer=changed(section, account_key="d3Jvbmcga2V5"))[1]
    found = run(writer=changed(section, account_key=None, sas_token=f"sv=1&sig={SECRET}"))
    refused(found, "option account_key", "AuthenticationFailed")
    refused(run(writer=changed(section, account_key=None)), "option account_key", "it is missing")
    refused(run(writer=changed(section, account_name=None)), "option account_name", "it is missing")
    refused(run(reader=changed(azure_file.source("in"), share="nowhere")), "option share", "'nowhere'", "ShareNotFound")
    refused(run(reader=azure_file.source("nowhere")), "option path", "there is nothing at", "nowhere")
    refused(run(writer=changed(section, host=f"http://127.0.0.1:{free_port()}/shop"),
                exporter_options={"disable_retries": True}), "option host", "cannot be reached")  # fmt: skip
    service.forbidden = "AuthorizationFailure"
    refused(run(writer=section), "option share", "no permission in the share 'products'", "AuthorizationFailure")
    refused(run(reader=azure_file.source("in")), "option share", "no permission", "AuthorizationFailure")
    service.forbidden = "AuthorizationPermissionMismatch"
    refused(run(writer=section), "option share", "no permission", "AuthorizationPermissionMismatch")
    service.forbidden = ""
    refused(run(writer=changed(section, share="No Name")), "option share", "'No Name' is not a valid name of a share")
    refused(run(writer=changed(section, filebase="out/a:b-")), "cannot deliver", "InvalidResourceName")
    assert all(told.endswith("contains invalid characters.") for told in service.wrong) and len(service.wrong) >= 2
    service.wrong.clear()


def test_hdfs(run, hdfs: Place):
    section = hdfs.writer("out/a-")
    refused(run(writer=changed(section, filebase="/mine/a-")), "option hdfs_user", "Permission denied: user=shop")
    refused(run(writer=changed(section, hdfs_user="nobody")), "option hdfs_user", "Permission denied: user=nobody")
    hdfs.put("in/a.jl", b"{}")
    forbidden = changed(hdfs.source("/user/shop/in/a.jl"), hdfs_user="nobody")
    asked(hdfs.made, "PUT", "/user/shop/in", "op=SETPERMISSION&permission=700")
    refused(run(reader=forbidden), "option hdfs_user", "Permission denied: user=nobody")
    refused(run(reader=changed(hdfs.source("/user/shop/in"), hdfs_user="nobody")), "option hdfs_user", "denied")
    refused(run(reader=hdfs.source("nowhere")), "option path", "there is nothing at", "nowhere")
    refused(run(writer=changed(section, port=free_port())), "option host", "cannot be reached", "refused")
    refused(run(writer=changed(section, port=rpc_port(hdfs.made))), "option port", "Hadoop's own protocol", "9870")
    refused(run(writer=changed(section, filebase="in/a.jl/b-")), "cannot deliver", "is not a directory")
    refused(run(writer=changed(section, filebase="in/a:b-")), "cannot deliver", "Invalid path name")
    refused(run(writer=changed(section, filebase="in/#LATEST/b-")), "cannot deliver", "#LATEST")
    with Answers(401, "{}") as url:
        port = int(url.rpartition(":")[2])
        refused(run(writer=changed(section, port=port)), "option hdfs_user", "Kerberos")
    with Answers(503, "{}") as url:
        port = int(url.rpartition(":")[2])
        once = {"disable_retries": True}
        refused(run(writer=changed(section, port=port), exporter_options=once), "too much to do", "503")


def test_gdrive(run, gdrive: Place, monkeypatch, tmp_path):
    section, source = gdrive.writer("out/a-"), gdrive.source("in/")
    refused(run(writer=changed(section, folder_id="nowhere")), "option folder_id", "'nowhere'", "notFound")
    refused(run(reader=changed(source, folder_id="nowhere")), "option folder_id", "'nowhere'", "notFound")
    refused(run(reader=source), "option path", "there is nothing at", "/in/")
    for wrong in ({"token": f"{SECRET}-of-another"},
                  {**gdrive.options["credentials"], "refresh_token": f"{SECRET}-of-another"}):  # fmt: skip
        refused(run(writer=changed(section, credentials=wrong)), "option credentials", "does not take them")
        refused(run(reader=changed(source, credentials=wrong)), "option credentials", "does not take them")
    refused(run(writer=changed(section, credentials="{")), "option credentials", "not a JSON object")
    gdrive.made.may_read_only.add(gdrive.options["folder_id"])
    refused(run(writer=section), "option folder_id", "no permission")
    nowhere = changed(section, host=f"http://127.0.0.1:{free_port()}")
    refused(run(writer=nowhere, exporter_options={"disable_retries": True}), "option host", "cannot be reached")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    refused(run(writer=changed(section, credentials=None)), "option credentials", "none were given")


def test_gdrive_no_permission_in_a_folder_below(run, gdrive: Place):
    gdrive.put("out/x", b"1")
    service = gdrive.made
    below = next(given for given, item in service.items.items()
                 if item.told["name"] == "out" and item.parents == [gdrive.options["folder_id"]])  # fmt: skip
    service.may_read_only.add(below)
    refused(run(writer=gdrive.writer("out/a-")), "option folder_id", "no permission", "insufficientFilePermissions")


def test_gdrive_options(run, gdrive: Place):
    section = gdrive.writer("out/a-")
    for options, why in (
        ({"credentials": {"type": "service_account", "client_email": "a@b"}}, "credentials: this is not a key"),
        ({"credentials": {"client_id": "a"}}, "credentials: they are neither of a user"),
        ({"credentials": {"refresh_token": SECRET}}, "client_secret: it is missing"),
        ({"folder_id": "a/b"}, "folder_id: 'a/b' is not an ID"),
    ):
        status, told = run(writer=changed(section, **options))
        assert status == 2 and why in told


def test_dropbox(run, dropbox: Place):
    section, source = dropbox.writer("out/a-"), dropbox.source("in/")
    service, token = dropbox.made, dropbox.options["access_token"]
    for changes, option in (
        ({"access_token": f"{SECRET}-of-another"}, "access_token"),
        ({"access_token": None, "refresh_token": f"{SECRET}-of-another", "app_key": "app"}, "refresh_token"),
    ):
        refused(run(writer=changed(section, **changes)), f"option {option}", "invalid_access_token")
        refused(run(reader=changed(source, **changes)), f"option {option}", "invalid_access_token")
    refused(run(reader=source), "option path", "there is nothing at dropbox:///in/")
    refused(run(writer=changed(section, access_token=None)), "option access_token", "it is missing")
    refused(run(writer=changed(section, access_token=f"{SECRET}\n")), "option access_token", "it is not a token")
    nowhere = changed(section, host=f"http://127.0.0.1:{free_port()}")
    refused(run(writer=nowhere, exporter_options={"disable_retries": True}), "option host", "cannot be reached")
    service.scopes[token] = {"files.metadata.read"}
    refused(run(writer=section), "option access_token", "no permission", "files.content.write")
    service.scopes[token] = set()
    refused(run(reader=source), "option access_token", "no permission", "files.metadata.read")
    del service.scopes[token]
    service.accounts[token].full = True
    refused(run(writer=section), "the Dropbox is full", "path/insufficient_space")
    service.expired.add(token)
    refused(run(writer=section), "option access_token", "expired_access_token")
    status, told = run(writer=changed(section, access_token=None, refresh_token=SECRET))
    assert status == 2 and "app_key: it is missing" in told
