"""What the reader and the writer of SQL databases share: how a database is named, reached, and what its refusals mean.

SQLAlchemy makes connections and statements, the drivers are psycopg 3, PyMySQL and the standard library's sqlite3. All of
them are imported where they are first used. Names are quoted by the dialect, and values are never part of a statement's text.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from math import isinf
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

import msgspec

from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret, hide, without_credentials
from exporters_beam.components.words import did_you_mean, one_line
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.storages.base import OnFirstUse

if TYPE_CHECKING:
    import sqlalchemy as sa

DIALECTS = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "postgresql+psycopg": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "mysql+pymysql": "mysql",
    "mariadb+pymysql": "mysql",
    "sqlite": "sqlite",
}
"""The schemes of URLs, and the dialect of each."""

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}

DRIVER_MODULES = ("psycopg", "pymysql", "sqlite3")
"""Where errors of drivers come from."""

EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "sqlite": "sql"}

PATIENCE = 15
"""Seconds after which a server that does not answer a connection counts as not there."""


@dataclass(frozen=True, kw_only=True)
class SqlDatabase(OnFirstUse):
    """The options by which the reader and the writer find a database."""

    url: str = option("the database: postgresql://user@host:5432/name, mysql://user@host:3306/name or sqlite:///path",
                      example="postgresql://shop@db.example.org/shop", env="EXPORTERS_SQL_URL")  # fmt: skip
    password: str | None = option("the user's password", type="str", default=None, secret=True, env="EXPORTERS_SQL_PASSWORD")

    def __post_init__(self) -> None:
        if isinstance(self.url, Secret):
            return  # It is looked at again where it is known.
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise ConfigError(f"url: this is not a URL: {error}") from None
        if parts.scheme not in DIALECTS or "://" not in self.url:
            raise ConfigError(f"url: {without_credentials(self.url)} is not the URL of a database that is known here; write "
                              "postgresql://user@host/name, mysql://user@host/name or sqlite:///path")  # fmt: skip
        whole = hide(self.url).startswith("${")  # The whole URL is a secret: it may have a password in it.
        if (parts.password is not None or re.search(r"[?&]password=", parts.query)) and not whole:
            raise ConfigError("url: the URL has a password in it; give it as the option password, "
                              "e.g. password: ${secret:env:PASSWORD}")  # fmt: skip
        if self.dialect == "sqlite" and (self.path in ("", ":memory:") or parts.netloc):
            raise ConfigError("url: give the path of the file: sqlite:///folder/file.db, or sqlite:////folder/file.db from /")
        if self.dialect != "sqlite" and not parts.path.strip("/"):
            raise ConfigError(f"url: {without_credentials(self.url)} names no database; write it behind the server: "
                              f"{parts.scheme}://host/database")  # fmt: skip

    @property
    def dialect(self) -> str:
        """postgresql, mysql (also of MariaDB) or sqlite; "" where the whole URL is a secret that is not resolved yet."""
        return DIALECTS.get(urlsplit(self.url).scheme, "")

    @property
    def path(self) -> str:
        """The file of SQLite."""
        return unquote(urlsplit(self.url).path[1:])

    @property
    def place(self) -> str:
        """The database as messages call it: without user and password."""
        parts = urlsplit(self.url)
        if self.dialect == "sqlite":
            return f"sqlite:///{self.path}"
        port = f":{parts.port}" if parts.port else ""
        return f"{self.dialect}://{parts.hostname or 'localhost'}{port}{parts.path}"

    makes_files: ClassVar[bool] = False
    """Whether a file of SQLite is made where it is not there."""

    @property
    def engine(self) -> sa.Engine:
        """Makes connections, each when it is asked for."""
        return self._once(self._engine)

    def _engine(self) -> sa.Engine:
        sa = sqlalchemy(self.dialect)
        if self.dialect == "sqlite":
            made = sa.create_engine("sqlite://", creator=lambda: _sqlite(self.path, self.makes_files), poolclass=sa.NullPool)
        else:
            url = sa.make_url(self.url).set(drivername=DRIVERS[self.dialect])
            if self.password is not None:
                url = url.set(password=self.password)
            more = {"postgresql": _postgresql, "mysql": _mysql}[self.dialect](url.query)
            made = sa.create_engine(url, connect_args=more, poolclass=sa.NullPool)
        if self.dialect == "postgresql":
            sa.event.listen(made, "connect", lambda connection, _: _postgresql_types(connection))
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def sqlalchemy(dialect: str) -> Any:
    """The library, where the driver of this dialect is here, too. Raises MissingExtra."""
    try:
        import sqlalchemy as found

        if dialect == "postgresql":
            import psycopg  # noqa: F401
        elif dialect == "mysql":
            import pymysql  # noqa: F401
    except ImportError:
        raise MissingExtra(f"a database of {dialect}", EXTRAS[dialect]) from None
    warnings.filterwarnings("ignore", "Did not recognize type", found.exc.SAWarning)  # Its values come all the same.
    return found


# Connections


def _sqlite(path: str, create: bool) -> Any:
    """A connection. Without `create` a file that is not there is an error, and nothing makes it."""
    import sqlite3

    if not create and not os.path.exists(path):
        raise sqlite3.OperationalError(f"there is no file {path}")
    mode = "rwc" if create else "rw"
    made = sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, timeout=30, check_same_thread=False)
    made.text_factory = _text_of_sqlite
    return made


@dataclass(frozen=True)
class Odd:
    """What stands in a row in the place of a value that cannot be made."""

    raw: str
    why: str


def _text_of_sqlite(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        return Odd(raw.decode("utf-8", "backslashreplace"), f"byte {raw[error.start]:#04x} is not UTF-8")


def _postgresql(query: Mapping[str, Any]) -> dict[str, Any]:
    settings = f"{query.get('options', '')} -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres".strip()
    known: dict[str, Any] = {
        "connect_timeout": PATIENCE,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "application_name": "exporters_beam",
        "client_encoding": "utf8",
        "prepare_threshold": None,  # Poolers of connections know no prepared statements.
    }
    return {**{name: value for name, value in known.items() if name not in query}, "options": settings}


def _mysql(query: Mapping[str, Any]) -> dict[str, Any]:
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    types = {
        **conversions,
        FIELD_TYPE.BIT: lambda raw: int.from_bytes(raw, "big"),
        FIELD_TYPE.JSON: json_value,
        FIELD_TYPE.TIME: _time_of_mysql,
        FIELD_TYPE.TIMESTAMP: _timestamp_of_mysql,
    }
    known = {
        "connect_timeout": PATIENCE,
        "charset": "utf8mb4",
        "conv": types,
        "init_command": "SET time_zone = '+00:00'",
    }
    return {name: value for name, value in known.items() if name not in query}


def _time_of_mysql(text: str) -> Any:
    """A time of day; what is none (TIME may be negative, and longer than a day) stays text."""
    from datetime import time

    with suppress(ValueError):
        return time.fromisoformat(text)
    return text


def _timestamp_of_mysql(text: str) -> Any:
    """TIMESTAMP is a moment, and DATETIME is none. The session is in UTC. Zeros stay text."""
    from datetime import datetime, timezone

    with suppress(ValueError):
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    return text


AS_TEXT = ("interval", "inet", "cidr", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
           "int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange")  # fmt: skip
"""Types of PostgreSQL whose values come as the server writes them."""


def _postgresql_types(connection: Any) -> None:
    """What values of a connection become in Python, where psycopg alone has no type that files know, or raises."""
    from psycopg.types.json import set_json_loads
    from psycopg.types.string import TextLoader

    adapters = connection.adapters
    for name in AS_TEXT:
        if adapters.types.get(name) is not None:
            adapters.register_loader(name, TextLoader)
    for name in ("date", "timestamp", "timestamptz", "time", "timetz"):
        adapters.register_loader(name, _or_text(adapters.get_loader(adapters.types[name].oid, 0)))
    set_json_loads(json_value, connection)


def _or_text(loader: Any) -> Any:
    """A loader that gives the text of what Python has no value for: infinity, and years before 1 and after 9999."""
    from psycopg import DataError
    from psycopg.adapt import Loader

    class OrText(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._load = loader(oid, context).load

        def load(self, data: Any) -> Any:
            try:
                return self._load(data)
            except DataError:
                return bytes(data).decode()

    return OrText


_json = msgspec.json.Decoder().decode


def json_value(text: str | bytes) -> Any:
    """What a JSON text stands for: integers of any size, and a decimal where a number is too large for a float."""
    try:
        return _json(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return json.loads(text, parse_float=_number)


def _number(digits: str) -> float | Decimal:
    found = float(digits)
    return Decimal(digits) if isinf(found) else found


def json_columns(connection: Any, schema: str | None, table: str) -> Iterator[str]:
    """The columns of the type JSON: MariaDB has text with a check in its place."""
    import sqlalchemy as sa

    if not connection.dialect.is_mariadb:
        return
    found = connection.execute(
        sa.text("SELECT check_clause FROM information_schema.check_constraints "
                "WHERE constraint_schema = COALESCE(:schema, DATABASE()) AND table_name = :table"),
        {"schema": schema, "table": table},
    )  # fmt: skip
    for (clause,) in found:
        text = str(clause)
        if text.startswith("json_valid(`") and text.endswith("`)"):
            yield text[len("json_valid(`") : -2].replace("``", "`")


def declared(connection: Any, schema: str | None, table: str) -> dict[str, str]:
    """The types that the columns of a table of SQLite were declared with."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    found = connection.exec_driver_sql(f"PRAGMA {quote(schema or 'main')}.table_info({quote(table)})")
    return {row[1]: str(row[2]).upper() for row in found}


# Names


_NAME = re.compile(r'"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|([^."`]+)')


def split_name(text: str) -> tuple[str | None, str] | None:
    """(schema, table) of a name; None for what is none. A name with a dot in it stands in quotes.

    >>> split_name("shop.products"), split_name("products"), split_name('"a.b"'), split_name("a.b.c")
    (('shop', 'products'), (None, 'products'), (None, 'a.b'), None)
    """
    parts, at = [], 0
    while True:
        match = _NAME.match(text, at)
        if match is None:
            return None
        double, back, plain = match.groups()
        parts.append(double.replace('""', '"') if double else back.replace("``", "`") if back else plain)
        at = match.end()
        if at == len(text):
            break
        if text[at] != ".":
            return None
        at += 1
    if len(parts) > 2:
        return None
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def no_such_table(inspector: Any, schema: str | None, table: str) -> str:
    """The sentence about a table that is not there, with what was probably meant."""
    try:
        known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    except Exception:  # The schema is not there either, or may not be looked at.
        known = []
    near = did_you_mean(table, known) if len(known) <= 1000 else ""
    where = f" in the schema {schema}" if schema else ""
    return f"there is no table {table}{where} that this user may see{near}"


# Refusals


class Refused(Exception):
    """What a database refused: the option that is to blame ("" where none is), why, and whether it may go next time."""

    def __init__(self, option: str, text: str, passing: bool = False, data: bool = False, said: str = "") -> None:
        self.option, self.text, self.passing, self.data = option, hide(text), passing, data
        self.said = said or self.text
        """The database's answer alone."""
        super().__init__(f"option {option}: {self.text}" if option else self.text)


@contextmanager
def refusals(database: SqlDatabase, subject: str = "table") -> Iterator[None]:
    """Turns what drivers raise into Refused. `subject` is the option that names what is read or written."""
    import sqlalchemy.exc

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        raise refused(database, error.orig or error, subject) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise Refused("", f"{database.place}: {one_line(str(error), 300)}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in DRIVER_MODULES:
            raise
        raise refused(database, error, subject) from error


def refused(database: SqlDatabase, error: BaseException, subject: str = "table") -> Refused:
    """What a driver's error means."""
    kind = {"postgresql": _kind_postgresql, "mysql": _kind_mysql, "sqlite": _kind_sqlite}[database.dialect](error)
    said = _said(error)
    place = database.place
    if kind == "gone":
        return Refused("", f"the connection to {place} broke ({said})", passing=True)
    if kind == "busy":
        return Refused("", f"{place} could not do it now ({said})", passing=True)
    if kind == "login":
        name = "password" if database.password is not None else "url"
        return Refused(name, f"{place} does not let this user in (it said: {said})")
    if kind == "database":
        return Refused("url", f"{place} is not there (the server said: {said})")
    if kind == "unknown host":
        return Refused("url", f"{place} cannot be reached ({said})")
    if kind == "unreachable":
        return Refused("url", f"{place} cannot be reached ({said})", passing=True)
    if kind == "file":
        return Refused("url", f"{place} cannot be opened ({said})")
    if kind == "right":
        return Refused(subject, f"the user may not do this in {place} (it said: {said}); grant it, or name another user")
    if kind == "name":
        return Refused(subject, f"{place} does not know a name (it said: {said})")
    if kind == "syntax":
        return Refused(subject, f"{place} does not understand it (it said: {said})")
    return Refused("", f"{place} refused (it said: {said})", data=kind == "data", said=said)


def _said(error: BaseException) -> str:
    """The server's answer as part of a sentence."""
    args: tuple[Any, ...] = error.args
    if len(args) == 2 and isinstance(args[0], int):
        text = f"{args[1]} ({args[0]})" if args[1] else f"error {args[0]}"
    else:
        told = getattr(error, "diag", None)  # of psycopg
        parts = (told.message_primary, told.message_detail) if told is not None else ()
        text = "; ".join(filter(None, parts)) or str(error)
    return one_line(hide(text), 300) or type(error).__name__


def _kind_postgresql(error: Any) -> str:
    state, text = error.sqlstate or "", str(error)
    if (not state and "connection failed" in text) or "failed to resolve" in text or "connection timeout" in text:
        if "authentication failed" in text or "no password supplied" in text or ("role" in text and "does not exist" in text):
            return "login"
        if "database" in text and "does not exist" in text:
            return "database"
        if "failed to resolve" in text or "translate host name" in text:
            return "unknown host"
        return "busy" if "starting up" in text or "too many" in text or "shutting down" in text else "unreachable"
    if state in ("28P01", "28000"):
        return "login"
    if state == "3D000":
        return "database"
    if state.startswith(("08", "57P")):
        return "gone"
    if not state:
        return "gone" if type(error).__name__ in ("OperationalError", "InterfaceError") else "data" if _is_data(error) else ""
    if state in ("40001", "40P01", "55P03", "53300", "57014"):
        return "busy"
    if state == "42501":
        return "right"
    if state in ("42P01", "42703", "3F000", "42883"):
        return "name"
    if state.startswith("42"):
        return "data" if state in ("42804", "42846") else "syntax"
    return "data" if state.startswith(("22", "23")) else ""


def _is_data(error: Any) -> bool:
    """Whether the driver itself could not send or make a value."""
    return type(error).__name__ in ("DataError", "ProgrammingError", "NotSupportedError")


_MYSQL = {
    **dict.fromkeys((2006, 2013, 2014, 2055, 1053, 1077, 1079, 0), "gone"),
    **dict.fromkeys((1205, 1213, 1040, 1203, 1226, 3572, 1927, 1969), "busy"),
    **dict.fromkeys((1045, 1698, 1251, 1130), "login"),
    **dict.fromkeys((1049,), "database"),
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), "right"),
    **dict.fromkeys((1146, 1054, 1051, 1305), "name"),
    **dict.fromkeys((1064, 1149, 1060), "syntax"),
    **dict.fromkeys((1048, 1062, 1136, 1216, 1217, 1264, 1265, 1292, 1300, 1364, 1366, 1406, 1411, 1416), "data"),
    **dict.fromkeys((1441, 1451, 1452, 1525, 1690, 3140, 3819, 4025), "data"),
}  # fmt: skip
"""What the error numbers of MySQL and MariaDB mean that are told apart."""


def _kind_mysql(error: Any) -> str:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else -1
    if code in (2003, 2002, 2005):
        return "unknown host" if "Name or service" in str(error) or "nodename" in str(error) else "unreachable"
    if code in _MYSQL:
        return _MYSQL[code]
    kind = type(error).__name__
    if kind == "InterfaceError":
        return "gone"
    return "data" if kind == "DataError" or (kind == "ProgrammingError" and code < 0) else ""  # It cannot be sent.


def _kind_sqlite(error: Any) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return "busy"
    if "no such" in text or "unknown database" in text:
        return "name"
    if "unable to open" in text or "there is no file" in text or "not a database" in text or "readonly" in text:
        return "file"
    if "syntax error" in text or "incomplete input" in text:
        return "syntax"
    return "data" if type(error).__name__ in ("IntegrityError", "DataError", "InterfaceError", "OverflowError") else ""
