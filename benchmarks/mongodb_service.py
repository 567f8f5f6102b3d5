"""A service that speaks MongoDB's protocol as far as the benchmark needs it.

It keeps documents in memory, by an `_id` that is a text. To replace one it does not look through all of them, as FerretDB does.
"""

from __future__ import annotations

import itertools
import socketserver
import struct
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bson import CodecOptions, Int64, decode, encode
from bson.raw_bson import RawBSONDocument

RAW = CodecOptions(document_class=RawBSONDocument)
HEADER = struct.Struct("<iiii")
QUERY, REPLY, MESSAGE = 2004, 1, 2013
HELLO = {"ok": 1, "ismaster": True, "isWritablePrimary": True, "helloOk": True, "minWireVersion": 0, "maxWireVersion": 21,
         "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}  # fmt: skip

Answer = Mapping[str, Any]


class Documents:
    """Collections by name, and the cursors over them."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, bytes]] = {}
        self.sorted: dict[str, list[str]] = {}
        self.cursors: dict[int, list[bytes]] = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()

    def answer(self, command: Mapping[str, Any]) -> Answer:
        name = next(iter(command))
        act: Callable[[Mapping[str, Any]], Answer] | None = getattr(self, f"do_{name}", None)
        if act is not None:
            with self.lock:
                return {"ok": 1, **act(command)}
        if name in ("hello", "isMaster", "ismaster"):
            return HELLO
        if name in ("ping", "endSessions", "killCursors"):
            return {"ok": 1}
        return {"ok": 0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: {name}"}

    def do_listCollections(self, command: Mapping[str, Any]) -> Answer:
        there = [{"name": name, "type": "collection"} for name in self.collections]
        return {"cursor": {"id": Int64(0), "ns": "x.$cmd.listCollections", "firstBatch": there}}

    def do_dropDatabase(self, command: Mapping[str, Any]) -> Answer:
        self.collections.clear()
        self.sorted.clear()
        return {}

    def do_insert(self, command: Mapping[str, Any]) -> Answer:
        return self._put(command["insert"], command["documents"])

    def do_update(self, command: Mapping[str, Any]) -> Answer:
        return self._put(command["update"], [each["u"] for each in command["updates"]])

    def _put(self, name: str, documents: Sequence[RawBSONDocument]) -> Answer:
        self.sorted.pop(name, None)
        self.collections.setdefault(name, {}).update((each["_id"], each.raw) for each in documents)
        return {"n": len(documents), "nModified": 0}

    def do_count(self, command: Mapping[str, Any]) -> Answer:
        return {"n": len(self.collections.get(command["count"], ()))}

    def do_find(self, command: Mapping[str, Any]) -> Answer:
        name = command["find"]
        there = self.collections.get(name, {})
        if name not in self.sorted:
            self.sorted[name] = sorted(there)
        ids = self.sorted[name]
        asked = (command.get("filter") or {}).get("_id", {})
        if asked.get("$type", "string") != "string" or not asked.get("$exists", True):
            ids = []
        begin = bisect_right(ids, asked["$gt"]) if "$gt" in asked else 0
        end = bisect_right(ids, asked["$lte"]) if "$lte" in asked else len(ids)
        begin = max(begin, bisect_left(ids, asked["$gte"])) if "$gte" in asked else begin
        found = ids[begin:end]
        if (command.get("sort") or {}).get("_id") == -1:
            found.reverse()
        skip, limit = command.get("skip", 0), abs(command.get("limit", 0))
        found = found[skip : skip + limit if limit else None]
        number = next(self.numbers)
        self.cursors[number] = [there[each] for each in reversed(found)]
        return self._batch(number, command, "firstBatch")

    def do_getMore(self, command: Mapping[str, Any]) -> Answer:
        return self._batch(int(command["getMore"]), command, "nextBatch")

    def _batch(self, number: int, command: Mapping[str, Any], kind: str) -> Answer:
        left = self.cursors[number]
        size = command.get("batchSize") or 101
        batch = [RawBSONDocument(left.pop()) for _ in range(min(size, len(left)))]
        if not left:
            del self.cursors[number]
        name = command.get("find") or command.get("collection")
        return {"cursor": {"id": Int64(number if left else 0), "ns": f"{command['$db']}.{name}", kind: batch}}


class Connection(socketserver.BaseRequestHandler):
    documents: Documents

    def handle(self) -> None:
        while head := self._read(HEADER.size):
            size, number, _, kind = HEADER.unpack(head)
            body = self._read(size - HEADER.size)
            if kind == QUERY:
                at = body.index(b"\0", 4) + 9
                answer = encode(self.documents.answer(decode(body[at:])))
                told = struct.pack("<iqii", 8, 0, 0, 1) + answer
            else:
                told = b"\0" * 5 + encode(self.documents.answer(message(body)))
            kind = REPLY if kind == QUERY else MESSAGE
            self.request.sendall(HEADER.pack(HEADER.size + len(told), 0, number, kind) + told)

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = self.request.recv(size - len(found))
            if not piece:
                return b""
            found += piece
        return bytes(found)


def message(body: bytes) -> dict[str, Any]:
    """The command of a message, with the documents that stand behind it."""
    found: dict[str, Any] = {}
    at = 4
    while at < len(body):
        kind, size = body[at], int.from_bytes(body[at + 1 : at + 5], "little")
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            found = {**decode(section, RAW), **found}
        else:
            name, at_document, documents = section[4 : section.index(b"\0", 4)].decode(), section.index(b"\0", 4) + 1, []
            while at_document < size:
                length = int.from_bytes(section[at_document : at_document + 4], "little")
                documents.append(RawBSONDocument(section[at_document : at_document + length]))
                at_document += length
            found[name] = documents
        at += 1 + size
    return found


class Service(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), type("Of", (Connection,), {"documents": Documents()}))
        self.url = f"mongodb://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
