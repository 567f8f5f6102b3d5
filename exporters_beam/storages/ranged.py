"""Files of a storage as streams that can be entered anywhere, by requests for ranges of bytes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from exporters_beam.storages.base import ATTEMPTS, StorageError, answer

PIECE = 8 << 20
"""Bytes of one request, where a file is read in several."""

BUFFER = 1 << 20
"""Bytes that are read ahead of who reads a remote file."""


class Ranged(io.RawIOBase):
    """A remote file that can be entered at any byte: `fetch(start)` gives a stream from there on.

    A stream that breaks off (raises one of `broken`, or ends early) is fetched again from where it broke, with `attempts`
    for each piece: a retry around the whole would begin anew.
    """

    def __init__(
        self, size: int, fetch: Callable[[int], Any], broken: tuple[type[Exception], ...], attempts: int = ATTEMPTS
    ) -> None:
        self._size, self._fetch, self._broken, self._attempts = size, fetch, broken, attempts
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at != self._at:
            self._drop()
            self._at = max(0, at)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        why = ""
        for attempt in range(max(1, self._attempts)):
            if attempt:
                time.sleep(min(5.0, 0.1 * 4**attempt))
            try:
                if self._body is None:
                    self._body = self._fetch(self._at)
                data = self._body.read(wanted)
                if data:
                    buffer[: len(data)] = data
                    self._at += len(data)
                    return len(data)
                why = f"it ended after {self._at:,} of {self._size:,} bytes"
            except StorageError as error:
                if not error.passing:
                    raise
                why = error.text
            except self._broken as error:
                why = f"the connection broke at byte {self._at:,} of {self._size:,}: {answer(str(error))}"
            self._drop()
        raise StorageError("", why)

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None and hasattr(body, "close"):
            body.close()

    def close(self) -> None:
        self._drop()
        super().close()


class Pieces:
    """A stream from a byte on that is fetched a piece at a time: `fetch(start, stop)` gives one."""

    def __init__(self, fetch: Callable[[int, int], bytes], start: int, size: int, step: int = PIECE) -> None:
        self._fetch, self._at, self._size, self._step = fetch, start, size, step
        self._held = memoryview(b"")

    def read(self, wanted: int) -> bytes:
        if not self._held and self._at < self._size:
            data = self._fetch(self._at, min(self._size, self._at + self._step))
            self._at += len(data)
            self._held = memoryview(data)
        given, self._held = self._held[:wanted], self._held[wanted:]
        return bytes(given)


def buffered(raw: Ranged) -> BinaryIO:
    """The file as readers want it, read ahead."""
    return io.BufferedReader(raw, BUFFER)
