"""Lines of JSON in a chunk: where each ends, and the proof that each holds one object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress
from typing import Any


@dataclass(frozen=True, slots=True)
class Split:
    """Whole lines, and where each ends (an array of numbers): at its line feed, or where the text does."""

    text: bytes
    ends: Any = field(compare=False)

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self.ends)

    @property
    def longest(self) -> int:
        """The bytes of the longest line."""
        ends = self.ends
        return max(int(ends[0]), int((ends[1:] - ends[:-1]).max()) - 1 if len(ends) > 1 else 0) if len(ends) else 0

    def holds(self, objects: int) -> bool:
        """Whether each line is sure to hold one object, in a text that is so many JSON objects with nothing but white space
        between them.

        Their number alone proves nothing, since a line with two and a blank one make up for each other. But inside an object
        no line ends with a brace and the next one begins with one. So lines that all begin and end with braces hold whole
        objects, at least one each; and one each where there are as many lines.
        """
        ends = self.ends
        if len(ends) != objects or not objects:
            return not len(ends) and not objects
        return _meet(self.text, ends - 1, -1, b"}") and _meet(self.text, _starts(ends), 1, b"{")

    def lines(self, flags: Iterable[object] | None = None) -> list[bytes]:
        """The lines, or those with a true flag, without their line feeds."""
        text, ends = self.text, self.ends.tolist()
        if flags is None:
            return text.split(b"\n")[: len(ends)]
        starts = _starts(self.ends).tolist() if ends else []
        return [text[a:b] for a, b in zip(compress(starts, flags), compress(ends, flags), strict=True)]


@dataclass(frozen=True, slots=True)
class Few(Split):
    """The same of a small text: to make all of its lines takes less time than to find out where they are."""

    made: list[bytes] = field(default_factory=list, compare=False)

    @property
    def count(self) -> int:
        return len(self.made)

    @property
    def longest(self) -> int:
        return max(map(len, self.made), default=0)

    def holds(self, objects: int) -> bool:
        text, count = self.text, len(self.made)
        if count != objects or not objects:
            return not count and not objects
        if text.count(b"}\n{") == count - 1 and text.startswith(b"{") and text.endswith((b"}", b"}\n")):
            return True
        return all(line[:1] == b"{" and line[-1:] == b"}" for line in (each.strip(b" \t\r") for each in self.made))

    def lines(self, flags: Iterable[Any] | None = None) -> list[bytes]:
        return list(self.made if flags is None else compress(self.made, flags))


SMALL = 16 << 10
"""Bytes of a text of few lines."""

_MOST_SPACES = 40
"""Bytes of white space before or behind an object up to which lines are looked at together."""


def _starts(ends: Any) -> Any:
    """Where each line begins."""
    starts = ends + 1
    starts[1:], starts[0] = starts[:-1], 0
    return starts


def _meet(text: bytes, places: Any, step: int, brace: bytes) -> bool:
    """Whether from each of these places on, going by `step`, a brace is the first byte that is not white space.

    No way leads over a line feed, so that it stays inside its line. A blank line meets one, or, where it is the first, what
    the text ends with: then the way from its other end meets one.
    """
    import numpy as np

    codes = np.frombuffer(text, np.uint8)
    for _ in range(_MOST_SPACES):
        found = codes.take(places, mode="wrap")
        if found.tobytes().count(brace) == len(places):
            return True
        spaces = (found == 32) | (found == 13) | (found == 9)
        if not spaces.any():
            return False
        places = places + step * spaces
    return False


def split(text: bytes, small: int = SMALL) -> Split:
    """Where the lines of a text end, and so how many there are. Bits are looked at eight at a time, since hardly any two line
    feeds are so near each other."""
    if len(text) < small:
        lines = text.split(b"\n")
        if not lines[-1]:
            del lines[-1]
        return Few(text, None, lines)
    import numpy as np

    if not text:
        return Split(text, np.array([], np.int64))
    feeds = np.frombuffer(text, np.uint8) == 10
    packed = np.packbits(feeds)
    places = np.flatnonzero(packed != 0)
    bits = packed[places]
    place_of = _places_of_bits()
    inside = place_of[bits]
    ends = np.flatnonzero(feeds) if (inside < 0).any() else (places << 3) + inside
    return Split(text, ends if text.endswith(b"\n") else np.append(ends, len(text)))


@lru_cache(maxsize=1)
def _places_of_bits() -> Any:
    """For each byte the place of its one bit, counted from the highest; -1 where it has several."""
    import numpy as np

    return np.array([8 - bits.bit_length() if bits & (bits - 1) == 0 else -1 for bits in range(256)])
