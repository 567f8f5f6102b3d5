"""What the storages of an Azure account have in common: how an account is reached, and what its answers mean."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.storages.base import (
    ATTEMPTS,
    SILENCE,
    ClientStorage,
    Connected,
    NotThere,
    Storage,
    StorageError,
    Stored,
    answer,
    changed,
    client,
)
from exporters_beam.storages.ranged import Pieces, Ranged, buffered

_TO_BLAME = {
    "AuthenticationFailed": ("account_key", "the server does not take the key"),
    "NoAuthenticationInformation": ("account_key", "the server wants a key"),
    "InvalidAuthenticationInfo": ("account_key", "the server does not take the key"),
    "AuthorizationFailure": ("{place}", "no permission in the {place} {name!r}"),
    "AuthorizationPermissionMismatch": ("{place}", "no permission in the {place} {name!r}"),
    "ContainerNotFound": ("{place}", "there is no {place} {name!r}"),
    "ContainerBeingDeleted": ("{place}", "the {place} {name!r} is being deleted"),
    "ShareNotFound": ("{place}", "there is no {place} {name!r}"),
    "ShareBeingDeleted": ("{place}", "the {place} {name!r} is being deleted"),
    "InvalidResourceName": ("{place}", "{name!r} is not a valid name of a {place}"),
    "ResourceNotFound": ("account_name", "there is no such account or {place}"),
}
"""Error codes of the service: the option that is to blame, and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class AzureStorage(ClientStorage):
    """A container or a share of an account."""

    scheme: ClassVar[str]
    service: ClassVar[str]
    """What addresses of the service have in them: blob, file."""
    extra: ClassVar[str]
    place: ClassVar[str]
    """What the names are in, and the option that says which: container, share."""

    account: str | None = None
    key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)
    host: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        place, _, name = url.removeprefix(f"{cls.scheme}://").partition("/")
        account, _, place = place.rpartition(".")
        environ = os.environ
        given: dict[str, Any] = {
            cls.place: place,
            "account": account or environ.get("EXPORTERS_AZUREWRITER_NAME"),
            "key": environ.get("EXPORTERS_AZUREWRITER_KEY"),
            "host": environ.get(f"AZURE_STORAGE_{cls.service.upper()}_ENDPOINT"),
        }
        return cls(**given), name

    def url(self, name: str) -> str:
        return f"{self.scheme}://{self.account}.{getattr(self, self.place)}/{name}"

    def open(self, found: Stored) -> BinaryIO:
        errors = self._library("azure.core.exceptions")
        broken = (errors.ServiceRequestError, errors.ServiceResponseError, ConnectionError)

        def fetch(start: int) -> Pieces:
            return Pieces(partial(self._piece, found), start, found.size)

        return buffered(Ranged(found.size, fetch, broken, self.attempts))

    def _piece(self, found: Stored, start: int, stop: int) -> bytes:
        """Some bytes of what was found. What has changed since is refused."""
        raise NotImplementedError

    def _library(self, module: str) -> Any:
        return client(module, f"the storage azure_{self.service}", self.extra)

    def _access(self) -> dict[str, Any]:
        """What the client of the service wants to know. Raises StorageError where something is missing."""
        if not self.account:
            raise StorageError("account_name", "it is missing; give it, or EXPORTERS_AZUREWRITER_NAME")
        if not (self.key or self.sas_token):
            raise StorageError("account_key", "it is missing; give it, sas_token, or EXPORTERS_AZUREWRITER_KEY")
        return {
            "account_url": self.host or f"https://{self.account}.{self.service}.core.windows.net",
            "credential": {"account_name": self.account, "account_key": self.key} if self.key else self.sas_token,
            "retry_total": max(0, self.attempts - 1),
            "initial_backoff": 1,
            "increment_base": 2,
            "random_jitter_range": 1,
            "connection_timeout": 15,
            "read_timeout": SILENCE,
        }

    def _reading(self, start: int, stop: int) -> dict[str, Any]:
        """What a download is asked with: the client reads what breaks off three times, whatever its retries are."""
        asked = iter((True,))

        def only_once(_: object) -> None:
            if not next(asked, False):
                raise StorageError("", f"the connection broke between the bytes {start:,} and {stop:,}")

        return {"raw_request_hook": only_once} if self.attempts < 2 else {}

    def beside(self, source: Storage) -> bool:
        """Whether what is in a storage can be copied here inside the service."""
        return isinstance(source, type(self)) and (source.account, source.host) == (self.account, self.host)

    def _copied(self, look: Callable[[], Any], found: Stored, source: Storage) -> Any:
        """What stands there when the service has copied it, as `look` finds it; None where it gave up."""
        while (status := (there := look()).copy.status) == "pending":
            time.sleep(0.2)
        if status != "success":
            return None
        md5 = md5_of(there)
        if there.size != found.size or (found.md5 and md5 and md5 != found.md5):
            raise StorageError("", f"the copy of {source.url(found.name)} is not what that is: size or MD5 differ")
        return there

    def _create(self) -> None:
        """Make the container or share."""
        raise NotImplementedError

    def probe(self) -> None:
        """Make the container or share where it is not there, as the old system did."""
        errors = self._library("azure.core.exceptions")
        with self._answers(""):
            try:
                self._create()
            except errors.ResourceExistsError:
                return
            except errors.HttpResponseError as error:
                if not code_of(error).startswith(("AuthorizationP", "AuthorizationR")):
                    raise  # A key that may not make it may still put files there.

    @contextmanager
    def _answers(self, name: str, putting: bool = False) -> Iterator[None]:
        """Turns what the client raises into StorageError."""
        errors = self._library("azure.core.exceptions")
        try:
            yield
        except (StorageError, ConfigError):
            raise
        except errors.HttpResponseError as error:
            raise self._refused(error, name, putting) from error
        except (errors.ServiceRequestError, errors.ServiceResponseError) as error:
            raise StorageError("host", f"the server cannot be reached ({answer(str(error))})") from error
        except errors.AzureError as error:
            raise StorageError("", answer(str(error))) from error
        except (ValueError, TypeError) as error:  # binascii.Error is one
            raise StorageError("account_key", f"it is not a key of an account ({answer(str(error))})") from error

    def _refused(self, error: Any, name: str, putting: bool) -> StorageError:
        code, status = code_of(error), error.status_code
        said = answer(str(error.reason or ""))
        of_place = code.startswith(self.place.capitalize())
        missing = (status == 404 and not of_place) or code == "ResourceTypeMismatch"  # a folder, where a file is wanted
        if code == "BlobNotFound" or (missing and name and not putting):
            return NotThere("", f"there is no {self.service} {self.url(name)}")
        if status == 412:
            return changed(self.url(name))
        if status == 429:  # which the client does not try again
            return StorageError("", f"the server has too much to do (it said 429: {said})", passing=True)
        if status is None or status < 300:  # The answer began well, and did not end.
            return StorageError("", f"the connection broke ({answer(str(error))})", passing=True)
        if code == "AuthorizationFailure" and "authenticate" in said:
            code = "AuthenticationFailed"
        option, what = _TO_BLAME.get(code, ("account_key" if status in (401, 403) else "", "the server refused"))
        about = {"place": self.place, "name": getattr(self, self.place)}
        text = f"{what.format_map(about)} (the server said {code or status}: {said})"
        return StorageError(option.format_map(about), text)


@dataclass(frozen=True, kw_only=True)
class AzureAccount(Connected):
    """The options by which readers and writers find an account."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    account_name: str | None = option("name of the account", type="str", default=None, env="EXPORTERS_AZUREWRITER_NAME")
    account_key: str | None = option("its key", type="str", default=None, env="EXPORTERS_AZUREWRITER_KEY", secret=True)
    sas_token: str | None = option("shared access signature, instead of the key", type="str", default=None, secret=True)
    host: str | None = option("address of the account, where it is another than Azure's own", type="str", default=None)

    def access(self) -> Mapping[str, Any]:
        """The options as a storage takes them."""
        return {"account": self.account_name, "key": self.account_key, "sas_token": self.sas_token, "host": self.host,
                "attempts": self.attempts}  # fmt: skip


def md5_of(found: Any) -> str:
    """The MD5 that a file was sent with, as far as the service knows it."""
    return bytes(found.content_settings.content_md5 or b"").hex()


def etag_of(found: Any) -> str:
    return str(found.etag or "").strip('"')


def code_of(error: object) -> str:
    """What the service calls its error."""
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))
