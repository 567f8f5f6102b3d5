"""What is of Google Drive or of Dropbox alone: several files of one name, uploads in pieces, tokens, limits of rates."""

from __future__ import annotations

import hashlib
import io
import json
import random
from dataclasses import replace

import pytest

import exporters_beam
from exporters_beam.storages.base import Content, NotThere, StorageError, of_url

from clouds import Refused, content_hash
from helpers import jsonl
from places import SECRET, Place

pytestmark = pytest.mark.servers

RANDOM = {"name": "random", "options": {"number_of_items": 10}}
MIB = 1 << 20
DATA = random.Random(7).randbytes(10 * MIB + 5)


def content(data: bytes, token: str = "t") -> Content:
    return Content(len(data), hashlib.md5(data).hexdigest(), token=token)


def put(storage, name: str, data: bytes, token: str = "t"):
    return storage.put(name, io.BytesIO(data), content(data, token))


def titles(place: Place, parent: str | None = None) -> list[str]:
    """What is in a folder of the service, by its name."""
    parent = parent or place.options["folder_id"]
    return sorted(item.told["name"] for item in place.made.items.values()
                  if parent in item.parents and not item.told["trashed"])  # fmt: skip


def ids(place: Place, title: str) -> list[str]:
    return [given for given, item in place.made.items.items()
            if item.told["name"] == title and not item.told["trashed"] and root_of(place, given)]  # fmt: skip


def root_of(place: Place, given: str) -> bool:
    while parents := place.made.items[given].parents:
        given = parents[0]
    return given == place.options["folder_id"]


# Google Drive


def test_delivered_again_a_file_keeps_its_id(gdrive: Place):
    for data in (b"first", b"second"):
        put(gdrive.storage(), "out/a", data)
    assert len(ids(gdrive, "a")) == 1 and gdrive.get("out/a") == b"second"


def test_folders_are_made_once_one_in_the_other(gdrive: Place):
    """Also where names have quotes, and where the answer to making one is lost."""
    service = gdrive.made
    service.faults.append(("POST /drive/v3/files", 0, {}))
    for name in ("a/b/c", "/a/b/d", "a//./it's \\ 'quoted'/e"):
        put(gdrive.storage(), name, b"1")
    put(gdrive.storage(), "f", b"1")
    assert titles(gdrive) == ["a", "f"]
    assert titles(gdrive, ids(gdrive, "a")[0]) == ["b", "it's \\ 'quoted'"]
    assert titles(gdrive, ids(gdrive, "b")[0]) == ["c", "d"]
    assert gdrive.get("a/it's \\ 'quoted'/e") == b"1"


def test_files_of_one_name_are_all_read_and_the_oldest_is_replaced(gdrive: Place):
    service = gdrive.made
    put(gdrive.storage(), "in/a.jl", jsonl([{"n": 0}]))
    folder = ids(gdrive, "in")[0]
    other = service.add("a.jl", [folder], jsonl([{"n": 1}]), mimeType="text/plain")
    slash = service.add("b/c.jl", [folder], jsonl([{"n": 2}]), mimeType="text/plain")
    service.add("b", [folder], mimeType=service.FOLDER)
    service.add("a document", [folder], mimeType="application/vnd.google-apps.document")
    found = list(gdrive.storage().names("in"))
    assert "a document: passed over, since it is no file but document of Google" in found[0].text
    assert [each.name for each in found[1:]] == ["in/a.jl", f"in/a.jl?id={other}", f"in/b/c.jl?id={slash}"]
    assert gdrive.get(f"in/a.jl?id={other}") == jsonl([{"n": 1}])
    report = exporters_beam.run({"reader": gdrive.source("in"), "writer": gdrive.writer("out/p-", compression="none"),
                                 "exporter_options": {"prevent_bypass": True}})  # fmt: skip
    assert report.written == 3 and gdrive.get("out/p-0000.jl").count(b"\n") == 3
    report = exporters_beam.run({"reader": gdrive.source("in"), "writer": gdrive.writer("copy/")})
    assert len(report.files) == 3 and len({file["name"] for file in report.files}) == 3
    put(gdrive.storage(), "in/a.jl", b"new")
    assert [service.items[given].data for given in ids(gdrive, "a.jl")][:2] == [b"new", jsonl([{"n": 1}])]


def test_a_shared_drive_is_searched_by_its_id(gdrive: Place):
    service = gdrive.made
    service.items[gdrive.options["folder_id"]].told["driveId"] = "a-drive"
    put(gdrive.storage(), "out/a", b"1")
    service.searched.clear()
    assert [found.name for found in gdrive.storage().names("out")] == ["out/a"]
    for query in service.searched:
        assert (query["corpora"], query["driveId"], query["includeItemsFromAllDrives"]) == ("drive", "a-drive", "true")


def test_two_workers_put_the_same_new_file_at_once(gdrive: Place, monkeypatch):
    from exporters_beam.storages.gdrive import GoogleDriveStorage

    first = put(gdrive.storage(), "out/a", b"1")
    called, seen = GoogleDriveStorage._called, []

    def sees_nothing_at_first(self, title, folders, wanted):
        if not wanted and not seen:
            seen.append(title)
            return []
        return called(self, title, folders, wanted)

    monkeypatch.setattr(GoogleDriveStorage, "_called", sees_nothing_at_first)
    assert put(gdrive.storage(), "out/a", b"1") == first
    assert ids(gdrive, "a") == [first.etag.partition(":")[0]]
    seen.clear()
    put(gdrive.storage(), "out/a", b"1", token="of another export")
    assert len(ids(gdrive, "a")) == 2


def test_folders_of_one_name_are_one(gdrive: Place):
    """As two processes may make them that begin at the same time."""
    put(gdrive.storage(), "out/a", b"1")
    other = gdrive.made.add("out", [gdrive.options["folder_id"]], mimeType=gdrive.made.FOLDER)
    gdrive.made.add("b", [other], b"2", mimeType="text/plain")
    put(gdrive.storage(), "out/c", b"3")
    assert titles(gdrive, ids(gdrive, "out")[0]) == ["a", "c"]
    assert [found.name for found in gdrive.storage().names("out/")] == ["out/a", "out/b", "out/c"]
    assert gdrive.get("out/b") == b"2"


@pytest.mark.parametrize(("status", "pieces"), [(503, 11), (429, 11), (0, 10)])
def test_a_large_file_goes_in_pieces_and_a_broken_one_is_sent_again(gdrive: Place, monkeypatch, status, pieces):
    """A piece that was refused is sent again; one whose answer was lost is not."""
    monkeypatch.setattr("exporters_beam.storages.gdrive.CHUNK", MIB)
    service = gdrive.made
    put(gdrive.storage(), "out/x", b"")
    service.requests.clear()
    service.faults.append(("PUT /session", status, {}))
    put(gdrive.storage(), "out/a", DATA)
    assert gdrive.get("out/a") == DATA
    sent = [span for called, span in service.requests if called == "PUT /session" and not span.startswith("bytes */")]
    assert len(sent) >= pieces and len(set(sent)) == 11
    assert len(ids(gdrive, "a")) == 1


def test_an_upload_that_the_server_has_lost_begins_again(gdrive: Place, monkeypatch):
    monkeypatch.setattr("exporters_beam.storages.gdrive.CHUNK", MIB)
    service = gdrive.made
    act = type(service).session

    def loses(self, name, headers, body):
        if headers.get("content-range", "").startswith("bytes 2097152-") and not lost:
            lost.append(name)
            del self.sessions[name]
        return act(self, name, headers, body)

    lost: list[str] = []
    monkeypatch.setattr(type(service), "session", loses)
    put(gdrive.storage(), "out/a", DATA)
    assert lost and gdrive.get("out/a") == DATA and len(ids(gdrive, "a")) == 1


def test_an_upload_that_is_lost_again_and_again_fails(gdrive: Place, monkeypatch):
    monkeypatch.setattr("exporters_beam.storages.gdrive.CHUNK", MIB)
    monkeypatch.setattr("exporters_beam.storages.gdrive._pause", lambda *_: None)
    act = type(gdrive.made).session

    def loses(self, name, headers, body):
        if headers.get("content-range", "").startswith("bytes 2097152-"):
            self.sessions.pop(name, None)
        return act(self, name, headers, body)

    monkeypatch.setattr(type(gdrive.made), "session", loses)
    with pytest.raises(StorageError, match="Upload session not found"):
        put(gdrive.storage(), "out/a", DATA)
    assert ids(gdrive, "a") == []


def test_nothing_stays_that_arrived_otherwise(gdrive: Place):
    with pytest.raises(StorageError, match="MD5"):
        gdrive.storage().put("out/a", io.BytesIO(b"12345"), Content(5, "0" * 32, token="t"))
    with pytest.raises(NotThere):
        gdrive.storage().stat("out/a")


def test_long_listings_come_in_pages(gdrive: Place, dropbox: Place):
    for place in (gdrive, dropbox):
        for n in range(10):
            place.put(f"in/{n}", b"1")
        place.made.page = 3
        place.made.requests.clear()
        assert [found.name for found in place.storage().names("in")] == [f"in/{n}" for n in range(10)]
        asked = [called for called, _ in place.made.requests if called.startswith("GET /drive/v3/files")
                 or "list_folder" in called]  # fmt: skip
        assert len(asked) >= 4


def test_credentials_of_exporters_0_6_18(gdrive: Place):
    """The file of the OAuth client, and what its script had stored."""
    token = f"{SECRET}-of-the-old-script"
    gdrive.options["folder_id"] = gdrive.made.user(token)
    config = {
        "reader": RANDOM,
        "writer": {
            "name": "exporters.writers.gdrive_writer.GDriveWriter",
            "options": {
                "client_secret": {"installed": {"client_id": "c", "client_secret": "s",
                                                "token_uri": f"{gdrive.made.url}/token"}},
                "credentials": {"access_token": "old", "refresh_token": f"{token}-again", "token_expiry": "2016-01-01",
                                "_class": "OAuth2Credentials", "client_id": "c", "client_secret": "s"},
                "filebase": "/a/b/f-", "host": gdrive.made.url, "check_consistency": True, "generate_md5": True,
            },
        },
    }  # fmt: skip
    exporters_beam.run(config)
    assert titles(gdrive) == ["a"]
    assert titles(gdrive, ids(gdrive, "b")[0]) == [".exporters", "f-0000.jl.gz", "md5checksum.md5"]
    data = gdrive.made.items[ids(gdrive, "f-0000.jl.gz")[0]].data
    listed = gdrive.made.items[ids(gdrive, "md5checksum.md5")[0]].data
    assert listed.decode() == f"{hashlib.md5(data).hexdigest()} a/b/f-0000.jl.gz\n"


def test_credentials_from_files_stay_references(gdrive: Place, tmp_path):
    """What the file holds stands in no book, no manifest and no staged file, and in no file of Drive."""
    given = gdrive.options["credentials"]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/drive.json").write_text(json.dumps({"refresh_token": given["refresh_token"]}))
    app = {"web": {name: given[name] for name in ("client_id", "client_secret", "token_uri")}}
    (tmp_path / "keys/app.json").write_text(json.dumps(app))
    for name, file in (("credentials", "drive"), ("client_secret", "app")):
        gdrive.options[name] = f"${{secret:file:{tmp_path}/keys/{file}.json}}"
    report = exporters_beam.run({"reader": RANDOM, "writer": gdrive.writer("out/p-")})
    assert report.written == 10 and titles(gdrive, ids(gdrive, "out")[0]) == [".exporters", "p-0000.jl.gz"]
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.parent.name != "keys":
            assert SECRET.encode() not in path.read_bytes()


def test_a_service_account_acts_for_a_user(gdrive: Place):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    given = {"type": "service_account", "client_email": "a@b", "private_key": pem,
             "token_uri": f"{gdrive.made.url}/token"}  # fmt: skip
    folder = gdrive.made.user(f"{SECRET}-of-the-account")
    gdrive.made.refresh["a@b for user@example.org"] = f"{SECRET}-of-the-account"
    place = Place("gdrive", {"credentials": json.dumps(given), "host": gdrive.made.url, "folder_id": folder,
                             "subject": "user@example.org"}, made=gdrive.made)  # fmt: skip
    put(place.storage(), "a", b"1")
    assert place.get("a") == b"1"
    place.options["subject"] = None
    with pytest.raises(StorageError, match=r"option credentials: .*invalid_grant"):
        place.storage().probe()


# Dropbox


@pytest.mark.parametrize("called", ["append_v2", "finish", "start", "none"])
@pytest.mark.parametrize("status", [0, 503])
def test_an_upload_session_goes_on_where_it_broke(dropbox: Place, monkeypatch, called, status):
    monkeypatch.setattr("exporters_beam.storages.dropbox.CHUNK", 4 * MIB)
    service = dropbox.made
    service.requests.clear()
    service.faults.append((f"upload_session/{called}", status, {}))
    put(dropbox.storage(), "out/a", DATA)
    assert dropbox.get("out/a") == DATA
    appended = [asked for asked, _ in service.requests if asked.endswith("append_v2")]
    assert len(appended) == (3 if called == "append_v2" else 2)
    assert dropbox.storage().stat("out/a").metadata["content_hash"] == content_hash(DATA)


@pytest.mark.parametrize("called", ["append", "finish"])
def test_what_of_a_piece_has_arrived_is_not_sent_again(dropbox: Place, monkeypatch, called):
    """The server takes a part of a piece, or all of it without making the file, and fails."""
    monkeypatch.setattr("exporters_beam.storages.dropbox.CHUNK", 4 * MIB)
    act = getattr(type(dropbox.made), f"do_upload_session_{called}")

    def fails(self, account, given, data, headers):
        if not failed:
            failed.append(data)
            self.sessions[given.cursor.session_id]["data"] += data if called == "finish" else data[:100]
            raise Refused(500, b"come again later")
        return act(self, account, given, data, headers)

    failed: list[bytes] = []
    monkeypatch.setattr(type(dropbox.made), f"do_upload_session_{called}", fails)
    put(dropbox.storage(), "out/a", DATA)
    assert failed and dropbox.get("out/a") == DATA


def test_a_session_that_the_server_has_lost_begins_again(dropbox: Place, monkeypatch):
    monkeypatch.setattr("exporters_beam.storages.dropbox.CHUNK", 4 * MIB)
    act = type(dropbox.made).do_upload_session_finish

    def loses(self, account, given, data, headers):
        if not lost:
            lost.append(self.sessions.pop(given.cursor.session_id))
        return act(self, account, given, data, headers)

    lost: list[dict] = []
    monkeypatch.setattr(type(dropbox.made), "do_upload_session_finish", loses)
    put(dropbox.storage(), "out/a", DATA)
    assert lost and dropbox.get("out/a") == DATA


def test_nothing_appears_before_the_last_piece(dropbox: Place, monkeypatch):
    monkeypatch.setattr("exporters_beam.storages.dropbox.CHUNK", 4 * MIB)
    with pytest.raises(StorageError, match="not sent as it was built"):
        dropbox.storage().put("out/a", io.BytesIO(DATA), Content(len(DATA), "0" * 32))
    with pytest.raises(NotThere):
        dropbox.storage().stat("out/a")


def test_a_content_hash_that_differs_is_noticed(dropbox: Place, monkeypatch):
    monkeypatch.setattr("clouds.content_hash", lambda data: "0" * 64)
    monkeypatch.setattr("exporters_beam.storages.dropbox.CHUNK", 4 * MIB)
    with pytest.raises(StorageError, match="its content hash differs"):
        put(dropbox.storage(), "out/a", DATA)


def test_the_client_waits_as_long_as_the_server_says(dropbox: Place, monkeypatch):
    waited = []
    monkeypatch.setattr("dropbox.dropbox_client.time.sleep", waited.append)
    limit = ("files/upload", 429, {"Retry-After": "7"})
    dropbox.made.faults += [limit] * 2
    put(dropbox.storage(), "out/a", b"1")
    assert waited == [7, 7] and dropbox.get("out/a") == b"1"
    dropbox.made.faults += [limit] * 9
    with pytest.raises(StorageError, match="429: too many requests"):
        put(dropbox.storage(), "out/b", b"1")
    assert len(waited) == 6
    dropbox.made.faults[:] = [limit]
    with pytest.raises(StorageError, match="429: too many requests"):
        put(replace(dropbox.storage(), attempts=1), "out/b", b"1")
    assert len(waited) == 6


def test_a_refresh_token_gets_access_tokens(dropbox: Place):
    token = dropbox.options.pop("access_token")
    dropbox.options |= {"refresh_token": f"{token}-again", "app_key": "app"}
    put(dropbox.storage(), "out/a", b"1234567")
    with dropbox.storage().open(dropbox.storage().stat("out/a")) as stream:
        stream.seek(3)
        assert stream.read() == b"4567"


def test_names_that_are_one_in_dropbox_fail_the_export(dropbox: Place):
    for n, group in enumerate(("us", "US")):
        dropbox.put(f"in/{n}.jl", jsonl([{"group": group}]))
    config = {"reader": dropbox.source("in"), "writer": dropbox.writer("out/{groups[0]}-"),
              "grouper": {"name": "file_key", "options": {"keys": ["group"]}}}  # fmt: skip
    with pytest.raises(exporters_beam.ExportError, match=r"file names which Dropbox does not tell apart; nothing"):
        exporters_beam.run(config)


def test_the_old_config_with_the_token_of_the_environment(dropbox: Place, monkeypatch):
    monkeypatch.setenv("EXPORTERS_DROPBOXWRITER_TOKEN", dropbox.options["access_token"])
    config = {"reader": RANDOM, "writer": {
        "name": "exporters.writers.dropbox_writer.DropboxWriter",
        "options": {"filebase": "out/f-", "host": dropbox.made.url, "generate_md5": True},
    }}  # fmt: skip
    report = exporters_beam.run(config)
    assert report.files[0]["name"] == "dropbox:///out/f-0000.jl.gz"
    md5 = hashlib.md5(dropbox.get("out/f-0000.jl.gz")).hexdigest()
    assert dropbox.get("out/md5checksum.md5").decode() == f"{md5} /out/f-0000.jl.gz\n"
    storage, name = of_url("dropbox:///out/a b.gz")
    assert name == "out/a b.gz" and storage.access_token == dropbox.options["access_token"]


def test_copies_inside_the_service_send_nothing_through_this_machine(gdrive: Place, dropbox: Place, monkeypatch):
    for place in (gdrive, dropbox):
        place.put("in/a", b"1234")
        storage = place.storage()
        found = storage.stat("in/a")
        monkeypatch.setattr(type(storage), "open", None)
        there = storage.copy(storage, found, "out/a")
        assert there is not None and there.size == 4
        assert storage.copy(storage, found, "out/a") is None  # It is there: it is streamed and replaced.
        monkeypatch.undo()
        assert place.get("out/a") == b"1234"
        other = replace(storage, host=f"{storage.host}/")
        assert storage.beside(storage) and not other.beside(storage)
        assert other.copy(storage, found, "out/b") is None
