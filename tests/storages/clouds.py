"""Services that cannot be installed: what Google Drive and Dropbox answer to the calls that are used, over HTTP.

The real client libraries talk to them. What they send is checked against the description of the interface that the clients
bring: paths, methods and parameters of Drive's discovery document, argument and result types of Dropbox's routes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import traceback
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: Any, **headers: str) -> None:
        super().__init__(status, body)
        self.status, self.body, self.headers = status, body, headers


class Service:
    """What both have in common: a server on a free port, requests one at a time, and what a test wants to go wrong."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.faults: list[tuple[str, int, dict[str, str]]] = []
        """The next requests whose "METHOD path" has the text in it get that status, and the headers."""
        self.lock = threading.RLock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                wanted = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(wanted)
                if len(body) < wanted:  # The connection was cut: nothing of the request counts.
                    self.close_connection = True
                    return
                with service.lock:
                    status, headers, data = service.answer(self.command, self.path, dict(self.headers.items()), body)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # Connections that tests cut.

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        called = f"{method} {urlsplit(path).path}"
        self.requests.append((called, headers.get("Content-Range") or headers.get("content-range") or ""))
        headers = {name.lower(): value for name, value in headers.items()}
        fault = next((fault for fault in self.faults if fault[0] in called), None)
        if fault is not None:
            self.faults.remove(fault)
            if fault[1]:
                return fault[1], {"Content-Type": "text/plain", **fault[2]}, b"come again later"
        try:
            status, more, found = self.act(method, path, headers, body)
        except Refused as refused:
            status, more, found = refused.status, refused.headers, refused.body
        except Exception:  # A request that the service does not understand: the test is to say which.
            status, more, found = 400, {}, traceback.format_exc()[-600:].encode()
        if fault is not None:
            return 0, {}, b""  # It was done, and the answer is lost.
        if isinstance(found, bytes):
            return status, {"Content-Type": "application/octet-stream", **more}, found
        return status, {"Content-Type": "application/json", **more}, json.dumps(found).encode()

    def act(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        raise NotImplementedError


# Google Drive


@dataclass
class Item:
    """A file or folder."""

    told: dict[str, Any]
    parents: list[str]
    data: bytes = b""


def denied(status: int, reason: str, message: str) -> Refused:
    return Refused(status, {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}})


class Drive(Service):
    """Users by token, each with a root; what is in Drive by ID."""

    FOLDER = "application/vnd.google-apps.folder"

    def __init__(self) -> None:
        from googleapiclient.discovery_cache import get_static_doc

        self.described = json.loads(get_static_doc("drive", "v3"))
        self.items: dict[str, Item] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.given: set[str] = set()
        self.tokens: dict[str, str] = {}
        """Access tokens that are valid, and the root of their user."""
        self.refresh: dict[str, str] = {}
        """Refresh tokens, and the access token that they get."""
        self.may_read_only: set[str] = set()
        self.page = 1000
        self.searched: list[dict[str, str]] = []
        self._count = count(1)
        super().__init__()

    def user(self, token: str) -> str:
        """Let a token in; gives the ID of its root."""
        self.refresh[f"{token}-again"] = token
        self.tokens[token] = self.add("My Drive", [], mimeType=self.FOLDER)
        return self.tokens[token]

    def add(self, name: str, parents: list[str], data: bytes = b"", **told: Any) -> str:
        number = next(self._count)
        given = told.pop("id", f"ID{number:06}")
        made = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}.{number // 3600:03}Z"
        self.items[given] = Item({"id": given, "name": name, "createdTime": made, "trashed": False, **told}, parents)
        self.fill(given, data)
        return given

    def fill(self, given: str, data: bytes) -> None:
        item = self.items[given]
        if not item.told["mimeType"].startswith("application/vnd.google-apps."):
            item.data = data
            item.told |= {"size": str(len(data)), "md5Checksum": hashlib.md5(data).hexdigest()}

    # What is called

    def act(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        where = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(where.query, keep_blank_values=True).items()}
        if where.path == "/token":
            return 200, {}, self.token(parse_qs(body.decode()))
        if where.path == "/session":
            return self.session(query["upload_id"], headers, body)
        upload = where.path.startswith("/upload/drive/v3/")
        called = where.path.removeprefix("/upload").removeprefix("/drive/v3/")
        root = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
        if root is None:
            raise denied(401, "authError", "Invalid Credentials")
        name, given = self.check(method, called, query, upload)
        if given == "root":
            given = root
        found = getattr(self, name)(given, query, headers, body, upload)
        return found if isinstance(found, tuple) else (200, {}, found)

    def check(self, method: str, called: str, query: dict[str, str], upload: bool) -> tuple[str, str]:
        """The method of the interface that a request is, and the ID in its path; 400 for what it does not describe."""
        common = {"alt", "fields", "prettyPrint", "key", "quotaUser", *(("uploadType",) if upload else ())}
        for name, described in self.described["resources"]["files"]["methods"].items():
            pattern = re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(described["path"]))
            match = re.fullmatch(pattern, called)
            if match and described["httpMethod"] == method:
                unknown = set(query) - set(described.get("parameters", {})) - common
                if unknown or (upload and not described.get("supportsMediaUpload")):
                    raise denied(400, "badRequest", f"{name} does not know {unknown}")
                return name, match.group(1) if match.groups() else ""
        raise denied(400, "badRequest", f"there is no method {method} {called}")

    def body_of(self, body: bytes) -> dict[str, Any]:
        found = json.loads(body or b"{}")
        unknown = set(found) - set(self.described["schemas"]["File"]["properties"])
        if unknown:
            raise denied(400, "badRequest", f"a file has no {unknown}")
        return dict(found)

    def shown(self, given: str, fields: str) -> dict[str, Any]:
        item = self.items[given]
        told = {
            **item.told,
            "parents": item.parents,
            "capabilities": {"canAddChildren": given not in self.may_read_only},
        }
        names = re.sub(r"\([^)]*\)", "", fields).split(",") if fields else ["id", "name", "mimeType"]
        unknown = set(names) - set(self.described["schemas"]["File"]["properties"])
        if unknown:
            raise denied(400, "invalidParameter", f"Invalid field selection {unknown}")
        return {name: told[name] for name in names if name in told}

    def known(self, given: str) -> Item:
        if given not in self.items:
            raise denied(404, "notFound", f"File not found: {given}.")
        return self.items[given]

    def list(self, _: str, query: dict[str, str], *__: Any) -> dict[str, Any]:
        self.searched.append(query)
        wanted = query["q"]
        parents = set(re.findall(r"'([^']*)' in parents", wanted))
        for parent in parents:
            self.known(parent)
        title = re.match(r"name = '((?:[^'\\]|\\.)*)' and ", wanted)
        kind = re.search(rf"mimeType (!?=) '{re.escape(self.FOLDER)}'", wanted)
        rest = wanted[title.end() :] if title else wanted
        rest = re.sub(rf" and mimeType !?= '{re.escape(self.FOLDER)}'", "", rest)
        if not re.fullmatch(r"\('\w+' in parents(?: or '\w+' in parents)*\) and trashed = false", rest):
            raise denied(400, "invalid", f"Invalid Value: {rest}")
        name = re.sub(r"\\(.)", r"\1", title.group(1)).lower() if title else None
        found = [
            given for given, item in self.items.items()
            if parents & set(item.parents) and not item.told["trashed"]
            and (name is None or item.told["name"].lower() == name)
            and (kind is None or (item.told["mimeType"] == self.FOLDER) == (kind.group(1) == "="))
        ]  # fmt: skip
        at, size = int(query.get("pageToken", "0")), min(int(query.get("pageSize", "100")), self.page)
        fields = re.fullmatch(r"nextPageToken,files\((.*)\)", query["fields"])
        assert fields is not None
        page = {"files": [self.shown(given, fields.group(1)) for given in found[at : at + size]]}
        return {**page, **({"nextPageToken": str(at + size)} if at + size < len(found) else {})}

    def generateIds(self, _: str, query: dict[str, str], *__: Any) -> dict[str, Any]:
        made = [f"PRE{next(self._count):06}" for _ in range(int(query["count"]))]
        self.given.update(made)
        return {"ids": made}

    def get(self, given: str, query: dict[str, str], headers: dict[str, str], *_: Any) -> Any:
        item = self.known(given)
        if query.get("alt") != "media":
            return self.shown(given, query.get("fields", ""))
        start, stop = re.fullmatch(r"bytes=(\d+)-(\d+)", headers["range"]).groups()  # type: ignore[union-attr]
        return 206, {}, item.data[int(start) : int(stop) + 1]

    def create(self, _: str, query: dict[str, str], headers: dict[str, str], body: bytes, upload: bool) -> Any:
        told = self.body_of(body)
        for parent in told["parents"]:
            if parent in self.may_read_only:
                raise denied(403, "insufficientFilePermissions", "The user does not have sufficient permissions.")
            self.known(parent)
        if told["id"] in self.items:
            raise denied(409, "fileIdInUse", "A file already exists with the provided ID.")
        if told["id"] not in self.given:
            raise denied(400, "invalid", "The provided file ID is not usable.")
        if upload:
            return self.begin(told, None, query, headers)
        return self.shown(self.new(told), query.get("fields", ""))

    def new(self, told: dict[str, Any], data: bytes = b"") -> str:
        if told["id"] in self.items:
            raise denied(409, "fileIdInUse", "A file already exists with the provided ID.")
        told = {"mimeType": "application/octet-stream", **told}
        return self.add(told.pop("name"), told.pop("parents"), data, **told)

    def update(self, given: str, query: dict[str, str], headers: dict[str, str], body: bytes, upload: bool) -> Any:
        item, told = self.known(given), self.body_of(body)
        if upload:
            return self.begin(told, given, query, headers)
        item.told |= told
        return self.shown(given, query.get("fields", ""))

    def copy(self, given: str, query: dict[str, str], headers: dict[str, str], body: bytes, upload: bool) -> Any:
        item = self.known(given)
        made = self.new({"name": item.told["name"], **self.body_of(body)}, item.data)
        return self.shown(made, query.get("fields", ""))

    def begin(self, told: dict[str, Any], given: str | None, query: dict[str, str], headers: dict[str, str]) -> Any:
        assert query["uploadType"] == "resumable"
        session = f"session{next(self._count)}"
        size = int(headers["x-upload-content-length"])
        self.sessions[session] = {"told": told, "given": given, "size": size, "data": b"", "fields": query["fields"],
                                  "kind": headers["x-upload-content-type"], "done": None}  # fmt: skip
        return 200, {"Location": f"http://{headers['host']}/session?upload_id={session}"}, b""

    def session(self, name: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        """The resumable protocol: pieces in order, multiples of 256 KiB but for the last; 308 until all is there."""
        session = self.sessions.get(name)
        if session is None:
            raise denied(404, "notFound", "Upload session not found")
        if session["done"]:
            return 200, {}, self.shown(session["done"], session["fields"])
        span = headers.get("content-range", "")
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", span)
        if span and (match is None or int(match.group(3)) != session["size"]):
            raise denied(400, "badRequest", f"Content-Range {span}")
        if match and match.group(1) and int(match.group(1)) == len(session["data"]):
            assert len(body) == int(match.group(2)) + 1 - int(match.group(1))
            if len(session["data"]) + len(body) < session["size"] and len(body) % (256 << 10):
                raise denied(400, "badRequest", "a piece is no multiple of 256 KiB")
            session["data"] += body
        if len(session["data"]) < session["size"] or (not session["size"] and match and not match.group(1)):
            held = {"Range": f"bytes=0-{len(session['data']) - 1}"} if session["data"] else {}
            return 308, held, b""
        if session["given"]:
            self.items[session["given"]].told |= session["told"]
            self.fill(session["given"], session["data"])
            session["done"] = session["given"]
        else:
            session["done"] = self.new({"mimeType": session["kind"], **session["told"]}, session["data"])
        return 200, {}, self.shown(session["done"], session["fields"])

    def token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        if form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:  # a service account
            claims = form["assertion"][0].split(".")[1]
            told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            found = self.refresh.get(f"{told['iss']} for {told.get('sub')}")
        else:
            found = self.refresh.get(form.get("refresh_token", [""])[0])
        if found is None:
            raise Refused(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
        return {"access_token": found, "expires_in": 3600, "token_type": "Bearer"}


# Dropbox


@dataclass
class Account:
    """The files of a Dropbox by their path in small letters: path as it is shown, bytes, revision."""

    files: dict[str, tuple[str, bytes, str]] = field(default_factory=dict)
    full: bool = False


def content_hash(data: bytes) -> str:
    blocks = [hashlib.sha256(data[at : at + (4 << 20)]).digest() for at in range(0, len(data), 4 << 20)]
    return hashlib.sha256(b"".join(blocks)).hexdigest()


def conflict(*tags: str) -> Refused:
    """An error of a route: tags from the outside in, each under the name of the one before."""
    error: Any = {".tag": tags[-1]}
    for tag in reversed(tags[:-1]):
        error = {".tag": tag, tag: error}
    return Refused(409, {"error_summary": "/".join(tags) + "/..", "error": error})


class Dropbox(Service):
    """Accounts by token."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.expired: set[str] = set()
        self.scopes: dict[str, set[str]] = {}
        """Tokens that may not do all: what they may."""
        self.refresh: dict[str, str] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.page = 2000
        self._count = count(1)
        super().__init__()

    def user(self, token: str) -> Account:
        self.refresh[f"{token}-again"] = token
        self.accounts[token] = Account()
        return self.accounts[token]

    def act(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        from dropbox import files
        from stone.backends.python_rsrc import stone_serializers

        if path == "/oauth2/token":
            form = parse_qs(body.decode())
            found = self.refresh.get(form["refresh_token"][0])
            if found is None or form["client_id"] != ["app"]:
                raise Refused(400, {"error": "invalid_grant", "error_description": "refresh token is invalid"})
            return 200, {}, {"access_token": found, "expires_in": 14400, "token_type": "bearer"}
        called = path.removeprefix("/2/files/")
        name, _, version = called.partition("_v")
        route = getattr(files, name.replace("/", "_") + (f"_v{version}" if version else ""), None)
        if method != "POST" or route is None:
            raise Refused(400, b"Unknown API function")
        account = self.let_in(headers, route)
        style = route.attrs["style"]
        given = body.decode() if style == "rpc" else headers["dropbox-api-arg"]
        argument = stone_serializers.json_decode(route.arg_type, given, strict=True)
        act = getattr(self, f"do_{name.replace('/', '_')}")
        found, data = act(account, argument, body if style == "upload" else b"", headers)
        told = stone_serializers.json_encode(route.result_type, found)
        if style == "download":
            return 206 if "range" in headers else 200, {"dropbox-api-result": told}, data
        return 200, {}, json.loads(told)

    def let_in(self, headers: dict[str, str], route: Any) -> Account:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.expired:
            raise Refused(401, {"error_summary": "expired_access_token/", "error": {".tag": "expired_access_token"}})
        if token not in self.accounts:
            raise Refused(401, {"error_summary": "invalid_access_token/", "error": {".tag": "invalid_access_token"}})
        kind = "metadata.read" if route.name in ("get_metadata", "list_folder", "list_folder/continue") else "content.write"
        scope = "files." + ("content.read" if route.name == "download" else kind)
        if token in self.scopes and scope not in self.scopes[token]:
            error = {".tag": "missing_scope", "required_scope": scope}
            raise Refused(401, {"error_summary": f"missing_scope/{scope}", "error": error})
        return self.accounts[token]

    def shown(self, account: Account, path: str) -> Any:
        from datetime import datetime

        from dropbox import files

        shown, data, rev = account.files[path.lower()]
        made = datetime(2026, 1, 1)
        return files.FileMetadata(
            name=shown.rpartition("/")[2], id=f"id:{base64.b16encode(shown.encode()).decode()}", client_modified=made,
            server_modified=made, rev=rev, size=len(data), path_lower=path.lower(), path_display=shown,
            content_hash=content_hash(data),
        )  # fmt: skip

    def store(self, account: Account, commit: Any, data: bytes) -> Any:
        if account.full:
            raise Refused(409, {"error_summary": "path/insufficient_space/", "error": {
                ".tag": "path", "reason": {".tag": "insufficient_space"}, "upload_session_id": ""}})  # fmt: skip
        assert commit.mode.is_overwrite() and not commit.autorename and commit.mute
        wanted = getattr(commit, "content_hash", None)
        if wanted and wanted != content_hash(data):
            raise conflict("content_hash_mismatch")
        account.files[commit.path.lower()] = (commit.path, data, f"{next(self._count):012x}")
        return self.shown(account, commit.path)

    def do_upload(self, account: Account, given: Any, data: bytes, _: Any) -> tuple[Any, bytes]:
        return self.store(account, given, data), b""

    def do_upload_session_start(self, account: Account, given: Any, data: bytes, _: Any) -> tuple[Any, bytes]:
        from dropbox import files

        name = f"session{next(self._count)}"
        self.sessions[name] = {"data": data, "account": account}
        return files.UploadSessionStartResult(session_id=name), b""

    def _session(self, cursor: Any, outside: tuple[str, ...]) -> dict[str, Any]:
        session = self.sessions.get(cursor.session_id)
        if session is None:
            raise conflict(*outside, "not_found")
        if cursor.offset != len(session["data"]):
            error: Any = {".tag": "incorrect_offset", "correct_offset": len(session["data"])}
            if outside:
                error = {".tag": "lookup_failed", "lookup_failed": error}
            raise Refused(409, {"error_summary": "incorrect_offset/", "error": error})
        return session

    def do_upload_session_append(self, account: Account, given: Any, data: bytes, _: Any) -> tuple[Any, bytes]:
        self._session(given.cursor, ())["data"] += data
        return None, b""

    def do_upload_session_finish(self, account: Account, given: Any, data: bytes, _: Any) -> tuple[Any, bytes]:
        session = self._session(given.cursor, ("lookup_failed",))
        made = self.store(account, given.commit, session["data"] + data)
        del self.sessions[given.cursor.session_id]
        return made, b""

    def do_get_metadata(self, account: Account, given: Any, *_: Any) -> tuple[Any, bytes]:
        from dropbox import files

        if given.path.lower() in account.files:
            return self.shown(account, given.path), b""
        if any(path.startswith(f"{given.path.lower()}/") for path in account.files):
            return files.FolderMetadata(name=given.path.rpartition("/")[2], id="id:folder-of-a-user"), b""
        raise conflict("path", "not_found")

    def do_list_folder(self, account: Account, given: Any, *_: Any) -> tuple[Any, bytes]:
        if given.path.lower() in account.files:
            raise conflict("path", "not_folder")
        if given.path and not any(path.startswith(f"{given.path.lower()}/") for path in account.files):
            raise conflict("path", "not_found")
        assert not given.recursive
        return self.page_of(account, given.path, 0, given.limit), b""

    def do_list_folder_continue(self, account: Account, given: Any, *_: Any) -> tuple[Any, bytes]:
        path, at, size = json.loads(given.cursor)
        return self.page_of(account, path, at, size), b""

    def page_of(self, account: Account, folder: str, at: int, size: int) -> Any:
        from dropbox import files

        found: dict[str, Any] = {}
        for path, (shown, _, _) in account.files.items():
            if path.startswith(f"{folder.lower()}/"):
                name, below, _ = shown[len(folder) + 1 :].partition("/")
                found[name] = files.FolderMetadata(name=name, id="id:folder-of-a-user") if below else self.shown(account, path)
        size = min(size, self.page)
        page = list(found.values())[at : at + size]
        more = at + size < len(found)
        return files.ListFolderResult(entries=page, cursor=json.dumps([folder, at + size, size]), has_more=more)

    def do_download(self, account: Account, given: Any, _: bytes, headers: dict[str, str]) -> tuple[Any, bytes]:
        if given.path.lower() not in account.files:
            raise conflict("path", "not_found")
        start = int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        return self.shown(account, given.path), account.files[given.path.lower()][1][start:]

    def do_delete(self, account: Account, given: Any, *_: Any) -> tuple[Any, bytes]:
        from dropbox import files

        if given.path.lower() not in account.files:
            raise conflict("path_lookup", "not_found")
        found = self.shown(account, given.path)
        del account.files[given.path.lower()]
        return files.DeleteResult(metadata=found), b""

    def do_copy(self, account: Account, given: Any, *_: Any) -> tuple[Any, bytes]:
        from dropbox import files

        if given.from_path.lower() not in account.files:
            raise conflict("from_lookup", "not_found")
        if given.to_path.lower() in account.files:
            raise Refused(409, {"error_summary": "to/conflict/file/", "error": {
                ".tag": "to", "to": {".tag": "conflict", "conflict": {".tag": "file"}}}})  # fmt: skip
        data = account.files[given.from_path.lower()][1]
        account.files[given.to_path.lower()] = (given.to_path, data, f"{next(self._count):012x}")
        return files.RelocationResult(metadata=self.shown(account, given.to_path)), b""
