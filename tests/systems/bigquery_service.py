"""A service that answers as BigQuery does, as far as that is known from its documents and its clients: of the REST API tables,
datasets, and jobs that load, copy and query; of the Storage Read API sessions and streams of Arrow.

It understands of SQL only `SELECT * FROM table`, the MERGE that our writer sends, and what a test has put into `queries`. Rows
are checked by the types of their columns. It can be made to refuse requests, to lose answers, to let jobs fail, to break
streams off and to let sessions expire. The real service was never tried.
"""

from __future__ import annotations

import base64
import email
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timezone
from datetime import time as time_of_day
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

Fields = list[dict[str, Any]]
Row = dict[str, Any]
Answer = tuple[int, Any]


class Failed(Exception):
    """What a job or a request is refused with."""

    def __init__(self, status: int, reason: str, message: str, errors: list[str] | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.errors = errors or [message]


class Table:
    def __init__(self, fields: Fields, rows: list[Row] | None = None, kind: str = "TABLE", **more: Any) -> None:
        self.fields, self.kind, self.more = fields, kind, more
        self.versions: list[tuple[float, list[Row]]] = [(0.0, rows or [])]

    @property
    def rows(self) -> list[Row]:
        return self.versions[-1][1]

    @rows.setter
    def rows(self, rows: list[Row]) -> None:
        self.versions.append((time.time(), rows))

    def at(self, moment: float) -> list[Row]:
        return [rows for since, rows in self.versions if since <= moment][-1]


class Service:
    def __init__(self) -> None:
        self.datasets: dict[str, str] = {"shop.sales": "EU"}
        self.tables: dict[str, Table] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.queries: dict[str, tuple[Fields, list[Row]]] = {}
        self.sessions: dict[str, list[list[Row]]] = {}
        self.schemas: dict[str, Any] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.before: Callable[[str, str], Any] = lambda method, path: None
        """Called with each request; what it gives is answered in its place: (status, text)."""
        self.lost = 0
        """The answers to so many of the next insertions of jobs are lost: the jobs are there."""
        self.fail: list[Failed] = []
        """The next jobs fail with these."""
        self.names = 3
        """So many rows are named by the errors of a load job."""
        self.denied: set[str] = set()
        """Permissions that the caller has not."""
        self.accounts: set[str] | None = None
        """Where it is not None only these may come in, with a token."""
        self.streams, self.message_rows = 3, 100
        self.breaks: list[int] = []
        """The next streams break off after so many rows."""
        self.expired = False
        self.reads: list[tuple[int, int]] = []
        """The streams that were read, each from which offset on."""
        self.at_read: Callable[[int], Any] = lambda number: None
        """Called with the number of streams that were asked for; where it gives true, the answer does not come."""
        self.refuse_read: list[tuple[Any, str]] = []
        """The next calls of the Storage Read API are answered with this: (grpc.StatusCode, text)."""
        self.number = itertools.count()
        self.lock = threading.RLock()
        self._start()

    def _start(self) -> None:
        import grpc

        handler = type("Handler", (_Handler,), {"service": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.grpc = grpc.server(ThreadPoolExecutor(8), handlers=[_storage(self)])
        self.grpc_port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.grpc.stop(None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def storage_url(self) -> str:
        return f"http://127.0.0.1:{self.grpc_port}"

    def key(self, email: str = "export@shop.example") -> dict[str, str]:
        """The key of a service account that signs in here."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        text = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {"type": "service_account", "client_email": email, "private_key": text.decode(), "private_key_id": "1",
                "token_uri": f"{self.url}/token", "project_id": "shop"}  # fmt: skip

    def put(self, name: str, fields: Fields, rows: list[Row], kind: str = "TABLE") -> None:
        self.tables[name] = Table(fields, rows, kind)

    def loads(self) -> list[str]:
        """The ids of the load jobs, in order."""
        return [id for id, job in self.jobs.items() if "load" in job["configuration"]]

    # Tables

    def found(self, name: str) -> Table:
        if name not in self.tables:
            raise Failed(404, "notFound", f"Not found: Table {name.replace('.', ':', 1)}")
        return self.tables[name]

    def resource(self, name: str) -> dict[str, Any]:
        table = self.found(name)
        project, dataset, id = name.split(".", 2)
        return {
            "kind": "bigquery#table", "id": name, "type": table.kind, "location": "EU",
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": id},
            "schema": {"fields": table.fields}, "numRows": str(len(table.rows)), **table.more,
        }  # fmt: skip

    def make(self, told: dict[str, Any]) -> str:
        name = _name(told["tableReference"])
        self.dataset(name.rpartition(".")[0])
        if name in self.tables:
            raise Failed(409, "duplicate", f"Already Exists: Table {name}")
        more = {
            each: told[each]
            for each in ("timePartitioning", "rangePartitioning", "clustering", "expirationTime")
            if each in told
        }
        self.tables[name] = Table(told.get("schema", {}).get("fields", []), **more)
        return name

    def dataset(self, name: str) -> dict[str, Any]:
        if name not in self.datasets:
            raise Failed(404, "notFound", f"Not found: Dataset {name.replace('.', ':', 1)}")
        project, id = name.split(".", 1)
        return {"datasetReference": {"projectId": project, "datasetId": id}, "location": self.datasets[name]}

    # Jobs

    def insert(self, job: dict[str, Any], body: bytes = b"") -> dict[str, Any]:
        if "bigquery.jobs.create" in self.denied:
            raise Failed(403, "accessDenied", "Access Denied: Project shop: User does not have bigquery.jobs.create permission")
        reference = job.setdefault("jobReference", {})
        id = reference.setdefault("jobId", f"job_{next(self.number)}")
        configuration = job["configuration"]
        with self.lock:
            if id in self.jobs:
                raise Failed(409, "duplicate", f"Already Exists: Job shop:EU.{id}")
            done: dict[str, Any] = {"state": "DONE"}
            statistics: dict[str, Any] = {}
            try:
                if self.fail:
                    raise self.fail.pop(0)
                if "load" in configuration:
                    statistics["load"] = {"outputRows": str(self.load(configuration["load"], body))}
                elif "copy" in configuration:
                    self.copy(configuration["copy"])
                else:
                    self.query(configuration)
            except Failed as error:
                told = [{"reason": error.reason, "message": message} for message in error.errors]
                done |= {"errorResult": told[0], "errors": told}
            found = {**job, "id": f"shop:EU.{id}", "status": done, "statistics": statistics}
            found["jobReference"] = {"projectId": "shop", "location": "EU", **reference}
            if not configuration.get("dryRun"):
                self.jobs[id] = found
            elif "errorResult" in done:
                raise Failed(400, done["errorResult"]["reason"], done["errorResult"]["message"])
        return {**found, "status": {"state": "RUNNING"}}

    def load(self, told: dict[str, Any], body: bytes) -> int:
        name = _name(told["destinationTable"])
        if "bigquery.tables.updateData" in self.denied:
            raise Failed(403, "accessDenied", f"Access Denied: Table {name}: Permission bigquery.tables.updateData denied")
        table = self.found(name)
        assert told["sourceFormat"] == "NEWLINE_DELIMITED_JSON" and told["createDisposition"] == "CREATE_NEVER"
        rows: list[Row] = []
        wrong: list[str] = []
        at = 0
        for line in body.removesuffix(b"\n").split(b"\n"):
            try:
                rows.append(typed(json.loads(line), table.fields, bool(told.get("ignoreUnknownValues"))))
            except ValueError as error:
                where = f" in row starting at position {at}" if self.names else ""
                wrong.append(f"Error while reading data, error message: JSON parsing error{where}: {error}")
            at += len(line) + 1
        if wrong:
            total = ("Error while reading data, error message: JSON table encountered too many errors, giving up. Rows: "
                     f"{len(wrong)}; errors: {len(wrong)}. Please look into the errors[] collection for more "
                     "details.")  # fmt: skip
            raise Failed(400, "invalid", total, [total, *wrong[: self.names or 1]])
        table.rows = [*table.rows, *rows]
        return len(rows)

    def copy(self, told: dict[str, Any]) -> None:
        source = self.found(_name(told.get("sourceTable") or told["sourceTables"][0]))
        name = _name(told["destinationTable"])
        assert told["writeDisposition"] == "WRITE_TRUNCATE"
        more = {each: value for each, value in source.more.items() if each != "expirationTime"}
        if name in self.tables and self.tables[name].more.get("timePartitioning") != more.get("timePartitioning"):
            raise Failed(400, "invalid", "Incompatible table partitioning specification.")
        self.tables[name] = Table(source.fields, list(source.rows), **more)

    def query(self, configuration: dict[str, Any]) -> None:
        told = configuration["query"]
        sql = told["query"]
        if sql in self.queries:
            fields, rows = self.queries[sql]
        elif found := re.fullmatch(r"SELECT \* FROM `([^`]+)`", sql):
            fields, rows = self.found(found[1]).fields, self.found(found[1]).rows
        elif sql.startswith("MERGE "):
            self.merge(sql)
            return
        else:
            raise Failed(400, "invalidQuery", f"Syntax error: Unexpected {sql.split()[0]!r} at [1:1]")
        if not configuration.get("dryRun"):
            name = f"anon{next(self.number)}"
            self.tables[f"shop._hidden.{name}"] = Table(fields, rows)
            told["destinationTable"] = {"projectId": "shop", "datasetId": "_hidden", "tableId": name}

    def merge(self, sql: str) -> None:
        found = re.fullmatch(
            r"MERGE `([^`]+)` T USING \(SELECT \* FROM `([^`]+)` WHERE TRUE QUALIFY ROW_NUMBER\(\) OVER \(PARTITION BY (.+) "
            r"ORDER BY `(\w+)` DESC\) = 1\) S ON .+? (?:WHEN MATCHED THEN UPDATE SET (.+) )?WHEN NOT MATCHED THEN INSERT "
            r"\((.+)\) VALUES \((.+)\)", sql
        )  # fmt: skip
        assert found is not None, sql
        target, source = self.found(found[1]), self.found(found[2])
        keys, columns = (re.findall("`([^`]+)`", found[n]) for n in (3, 6))
        last: dict[Any, Row] = {}
        for row in sorted(source.rows, key=lambda row: row[found[4]]):
            last[tuple(row[key] for key in keys)] = {name: row[name] for name in columns}
        rows = [last.pop(tuple(row[key] for key in keys), row) for row in target.rows]
        target.rows = [*rows, *last.values()]


def _name(told: dict[str, str]) -> str:
    return f"{told['projectId']}.{told['datasetId']}.{told['tableId']}"


# Values of load jobs


def typed(line: Any, fields: Fields, ignore: bool, path: str = "") -> Row:
    """A row of a line of JSON. Raises ValueError as load jobs do."""
    if not isinstance(line, dict):
        raise ValueError(f"Expected an object for {path or 'the row'}")
    known = {field["name"]: field for field in fields}
    for name in line:
        if name not in known and not ignore:
            raise ValueError(f"No such field: {path}{name}.")
    row = {}
    for name, field in known.items():
        value, mode = line.get(name), field.get("mode", "NULLABLE")
        if mode == "REPEATED":
            if value is not None and not isinstance(value, list):
                raise ValueError(f"Array specified for non-repeated field: {path}{name}.")
            row[name] = [_typed(each, field, ignore, path) for each in value or ()]
        elif value is None:
            if mode == "REQUIRED":
                raise ValueError(f"Missing required field: {path}{name}.")
            row[name] = None
        else:
            row[name] = _typed(value, field, ignore, path)
    return row


def _typed(value: Any, field: dict[str, Any], ignore: bool, path: str) -> Any:
    kind, name = field["type"], path + field["name"]
    if kind in ("RECORD", "STRUCT"):
        return typed(value, field["fields"], ignore, f"{name}.")
    if kind == "JSON":
        return json.dumps(value)
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(f"Field: {name}; Value: {json.dumps(value)} cannot be {kind}")
    try:
        return _KINDS[kind](value)
    except (ArithmeticError, ValueError, TypeError):
        raise ValueError(f"Could not convert value '{value}' to {kind.lower()}. Field: {name}; Value: {value}") from None


def _integer(value: Any) -> int:
    found = int(value)
    if not -(1 << 63) <= found < 1 << 63 or isinstance(value, bool) or (not isinstance(value, str) and abs(found) > 1 << 53):
        raise ValueError
    return found


def _decimal(scale: int, digits: int) -> Callable[[Any], Decimal]:
    def convert(value: Any) -> Decimal:
        found = Decimal(str(value))
        if -found.as_tuple().exponent > scale or abs(found) >= 10**digits:  # type: ignore[operator]
            raise ValueError
        return found

    return convert


def _timestamp(value: Any) -> datetime:
    found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _datetime(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is not None:
        raise ValueError
    return found


def _boolean(value: Any) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


_KINDS: dict[str, Callable[[Any], Any]] = {
    "INTEGER": _integer, "INT64": _integer, "FLOAT": float, "FLOAT64": float, "NUMERIC": _decimal(9, 29),
    "BIGNUMERIC": _decimal(38, 38), "STRING": str, "GEOGRAPHY": str,
    "BYTES": lambda value: base64.b64decode(value, validate=True), "BOOLEAN": _boolean,
    "BOOL": _boolean, "TIMESTAMP": _timestamp, "DATETIME": _datetime, "DATE": date.fromisoformat,
    "TIME": time_of_day.fromisoformat,
}  # fmt: skip


# REST


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def serve(self) -> None:
        service, parts = self.service, urlsplit(self.path)
        body = self.body()
        service.asked.append(f"{self.command} {self.path}")
        instead = service.before(self.command, self.path)
        if instead is not None:
            self.give(*instead)
            return
        try:
            if parts.path == "/token":
                self.token(body)
                return
            if service.accounts is not None and self.headers.get("Authorization") != "Bearer letmein":
                raise Failed(401, "authError", "Request had invalid authentication credentials.")
            status, told = self.answer(
                [unquote(part) for part in parts.path.strip("/").split("/")], parse_qs(parts.query), body
            )
        except Failed as error:
            told = {"code": error.status, "message": error.message}
            status, told = error.status, {"error": {**told, "errors": [{"reason": error.reason, "message": error.message}]}}
        if self.command == "POST" and parts.path.endswith("/jobs") and status == 200 and service.lost and told:
            service.lost -= 1
            self.close_connection = True
            return
        self.give(status, told)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def token(self, body: bytes) -> None:
        claims = parse_qs(body.decode())["assertion"][0].split(".")[1]
        who = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"]
        if who in (self.service.accounts or ()):
            self.give(200, {"access_token": "letmein", "expires_in": 3600, "token_type": "Bearer"})
        else:
            self.give(400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"})

    def answer(self, way: list[str], given: dict[str, list[str]], body: bytes) -> Answer:
        service = self.service
        if way[:2] == ["upload", "bigquery"]:
            return self.upload(way, given, body)
        project, what = way[3], way[4]
        if what == "jobs" and self.command == "POST":
            return 200, service.insert(json.loads(body))
        if what == "jobs":
            if way[5] not in service.jobs or given.get("location", ["EU"]) != ["EU"]:
                raise Failed(404, "notFound", f"Not found: Job {project}:{way[5]}")
            return 200, service.jobs[way[5]]
        dataset = f"{project}.{way[5]}"
        if len(way) == 6:
            return 200, service.dataset(dataset)
        if len(way) == 7 and self.command == "POST":
            return 200, service.resource(service.make(json.loads(body)))
        name, _, action = f"{dataset}.{way[7]}".partition(":")
        if action == "testIamPermissions":
            return 200, {"permissions": [each for each in json.loads(body)["permissions"] if each not in service.denied]}
        if self.command == "DELETE":
            service.found(name)
            del service.tables[name]
            return 204, None
        if "bigquery.tables.get" in service.denied:
            raise Failed(
                403, "accessDenied", f"Access Denied: Table {name}: Permission bigquery.tables.get denied on table {name}"
            )
        return 200, service.resource(name)

    def upload(self, way: list[str], given: dict[str, list[str]], body: bytes) -> Answer:
        service = self.service
        kind = given["uploadType"][0]
        if kind == "multipart":
            head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
            told, _ = email.message_from_bytes(head + body).get_payload()  # type: ignore[misc]
            return 200, service.insert(json.loads(told.get_payload()), _payload(body, self.headers["Content-Type"]))  # type: ignore[union-attr]
        if self.command == "POST":
            id = f"upload{next(service.number)}"
            service.uploads[id] = {"job": json.loads(body), "data": b""}
            self.location = f"{service.url}/upload/bigquery/v2/projects/shop/jobs?uploadType=resumable&upload_id={id}"
            return 200, None
        upload = service.uploads[given["upload_id"][0]]
        upload["data"] += body
        total = self.headers["Content-Range"].rpartition("/")[2]
        if total == "*" or len(upload["data"]) < int(total):
            self.range = f"bytes=0-{len(upload['data']) - 1}"
            return 308, None
        return 200, service.insert(upload["job"], upload["data"])

    def give(self, status: int, told: Any) -> None:
        body = b"" if told is None else told.encode() if isinstance(told, str) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(told, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (("Location", self.__dict__.pop("location", "")), ("Range", self.__dict__.pop("range", ""))):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def _payload(body: bytes, content_type: str) -> bytes:
    """The second part of a multipart body, byte by byte."""
    boundary = b"--" + re.search(r'boundary="?([^";]+)', content_type)[1].encode()  # type: ignore[index]
    return body.split(boundary)[2].partition(b"\r\n\r\n")[2][:-2]


# Storage Read API


def _storage(service: Service) -> Any:
    import grpc
    import pyarrow as pa
    from google.cloud.bigquery_storage_v1 import types

    def create(request: Any, context: Any) -> Any:
        if service.refuse_read:
            context.abort(*service.refuse_read.pop(0))
        asked = request.read_session
        _, project, _, dataset, _, id = asked.table.split("/", 5)
        name = f"{project}.{dataset}.{id}"
        if name not in service.tables:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {name}")
        if "bigquery.readsessions.create" in service.denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Permission bigquery.readsessions.create denied")
        table = service.tables[name]
        assert asked.data_format == types.DataFormat.ARROW
        snapshot = asked.table_modifiers.snapshot_time
        rows = table.at(snapshot.timestamp()) if "snapshot_time" in asked.table_modifiers else table.rows
        chosen = list(asked.read_options.selected_fields)
        fields = [field for field in table.fields if not chosen or field["name"] in chosen]
        if where := asked.read_options.row_restriction:
            found = re.fullmatch(r"(\w+) > (\d+)", where)
            if found is None:
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"request failed: row filter for table {name} is invalid. {where}"
                )
            rows = [row for row in rows if row[found[1]] > int(found[2])]
        streams = min(service.streams, request.max_stream_count or service.streams)
        size = max(1, -(-len(rows) // streams))
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        known = f"projects/shop/locations/eu/sessions/s{next(service.number)}"
        service.schemas[known] = schema = pa.schema([_field(field) for field in fields])
        for n, part in enumerate(parts):
            service.sessions[f"{known}/streams/{n}"] = part
        return types.ReadSession(
            name=known, table=asked.table, data_format=asked.data_format,
            expire_time=datetime.fromtimestamp(time.time() + 6 * 3600, timezone.utc),
            arrow_schema=types.ArrowSchema(serialized_schema=schema.serialize().to_pybytes()),
            streams=[types.ReadStream(name=f"{known}/streams/{n}") for n in range(len(parts))],
        )  # fmt: skip

    def read(request: Any, context: Any) -> Iterator[Any]:
        if service.refuse_read:
            context.abort(*service.refuse_read.pop(0))
        rows = service.sessions.get(request.read_stream)
        service.reads.append((int(request.read_stream.rpartition("/")[2]), request.offset))
        if service.at_read(len(service.reads)):
            return
        if service.expired or rows is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"there was an error operating on '{request.read_stream}': "
                          "session expired")  # fmt: skip
        if request.offset and request.offset >= len(rows):
            context.abort(grpc.StatusCode.OUT_OF_RANGE, f"offset {request.offset} is behind the end of the stream")
        schema = service.schemas[request.read_stream.rpartition("/streams/")[0]]
        with service.lock:
            upto = service.breaks.pop(0) if service.breaks else None
        sent = 0
        for at in range(request.offset, len(rows), service.message_rows):
            if upto is not None and sent >= upto:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the stream was broken off")
            part = [{field.name: row[field.name] for field in schema} for row in rows[at : at + service.message_rows]]
            batch = pa.RecordBatch.from_pylist(part, schema=schema)
            answer = types.ReadRowsResponse(
                arrow_record_batch=types.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes()),
                row_count=len(part),
            )
            if not sent:
                answer.arrow_schema = types.ArrowSchema(serialized_schema=schema.serialize().to_pybytes())
            sent += len(part)
            yield answer

    return grpc.method_handlers_generic_handler(
        "google.cloud.bigquery.storage.v1.BigQueryRead",
        {
            "CreateReadSession": grpc.unary_unary_rpc_method_handler(
                create, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
            ),
            "ReadRows": grpc.unary_stream_rpc_method_handler(
                read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
            ),
        },
    )


def _field(field: dict[str, Any]) -> Any:
    import pyarrow as pa

    kind = _kind(field)
    extension = {"JSON": "json", "GEOGRAPHY": "geography", "DATETIME": "datetime"}.get(field["type"])
    metadata = {"ARROW:extension:name": f"google:sqlType:{extension}"} if extension else None
    repeated = field.get("mode") == "REPEATED"
    return pa.field(field["name"], pa.list_(kind) if repeated else kind, metadata=metadata)


def _kind(field: dict[str, Any]) -> Any:
    import pyarrow as pa

    if field["type"] in ("RECORD", "STRUCT"):
        return pa.struct([_field(each) for each in field["fields"]])
    return {
        "INTEGER": pa.int64(), "INT64": pa.int64(), "FLOAT": pa.float64(), "FLOAT64": pa.float64(), "BOOLEAN": pa.bool_(),
        "BOOL": pa.bool_(), "STRING": pa.string(), "BYTES": pa.binary(), "NUMERIC": pa.decimal128(38, 9),
        "BIGNUMERIC": pa.decimal256(76, 38), "TIMESTAMP": pa.timestamp("us", tz="UTC"), "DATETIME": pa.timestamp("us"),
        "DATE": pa.date32(), "TIME": pa.time64("us"), "JSON": pa.string(), "GEOGRAPHY": pa.string(),
        "INTERVAL": pa.month_day_nano_interval(),
    }[field["type"]]  # fmt: skip


@pytest.fixture
def bigquery() -> Iterator[Service]:
    """The service of a test."""
    pytest.importorskip("google.cloud.bigquery_storage_v1",
                        reason='there is no client; get it with: pip install "exporters-beam[bigquery]"')  # fmt: skip
    service = Service()
    yield service
    service.stop()
