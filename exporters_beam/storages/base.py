"""Storages: bytes under names, behind the readers and writers of the same name. One file per storage.

A storage is made from options that are plain values and opens nothing before its first use; then it keeps its client, which
is never pickled. What a server refuses comes out as StorageError: one sentence with the option that is to blame and the
server's answer. It is an OSError, so that readers and writers tell it as they tell what a file system says.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from exporters_beam.components.retry import persistently
from exporters_beam.components.schemes import known_schemes, storage_of
from exporters_beam.components.secret import hide
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError, MissingExtra, shown
from exporters_beam.records import Warned

T = TypeVar("T")

ATTEMPTS = 5
"""How often a read that breaks off is taken up again where it broke, before it fails."""

SILENCE = 60.0
"""Seconds without a byte after which a connection counts as broken."""


class Stored(NamedTuple):
    """What stands under a name. `etag` changes when the content does; `md5` (hex) is "" where the storage does not know it."""

    name: str
    size: int
    etag: str = ""
    md5: str = ""
    metadata: Mapping[str, str] = {}


class Content(NamedTuple):
    """What is to be put under a name: its size, the hex MD5 of its bytes, metadata, and a token for temporary names: what
    is put again with the same token may overwrite what an earlier try has left."""

    size: int
    md5: str
    metadata: Mapping[str, str] = {}
    token: str = ""


class OnFirstUse(Protocol):
    """Has something that is made on first use, kept, and never pickled: a client, a storage."""

    def _once(self, make: Callable[[], T]) -> T:
        made: T | None = self.__dict__.get("_made")
        if made is None:
            made = make()
            object.__setattr__(self, "_made", made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_made"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


class Storage(OnFirstUse, Protocol):
    """What a storage has to offer. Every method raises StorageError, or NotThere where there is no such name."""

    def url(self, name: str) -> str:
        """The name with all that tells where it is."""

    def name(self, url: str) -> str | None:
        """The name in a URL of this storage; None for what is somewhere else."""
        place = self.url("")
        return url[len(place) :] if url.startswith(place) else None

    def names(self, prefix: str) -> Iterator[Stored | Warned]:
        """Everything whose name begins with the prefix (or below the folder, where there are folders), sorted by name,
        a page at a time. What is called or below `.exporters` is left out; what else is not read is warned of."""

    def stat(self, name: str) -> Stored:
        """What stands under a name."""

    def open(self, found: Stored) -> BinaryIO:
        """The bytes of what `names` or `stat` found, seekable. What has changed since is refused."""

    def unchanged(self, found: Stored) -> None:
        """After it was read: raises what `open` raises of what has changed. Nothing has to be asked where every answer that
        has bytes of it says, or was asked for, which version they are of."""
        return

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Put a file under a name, whole or not at all, and check that what arrived is what was sent."""

    def delete(self, name: str) -> None:
        """Remove it. It is no error where there is nothing."""

    def beside(self, source: Storage) -> bool:
        """Whether `copy` is done inside the service, for objects of this storage."""
        return False

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy what was found in another storage, or in this one, inside the service; None where that cannot be done."""
        return None

    def probe(self) -> None:
        """Look early whether anything can be put: raises what is certain, such as a wrong password."""


class ClientStorage(Storage, Protocol):
    """A storage that is reached through a client or a connection."""

    @property
    def client(self) -> Any:
        """The client or connection, made on first use and again where it is no longer alive."""
        made = self.__dict__.get("_made")
        if made is not None and not self._alive(made):
            self._forget()
        return self._once(self._connect)

    def _connect(self) -> Any:
        raise NotImplementedError

    def _alive(self, made: Any) -> bool:
        return True

    def _forget(self) -> None:
        """Let the next use make another one."""
        self.__dict__.pop("_made", None)


class StorageError(OSError):
    """What a storage refused: the option that is to blame ("" where none is), and why. `passing`: it may go next time."""

    def __init__(self, option: str, text: str, passing: bool = False) -> None:
        self.option, self.text, self.passing = option, hide(text), passing
        super().__init__(errno.EIO, f"option {option}: {self.text}" if option else self.text)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> Any:
        return (type(self), (self.option, self.text, self.passing))


class NotThere(StorageError):
    """There is nothing under this name."""


def client(module: str, what: str, extra: str) -> Any:
    """Import a client library on first use. Raises MissingExtra, which says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(what, extra) from None


def patiently(act: Callable[[], T], attempts: int) -> T:
    """Do it, again after a pause where a StorageError that passes is raised, so many times in all."""
    return persistently(act, attempts=attempts, first=0.4, longest=10.0,
                        passing=lambda error: isinstance(error, StorageError) and error.passing)  # fmt: skip


def answer(text: str) -> str:
    """What a server said as part of a sentence: one line, and not a long one."""
    return one_line(text, 300)


def each_page(
    answers: Callable[[], AbstractContextManager[None]],
    pages: Iterator[Any],
    listed: Callable[[Any], Iterable[object]] = list,
) -> Iterator[Any]:
    """What is on the pages of a listing; each page is asked for where `answers` turns what goes wrong into StorageError."""
    while True:
        with answers():
            page = next(pages, None)
            found = [] if page is None else list(listed(page))
        if page is None:
            return
        yield from found


def is_bookkeeping(name: str) -> bool:
    """Whether a name is of the books of an export that was delivered there."""
    return ".exporters" in name.split("/")


def passed_over(url: str, what: str) -> Warned:
    return Warned(f"{shown(url)}: passed over, since it is {what}")


def changed(name: str) -> StorageError:
    return StorageError("", f"{name} changed while the export ran; export again when it is complete")


def look_again(storage: Storage, found: Stored) -> None:
    """Raises StorageError where what stands under a name is not what was found before."""
    try:
        there = storage.stat(found.name)
    except NotThere as error:
        raise changed(storage.url(found.name)) from error
    if (there.size, there.etag) != (found.size, found.etag):
        raise changed(storage.url(found.name))


def arrived(name: str, found: Stored, content: Content) -> Stored:
    """What stands there now, if it is what was sent. Raises StorageError."""
    if found.size != content.size:
        raise StorageError("", f"{name} has {found.size:,} bytes there; {content.size:,} were sent")
    if found.md5 and content.md5 and found.md5 != content.md5:
        raise StorageError("", f"{name} has the MD5 {found.md5} there; what was sent has {content.md5}")
    return found


class Connected(OnFirstUse):
    """A component that has a storage."""

    def connect(self) -> Storage:
        """The storage that the options name."""
        raise NotImplementedError

    @property
    def storage(self) -> Storage:
        return self._once(self.connect)


class Sent:
    """A file that is sent to a server that tells no checksum: hashed on its way."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file, self._hash = file, hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def compare(self, name: str, content: Content) -> None:
        """Raises StorageError where it is not what was to be sent."""
        if self._hash.hexdigest() != content.md5:
            raise StorageError("", f"{name} was not sent as it was built: its MD5 is {self._hash.hexdigest()}, "
                                   f"not {content.md5}")  # fmt: skip


def of_url(url: str) -> tuple[Storage, str]:
    """The storage that a URL names, with credentials from its variables of the environment, and the name in it.

    Raises ConfigError for what is not a URL of a storage.
    """
    scheme, _, rest = url.partition("://")
    target = storage_of(scheme)
    if target is None or not rest:
        raise ConfigError(f"{url} is not a URL of a storage; known: {known_schemes()}")
    module, _, name = target.partition(":")
    try:
        found: tuple[Storage, str] = getattr(importlib.import_module(module), name).of_url(url)
    except ImportError as error:
        raise ConfigError(f"{url}: the storage of {scheme}:// cannot be imported: {error}") from error
    return found
