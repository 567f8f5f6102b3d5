"""Azure Files as far as its client is used here: the REST calls over HTTP, in memory. There is no server to install.

What the service checks is checked here: the signature of each request, its version and date, the headers that a call has to
have, and the MD5 of each range. A request of another shape is answered with 400, and stands in `wrong`, which a test reads.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from places import Place

ACCOUNT = "shop"
KEY = base64.b64encode(b"canary-of-the-key-of-the-account").decode()
SAS = "sv=2024-11-04&ss=f&sp=rwdlc&sig=canary-of-the-signature"

RANGE = 4 << 20
"""The most bytes that one request may put."""

SIGNED = ("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
          "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")  # fmt: skip


@dataclass
class Entry:
    """A file, or a folder where `data` is None."""

    name: str
    data: bytearray | None
    etag: str
    md5: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    copying: list[str] = field(default_factory=list)
    """How a copy stands, each time that it is asked for: pending, then success."""
    modified: str = field(default_factory=lambda: formatdate(usegmt=True))


class Refused(Exception):
    def __init__(self, status: int, code: str, text: str) -> None:
        self.status, self.code, self.text = status, code, text


class Request:
    """What came, with the parts of the path as they are meant."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        self.raw_path, self.raw_query = url.path, url.query
        self.method = handler.command
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(self.headers.get("content-length") or 0))
        account, _, rest = unquote(url.path).lstrip("/").partition("/")
        self.account = account
        self.share, _, self.path = rest.partition("/")

    @property
    def call(self) -> tuple[str, str, str]:
        return self.method, self.query.get("restype", "file"), self.query.get("comp", "")


class AzureFiles:
    """One account. Paths are told apart without regard to capital letters, as the service does it."""

    def __init__(self) -> None:
        self.shares: dict[str, dict[str, Entry]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.wrong: list[str] = []
        self.forbidden = ""
        """The code with which everything is refused; "" where nothing is."""
        self.refuses_copies = False
        self._lock = threading.RLock()
        self._count = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                request = Request(self)
                if len(request.body) < int(request.headers.get("content-length") or 0):
                    self.close_connection = True  # It broke off before all had come.
                else:
                    service.answer(self, request)

            do_GET = do_PUT = do_HEAD = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{ACCOUNT}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        headers: dict[str, str] = {}
        reason = None
        try:
            with self._lock:
                self._check(request)
                self.calls.append(request.call)
                act = self._acts().get(request.call)
                if act is None:
                    raise self._malformed(f"there is no call {request.call}")
                status, headers, body = act(request)
        except Refused as error:
            if error.status == 400:
                self.wrong.append(f"{request.method} {request.raw_path}?{request.raw_query}: {error.text}")
            status, reason = error.status, error.text
            headers = {"x-ms-error-code": error.code, "Content-Type": "application/xml"}
            body = f"<?xml version='1.0'?><Error><Code>{error.code}</Code><Message>{error.text}</Message></Error>".encode()
        handler.send_response(status, reason)
        for name, value in headers.items():
            handler.send_header(name, value)
        if "Content-Length" not in headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if request.method != "HEAD":
            handler.wfile.write(body)

    def _acts(self) -> dict[tuple[str, str, str], Callable[[Request], tuple[int, dict[str, str], bytes]]]:
        return {
            ("PUT", "share", ""): self._create_share,
            ("PUT", "directory", ""): self._create_directory,
            ("GET", "directory", "list"): self._list,
            ("PUT", "file", ""): self._create_file,
            ("PUT", "file", "range"): self._put_range,
            ("PUT", "file", "rename"): self._rename,
            ("HEAD", "file", ""): self._properties,
            ("GET", "file", ""): self._get,
            ("DELETE", "file", ""): self._delete,
        }

    # What the service looks at before it does anything

    def _check(self, request: Request) -> None:
        if self.forbidden:
            raise Refused(403, self.forbidden, "This request is not authorized to perform this operation.")
        if request.account != ACCOUNT:
            raise self._malformed(f"the account {request.account!r} is not in the path")
        if not re.fullmatch(r"20\d\d-\d\d-\d\d", request.headers.get("x-ms-version", "")):
            raise self._malformed("x-ms-version is missing")
        if not re.fullmatch(r"[a-z0-9](-?[a-z0-9]){2,62}", request.share):
            raise Refused(400, "InvalidResourceName", "The specified resource name contains invalid characters.")
        if re.search(r'["\\:|<>*?\x00-\x1f]', request.path):
            raise Refused(400, "InvalidResourceName", "The specified resource name contains invalid characters.")
        self._authenticate(request)
        if request.call[1] == "share":
            return
        if request.headers.get("x-ms-allow-trailing-dot") != "true":
            raise self._malformed("names would lose the dots at their end")
        if request.share not in self.shares:
            raise Refused(404, "ShareNotFound", "The specified share does not exist.")

    def _authenticate(self, request: Request) -> None:
        wrong = Refused(403, "AuthenticationFailed", "Server failed to authenticate the request.")
        if "sig" in request.query:
            if not all(pair in request.raw_query.split("&") for pair in SAS.split("&")):
                raise wrong
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not given:
            raise Refused(401, "NoAuthenticationInformation", "Server failed to authenticate the request.")
        parsedate_to_datetime(request.headers["x-ms-date"])
        if scheme != "SharedKey" or not hmac.compare_digest(given, f"{ACCOUNT}:{self._signature(request)}"):
            raise wrong

    def _signature(self, request: Request) -> str:
        """As "Authorize with Shared Key" has it, for versions from 2015-02-21 on."""
        headers = dict(request.headers)
        if headers.get("content-length") == "0":
            headers["content-length"] = ""
        lines = [request.method, *(headers.get(name, "") for name in SIGNED)]
        ours = sorted((name for name in headers if name.startswith("x-ms-")), key=lambda name: name.replace("-", ""))
        lines += [f"{name}:{headers[name]}" for name in ours]
        query = "".join(f"\n{name.lower()}:{value}" for name, value in sorted(request.query.items()))
        lines.append(f"/{ACCOUNT}{request.raw_path}{query}")
        signed = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
        return base64.b64encode(signed).decode()

    def _malformed(self, text: str) -> Refused:
        return Refused(400, "InvalidHeaderValue", text)

    def _number(self, request: Request, header: str) -> int:
        value = request.headers.get(header, "")
        if not value.isdecimal():
            raise self._malformed(f"{header} is {value!r}")
        return int(value)

    # The tree of a share

    def _entry(self, request: Request, folder: bool = False) -> Entry:
        entries = self.shares[request.share]
        path = request.path.strip("/").lower()
        found = entries.get(path)
        if found is None:
            code = "ResourceNotFound" if self._has_parent(request) else "ParentNotFound"
            raise Refused(404, code, "The specified resource does not exist.")
        if (found.data is None) != folder:
            raise Refused(409, "ResourceTypeMismatch", "The specified resource type does not match that of what is there.")
        return found

    def _has_parent(self, request: Request) -> bool:
        parent = request.path.strip("/").lower().rpartition("/")[0]
        found = self.shares[request.share].get(parent)
        return found is not None and found.data is None

    def _put(self, request: Request, data: bytearray | None) -> Entry:
        if not self._has_parent(request):
            raise Refused(404, "ParentNotFound", "The specified parent path does not exist.")
        path = request.path.strip("/")
        entry = Entry(path.rpartition("/")[2], data, self._etag())
        self.shares[request.share][path.lower()] = entry
        return entry

    def _etag(self) -> str:
        self._count += 1
        return f'"0x{self._count:X}"'

    # Calls

    def _create_share(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.share in self.shares:
            raise Refused(409, "ShareAlreadyExists", "The specified share already exists.")
        self.shares[request.share] = {"": Entry("", None, self._etag())}
        return 201, self._told(self.shares[request.share][""]), b""

    def _create_directory(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path.strip("/").lower() in self.shares[request.share]:
            self._entry(request, folder=True)
            raise Refused(409, "ResourceAlreadyExists", "The specified resource already exists.")
        return 201, self._told(self._put(request, None)), b""

    def _copy(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """From another share of the account, or the same one."""
        account, _, rest = unquote(urlsplit(request.headers["x-ms-copy-source"]).path).lstrip("/").partition("/")
        share, _, path = rest.partition("/")
        found = self.shares.get(share, {}).get(path.lower()) if account == ACCOUNT else None
        if self.refuses_copies:
            raise Refused(409, "CannotVerifyCopySource", "The specified copy source cannot be looked at.")
        if found is None or found.data is None:
            raise Refused(404, "ResourceNotFound", "The specified resource does not exist.")
        entry = self._put(request, bytearray(found.data))
        entry.md5, entry.metadata, entry.copying = found.md5, dict(found.metadata), ["pending", "success"]
        return 202, {**self._told(entry), "x-ms-copy-id": entry.etag, "x-ms-copy-status": "pending"}, b""

    def _create_file(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if "x-ms-copy-source" in request.headers:
            return self._copy(request)
        size = self._number(request, "x-ms-content-length")
        if request.headers.get("x-ms-type", "").lower() != "file" or request.body:
            raise self._malformed("it is no request that makes a file")
        if request.path.strip("/").lower() in self.shares[request.share]:
            self._entry(request)
        entry = self._put(request, bytearray(size))
        entry.md5 = request.headers.get("x-ms-content-md5", "")
        named = "x-ms-meta-"
        entry.metadata = {name[len(named) :]: value for name, value in request.headers.items() if name.startswith(named)}
        return 201, self._told(entry), b""

    def _put_range(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        entry = self._entry(request)
        assert entry.data is not None
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("x-ms-range", ""))
        if wanted is None or request.headers.get("x-ms-write") != "update":
            raise self._malformed("it is no request that puts a range")
        start, stop = int(wanted[1]), int(wanted[2]) + 1
        if stop - start != self._number(request, "content-length") or not 0 < stop - start <= RANGE:
            raise self._malformed("the range is not as long as what came")
        if stop > len(entry.data):
            raise Refused(416, "InvalidRange", "The range is not in the file.")
        if "content-md5" not in request.headers:
            raise self._malformed("there is no MD5 of the range")
        if base64.b64encode(hashlib.md5(request.body).digest()).decode() != request.headers["content-md5"]:
            raise Refused(400, "Md5Mismatch", "The MD5 value specified in the request did not match.")
        entry.data[start:stop] = request.body
        entry.etag = self._etag()
        return 201, {**self._told(entry), "Content-MD5": request.headers["content-md5"]}, b""

    def _rename(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        source = urlsplit(request.headers.get("x-ms-file-rename-source", ""))
        account, _, rest = unquote(source.path).lstrip("/").partition("/")
        share, _, path = rest.partition("/")
        if account != ACCOUNT or share != request.share or request.headers.get("x-ms-source-allow-trailing-dot") != "true":
            raise self._malformed("the source is not in this share")
        entries = self.shares[share]
        found = entries.get(path.lower())
        if found is None or found.data is None:
            raise Refused(404, "ResourceNotFound", "The specified resource does not exist.")
        if request.path.lower() in entries:
            self._entry(request)
            if request.headers.get("x-ms-file-rename-replace-if-exists") != "true":
                raise Refused(409, "ResourceAlreadyExists", "The specified resource already exists.")
        entry = self._put(request, found.data)
        entry.md5, entry.metadata = found.md5, found.metadata
        del entries[path.lower()]
        return 200, self._told(entry), b""

    def _properties(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        entry = self._entry(request)
        assert entry.data is not None
        more = {"Content-MD5": entry.md5} if entry.md5 else {}
        if entry.copying:
            more["x-ms-copy-status"] = entry.copying.pop(0) if len(entry.copying) > 1 else entry.copying[0]
        return 200, {**self._told(entry), **more, "Content-Length": str(len(entry.data))}, b""

    def _get(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        entry = self._entry(request)
        assert entry.data is not None
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("x-ms-range", ""))
        if wanted is None:
            return 200, self._told(entry), bytes(entry.data)
        start, stop = int(wanted[1]), min(int(wanted[2] or RANGE) + 1, len(entry.data))
        if start >= len(entry.data):
            raise Refused(416, "InvalidRange", "The range is not in the file.")
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(entry.data)}"}
        return 206, {**self._told(entry), **headers}, bytes(entry.data[start:stop])

    def _delete(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        self._entry(request)
        del self.shares[request.share][request.path.lower()]
        return 202, {}, b""

    def _list(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """In order of the names without regard to capital letters, in pages; the client has folders first in each."""
        folder = self._entry(request, folder=True) and request.path.strip("/").lower()
        begin = f"{folder}/" if folder else ""
        entries = self.shares[request.share]
        paths = sorted(path for path in entries if path and path.startswith(begin) and "/" not in path[len(begin) :])
        most = int(request.query.get("maxresults", 5000))
        after = request.query.get("marker", "")
        page = [path for path in paths if path > after][:most]
        more = page[-1] if page and page[-1] != paths[-1] else ""
        with_etags = "etag" in request.query.get("include", "").lower()
        told = "".join(self._listed(entries[path], with_etags) for path in page)
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="{self.url}" '
            f'ShareName="{request.share}" DirectoryPath="{escape(folder)}"><MaxResults>{most}</MaxResults>'
            f"<Entries>{told}</Entries><NextMarker>{escape(more)}</NextMarker></EnumerationResults>"
        )
        return 200, {"Content-Type": "application/xml"}, text.encode()

    def _listed(self, entry: Entry, with_etags: bool) -> str:
        etag = f"<Etag>{escape(entry.etag)}</Etag>" if with_etags else ""
        name = f"<Name>{escape(entry.name)}</Name>"
        if entry.data is None:
            return f"<Directory>{name}<Properties>{etag}</Properties></Directory>"
        about = f"<Content-Length>{len(entry.data)}</Content-Length>{etag}"
        return f"<File>{name}<Properties>{about}</Properties></File>"

    def _told(self, entry: Entry) -> dict[str, str]:
        metadata = {f"x-ms-meta-{name}": value for name, value in entry.metadata.items()}
        return {"ETag": entry.etag, "Last-Modified": entry.modified, "x-ms-version": "2026-10-06", **metadata}


@pytest.fixture(scope="session")
def azure_files_service() -> Iterator[AzureFiles]:
    pytest.importorskip("azure.storage.fileshare", reason="get it with: pip install 'exporters-beam[azure-file]'")
    service = AzureFiles()
    yield service
    service.close()


@pytest.fixture
def azure_files(azure_files_service: AzureFiles) -> Iterator[AzureFiles]:
    """The service without any share. No request of the test may have been of a wrong shape."""
    service = azure_files_service
    service.shares.clear()
    service.calls.clear()
    service.wrong.clear()
    service.forbidden, service.refuses_copies = "", False
    yield service
    assert service.wrong == []


@pytest.fixture
def azure_file(azure_files: AzureFiles) -> Place:
    options: dict[str, Any] = {
        "share": "products",
        "account_name": ACCOUNT,
        "account_key": KEY,
        "host": azure_files.url,
    }
    place = Place("azure_file", options, made=azure_files)
    place.storage().probe()
    return place
