"""What the reader and the writer of MongoDB share: how a collection is named, reached, and what refusals mean.

pymongo makes connections, and is imported where it is first used. The codes of errors are those of
https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret, hide, without_credentials
from exporters_beam.components.words import did_you_mean, one_line
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.storages.base import OnFirstUse

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.collection import Collection
    from pymongo.database import Database

SCHEMES = ("mongodb", "mongodb+srv")

PATIENCE = 15
"""Seconds after which servers that do not answer count as not there."""

LOGIN = (11, 18, 8000)

RIGHT = (13,)

BUSY = (
    *(6, 7, 24, 43, 46, 50, 63, 64, 89, 91, 112, 133, 134, 150, 189, 202, 234, 262),
    *(9001, 10058, 10107, 11600, 11602, 13388, 13435, 13436, 16500),
)
"""Codes after which the same may go well: of connections, elections, locks, cursors that are gone, and of too many requests."""

CONCERN = (79, 100)

QUERY = (2, 9, 14, 17, 28, 31, 40, 52, 168, 231, 241)
"""Codes of what a server does not understand. Those from 10,000 on say where in its code it gave up: of a query, or a stage."""


@dataclass(frozen=True, kw_only=True)
class MongoCollection(OnFirstUse):
    """The options by which the reader and the writer find a collection."""

    url: str = option("the servers: mongodb://user@host:27017 or mongodb+srv://user@host; parts behind ? go to the driver",
                      example="mongodb://shop@db1.example.org,db2.example.org/shop?replicaSet=rs0",
                      env="EXPORTERS_MONGODB_URL")  # fmt: skip
    password: str | None = option(
        "the user's password", type="str", default=None, secret=True, env="EXPORTERS_MONGODB_PASSWORD", identity=False
    )
    database: str | None = option("the database; by default that which the URL names", type="str", default=None)
    collection: str = option("the collection", example="products")

    def __post_init__(self) -> None:
        if isinstance(self.url, Secret):
            return  # It is looked at again where it is known.
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise ConfigError(f"url: {without_credentials(self.url)} is not the URL of a MongoDB; write "
                              "mongodb://user@host:27017 or mongodb+srv://user@host")  # fmt: skip
        login = parts.netloc.rpartition("@")[0]
        whole = hide(self.url).startswith("${")  # The whole URL is a secret: it may have a password in it.
        if ":" in login and not whole:
            raise ConfigError("url: the URL has a password in it; give it as the option password, "
                              "e.g. password: ${secret:env:PASSWORD}")  # fmt: skip
        if not self.database_name:
            raise ConfigError("database: name the database, here or in the URL behind the servers")

    @property
    def database_name(self) -> str:
        return self.database or unquote(urlsplit(self.url).path.strip("/"))

    @property
    def place(self) -> str:
        """The database as messages call it: without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self.database_name}"

    @property
    def client(self) -> MongoClient[Any]:
        """Makes connections when they are needed."""
        return self._once(self._client)

    def _client(self) -> MongoClient[Any]:
        pymongo = library()
        known: dict[str, Any] = {
            "serverSelectionTimeoutMS": PATIENCE * 1000,
            "connectTimeoutMS": PATIENCE * 1000,
            "appname": "exporters_beam",
        }
        given = set(re.findall(r"[?&]([^=&]+)=", self.url.lower()))
        more = {name: value for name, value in known.items() if name.lower() not in given}
        if self.password is not None:
            more["password"] = self.password
        try:
            made: MongoClient[Any] = pymongo.MongoClient(self.url, **more)
        except ValueError as error:  # Of a URL; pymongo has no class of its own for ports.
            raise Refused("url", one_line(str(error).partition(" Hint:")[0], 300)) from None
        weakref.finalize(self, made.close)
        return made

    def let_go(self) -> None:
        """Ends the connections; the next use makes others."""
        client = self.__dict__.pop("_made", None)
        if client is not None:
            client.close()

    @property
    def there(self) -> Database[Any]:
        try:
            return self.client[self.database_name]
        except library().errors.InvalidName as error:
            raise Refused("database", f"{self.database_name} cannot be the name of a database ({error})") from None

    @property
    def found(self) -> Collection[Any]:
        """The collection, whether it is there or not."""
        try:
            return self.there[self.collection]
        except library().errors.InvalidName as error:
            raise Refused("collection", f"{self.collection} cannot be the name of a collection ({error})") from None

    def kind_there(self) -> str | None:
        """What it is: `collection`, `view`, …; None where it is not there."""
        from pymongo.errors import OperationFailure

        _ = self.found
        try:
            named = self.there.list_collections(filter={"name": self.collection}, nameOnly=True, authorizedCollections=True)
            return next((str(each.get("type", "collection")) for each in named), None)
        except OperationFailure as error:
            if error.code not in RIGHT:
                raise
            return "collection"  # Nobody may say; reading it will.

    def not_there(self) -> Refused:
        """The sentence about a collection that is not there, with what was probably meant."""
        names = self.there.list_collection_names(authorizedCollections=True)
        if not names:
            return Refused("database", f"{self.place} has no collections that this user may see")
        near = did_you_mean(self.collection, names) if len(names) <= 1000 else ""
        return Refused("collection", f"{self.place} has no collection {self.collection} that this user may see{near}")


def library() -> Any:
    """pymongo. Raises MissingExtra."""
    try:
        import pymongo
    except ImportError:
        raise MissingExtra("MongoDB", "mongodb") from None
    return pymongo


def of_extended_json(value: Any, name: str) -> Any:
    """What stands in an option as Extended JSON, like {"$oid": …} and {"$date": …}. Raises ConfigError."""
    library()
    from bson.errors import BSONError
    from bson.json_util import loads

    try:
        return loads(json.dumps(value, default=str))
    except (BSONError, ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise ConfigError(f"{name}: this is not Extended JSON: {one_line(str(error), 200)}") from None


# Refusals


class Refused(Exception):
    """What a server refused: the option that is to blame ("" where none is), why, and whether it may go well next time."""

    def __init__(self, option: str, text: str, passing: bool = False, code: int = 0) -> None:
        self.option, self.text, self.passing, self.code = option, hide(text), passing, code
        super().__init__(f"option {option}: {self.text}" if option else self.text)


@contextmanager
def refusals(of: MongoCollection, blamed: str = "collection") -> Iterator[None]:
    """Turns what pymongo raises into Refused. `blamed` is the option with what a server may not understand."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pymongo", "bson"):
            raise
        raise refused(of, error, blamed) from error


def refused(of: MongoCollection, error: BaseException, blamed: str) -> Refused:
    """What an error of pymongo means."""
    from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure, ServerSelectionTimeoutError

    place, said = of.place, _said(error)
    if isinstance(error, ServerSelectionTimeoutError):
        lost = any(text in said for text in ("Name or service", "nodename", "name resolution", "CERTIFICATE_VERIFY_FAILED"))
        return Refused("url", f"{place} cannot be reached ({said})", passing=not lost)
    if isinstance(error, OperationFailure):
        return by_code(of, error.code or 0, said, blamed, error.has_error_label("RetryableWriteError"))
    if isinstance(error, ConnectionFailure):
        return Refused("", f"the connection to {place} broke ({said})", passing=True)
    if isinstance(error, ConfigurationError):
        return Refused("password" if "password" in said.lower() else "url", f"{place} cannot be reached ({said})")
    return Refused("", f"{place}: {said}")


def by_code(of: MongoCollection, code: int, said: str, blamed: str, passing: bool = False) -> Refused:
    """What a server's answer with an error code means."""
    place = of.place
    if code in LOGIN:
        name = "password" if of.password is not None else "url"
        return Refused(name, f"{place} does not let this user in (it said: {said})", code=code)
    if code in RIGHT:
        return Refused("collection", f"the user may not do this in {place} (it said: {said}); grant it, or name another user",
                       code=code)  # fmt: skip
    if passing or code in BUSY:
        return Refused("", f"{place} could not do it now (it said: {said})", passing=True, code=code)
    if code in CONCERN or "cannot use 'w'" in said:
        return Refused("write_concern", f"{place} cannot do that (it said: {said})", code=code)
    if code in QUERY or code >= 10_000:
        return Refused(blamed, f"{place} does not understand it (it said: {said})", code=code)
    return Refused("", f"{place} refused (it said: {said})", code=code)


def _said(error: BaseException) -> str:
    """The server's answer, or what pymongo says, as part of a sentence."""
    details = getattr(error, "details", None)
    text = details.get("errmsg") if isinstance(details, Mapping) else None
    text = text or re.split(r", full error: | \(configured timeouts: |, Timeout: ", str(error))[0]
    return one_line(hide(str(text)), 300) or type(error).__name__
