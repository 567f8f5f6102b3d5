"""What values did in Python 2: division, rounding, the text of numbers, the order of unlike values, bytes as texts.

Expressions of components that are named as in exporters 0.6.18 call these; `python2` says which stands for what. All that
may become large is made by `guards`, so that the limits are the same.
"""

from __future__ import annotations

import codecs
import datetime
import functools
import math
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from exporters_beam.transforms.expressions import guards
from exporters_beam.transforms.expressions.values import Stream
from exporters_beam.transforms.expressions.work import Work

# Numbers


def divide(a: Any, b: Any) -> Any:
    """`a / b`: whole numbers give a whole one."""
    if isinstance(b, int) and isinstance(a, (int, datetime.timedelta)):
        return a // b
    return a / b


def rounded(number: Any, ndigits: Any = 0) -> object:
    """`round`: a number with a fraction, and halves away from zero."""
    value = float(number)
    if not isinstance(ndigits, int):
        raise TypeError("round takes a whole number of digits")
    if not math.isfinite(value) or ndigits > 323:
        return value
    if ndigits < -308:
        return value * 0.0
    return float(Decimal(value).quantize(Decimal(1).scaleb(-ndigits), ROUND_HALF_UP, _EXACT))


_EXACT = Context(prec=1200)


def whole(name: str) -> Callable[[Any], float]:
    """`math.floor` or `math.ceil`, which gave numbers with a fraction."""
    function = getattr(math, name)
    return lambda value: float(function(value)) if math.isfinite(value) else float(value)


def octal(number: Any) -> str:
    """`oct`: a zero, not `0o`, before the digits."""
    return oct(number).replace("0o", "0") if number else "0"


def text_of_float(value: float) -> str:
    """A number with a fraction in twelve digits."""
    text = f"{value:.12g}"
    if "e" not in text and len(text.lstrip("-").partition(".")[0]) > 11:
        digits, _, exponent = f"{value:.11e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{exponent}"
    return f"{text}.0" if text.lstrip("-").isdigit() else text


class _Twelve(float):
    """A number whose text has twelve digits, also in templates."""

    __slots__ = ()

    def __str__(self) -> str:
        return text_of_float(self)

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else text_of_float(self)


def twelve(value: object) -> Any:
    """What a template is given."""
    return _Twelve(value) if type(value) is float else value


def modulo(a: object, b: object) -> Any:
    """`a % b`, also of templates."""
    if isinstance(a, str):
        if isinstance(b, tuple):
            b = tuple(map(twelve, b))
        elif type(b) is dict:
            b = {key: twelve(value) for key, value in b.items()}
        else:
            b = twelve(b)
    return guards.modulo(a, b)


# Texts. Those of Python 2 were bytes, which became text when the record was written.


def text(value: Any = "", *coding: Any) -> str:
    """`str` and `unicode`."""
    if type(value) is float:
        return text_of_float(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return value.decode(*coding) if coding else value.decode("utf-8")
    shown: str = guards.limited_str(value)
    return shown


def as_text(value: object) -> object:
    """What a function of an imported module gives: bytes as the text that they are, if they are one."""
    try:
        return value.decode("utf-8") if isinstance(value, (bytes, bytearray)) else value
    except UnicodeDecodeError:
        return value


def as_bytes(value: object) -> object:
    """What is given to a function that takes bytes."""
    return value.encode("utf-8") if isinstance(value, str) else value


def _rot13(value: bytes) -> bytes:
    return codecs.encode(value.decode("ascii"), "rot13").encode("ascii")


_OF_BYTES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    name: (lambda value, name=name: codecs.encode(value, name), lambda value, name=name: codecs.decode(value, name))
    for name in ("hex", "base64")
} | {"rot13": (_rot13, _rot13), "string-escape": (lambda value: value.decode("latin-1").encode("unicode-escape"),
                                                 lambda value: value.decode("unicode-escape").encode("latin-1"))}  # fmt: skip
"""Encodings from bytes to bytes, both ways."""


def _named(encoding: object) -> str:
    return encoding.lower().replace("_", "-").removesuffix("-codec") if isinstance(encoding, str) else ""


def raw(value: Any, encoding: Any = "utf-8", errors: Any = "strict") -> Any:
    """`encode`, as the bytes that it gave. Anything but a text has a method of its own, or none."""
    if _named(encoding) in _OF_BYTES and isinstance(value, (str, bytes)):
        data = guards.METHOD_GUARDS["encode"](value, "utf-8") if isinstance(value, str) else value
        guards.check_text(3 * len(data), 4 * guards.CHARACTERS)
        return _OF_BYTES[_named(encoding)][0](data)
    if not isinstance(value, str):
        return value.encode(encoding, errors)
    return guards.METHOD_GUARDS["encode"](value, encoding, errors)


def encoded(value: Any, encoding: Any = "utf-8", errors: Any = "strict") -> object:
    """`encode`, as the text that the bytes were read as."""
    found = raw(value, encoding, errors)
    name = _named(encoding)
    if not isinstance(found, bytes):
        return found
    if name in _OF_BYTES:
        return as_text(found)
    return found.decode("ascii" if name in ("unicode-escape", "raw-unicode-escape") else encoding)


def decoded(value: object, encoding: object = "utf-8", errors: object = "strict") -> object:
    """`decode`: a text is decoded already, unless it spells bytes."""
    if _named(encoding) in _OF_BYTES and isinstance(value, (str, bytes)):
        return as_text(_OF_BYTES[_named(encoding)][1](value.encode("ascii") if isinstance(value, str) else value))
    if not isinstance(value, str):
        return guards.METHOD_GUARDS["decode"](value, encoding, errors)
    if value.isascii():
        return guards.METHOD_GUARDS["decode"](value.encode("ascii"), encoding, errors)
    if _named(encoding) == "ascii" and errors in ("ignore", "replace"):
        return value.encode("ascii", errors).decode("ascii")
    return value


def recoded(value: object, encoding: tuple[object, ...], decoding: tuple[object, ...]) -> Any:
    """`value.encode(…).decode(…)`, which repairs texts that were decoded wrongly."""
    found = raw(value, *encoding)
    if not isinstance(found, bytes) or _named((*decoding, "utf-8")[0]) in _OF_BYTES:
        return decoded(as_text(found), *decoding)
    return guards.METHOD_GUARDS["decode"](found, *decoding)


def part_of_encoded(value: object, encoding: tuple[object, ...], place: object) -> Any:
    """`value.encode(…)[place]`."""
    found = raw(value, *encoding)
    if isinstance(found, bytes) and isinstance(place, int):
        place = slice(place, place + 1 if place != -1 else None) if -len(found) <= place < len(found) else found[place]
    part = found[place]
    return part.decode("utf-8") if isinstance(part, bytes) else part


def encoded_length(value: object, *encoding: object) -> int:
    """`len(value.encode(…))`: so many bytes."""
    return len(raw(value, *encoding))


def without(value: Any, table: Any, characters: Any) -> Any:
    """`translate(None, characters)`."""
    if table is not None or not isinstance(value, str):
        return value.translate(table, characters)
    return value.translate({ord(each): None for each in set(characters)})


def cased_bytes(name: str) -> Callable[..., object]:
    """The same behind `encode`, where it changes letters of ASCII alone."""

    def change(value: object, *encoding: object) -> object:
        return as_text(getattr(raw(value, *encoding), name)())

    return change


def cased(name: str) -> Callable[..., object]:
    """A method such as `upper`, which gave one character for each: `ß` has no large form."""
    of_text = getattr(str, name)

    def change(value: object) -> object:
        if type(value) is not str:
            return getattr(value, name)()
        found = of_text(value)
        if value.isascii() or name not in _ONE_BY_ONE:
            return found
        guards.check_text(len(value), 4 * guards.CHARACTERS)
        return _ONE_BY_ONE[name](value)

    return change


def _upper(value: str) -> str:
    return "".join(
        large if len(large := each.upper()) == 1 else title if len(title := each.title()) == 1 else each for each in value
    )


def _lower(value: str) -> str:
    return "".join(small if len(small := each.lower()) == 1 else "i" if each == "İ" else each for each in value)


def _title(value: str) -> str:
    made, inside = [], False
    for each in value:
        large = each if len(each.title()) > 1 else each.title()
        made.append(_lower(each) if inside else large)
        inside = each.isupper() or each.islower() or each.istitle()
    return "".join(made)


_ONE_BY_ONE: dict[str, Callable[[str], str]] = {
    "upper": _upper,
    "lower": _lower,
    "title": _title,
    "capitalize": lambda value: _upper(value[:1]) + _lower(value[1:]),
    "swapcase": lambda value: "".join(_lower(each) if each.isupper() else _upper(each) for each in value),
}


# Order: none before numbers, these before all else, which is ordered by the name of its type.


def compare(a: Any, b: Any) -> int:
    """`cmp`."""
    try:
        return -1 if a < b else 1 if a > b else 0
    except TypeError:
        pass
    if any(isinstance(each, (*_DATES, complex, set, frozenset)) for each in (a, b)):
        raise TypeError(f"cannot compare {type(a).__name__} and {type(b).__name__}")
    for kind in (list, tuple):
        if isinstance(a, kind) and isinstance(b, kind):
            different = ((left, right) for left, right in zip(a, b, strict=False) if left != right)
            return next((compare(left, right) for left, right in different), compare(len(a), len(b)))
    if isinstance(a, dict) and isinstance(b, dict):
        return _compare_mappings(a, b)
    return compare(_rank(a), _rank(b))


_DATES = (datetime.date, datetime.time, datetime.timedelta)


def _rank(value: object) -> tuple[int, str]:
    if value is None:
        return 0, ""
    return (1, "") if isinstance(value, (int, float, Decimal)) else (2, type_name(value))


def _compare_mappings(a: dict[object, object], b: dict[object, object]) -> int:
    if len(a) != len(b):
        return compare(len(a), len(b))
    first, other = (_smallest(key for key in x if key not in y or x[key] != y[key]) for x, y in ((a, b), (b, a)))
    if not first or not other:
        return 0
    return compare(first[0], other[0]) or compare(a[first[0]], b[other[0]])


def _smallest(keys: Iterable[object]) -> list[object]:
    return sorted(keys, key=functools.cmp_to_key(compare))[:1]


def less(a: Any, b: Any) -> object:
    try:
        return a < b
    except TypeError:
        return compare(a, b) < 0


def less_or_equal(a: Any, b: Any) -> object:
    try:
        return a <= b
    except TypeError:
        return compare(a, b) <= 0


def greater(a: Any, b: Any) -> object:
    try:
        return a > b
    except TypeError:
        return compare(a, b) > 0


def greater_or_equal(a: Any, b: Any) -> object:
    try:
        return a >= b
    except TypeError:
        return compare(a, b) >= 0


class Ordered:
    """A value in a chain of comparisons."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> Any:
        return isinstance(other, Ordered) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: Ordered) -> object:
        return less(self.value, other.value)

    def __le__(self, other: Ordered) -> object:
        return less_or_equal(self.value, other.value)

    def __gt__(self, other: Ordered) -> object:
        return greater(self.value, other.value)

    def __ge__(self, other: Ordered) -> object:
        return greater_or_equal(self.value, other.value)


def _by(work: Work, cmp: Any, key: Any) -> Callable[[Any], Any]:
    """The key that sorts by `cmp`, or as values of all types are ordered. Each comparison is paid for."""

    def paid(a: Any, b: Any) -> Any:
        work.spend(20)
        return (cmp or compare)(work.weighed(a), work.weighed(b))

    by = functools.cmp_to_key(paid)

    def place(value: Any) -> Any:
        found = value if key is None else key(value)
        if cmp is not None:
            return by(found)
        rank = _rank(found)
        return (*rank, found if rank[0] == 1 or isinstance(found, str) else None if found is None else by(found))

    return place


def in_order(work: Work, iterable: Any, cmp: Any = None, key: Any = None, reverse: Any = False) -> list[Any]:
    """`sorted`."""
    found = list(iterable)
    if cmp is None:
        try:
            return sorted(found, key=key, reverse=bool(reverse))
        except TypeError:
            pass
    return sorted(found, key=_by(work, cmp, key), reverse=bool(reverse))


def sort(work: Work, owner: Any, cmp: Any = None, key: Any = None, reverse: Any = False) -> None:
    """The method of lists. Others have one of their own, or none."""
    if isinstance(owner, list):
        owner[:] = in_order(work, owner, cmp, key, reverse)
    else:
        owner.sort()


def least(work: Work, *values: object, key: object = None) -> object:
    """`min`."""
    return _extreme(min, work, values, key)


def most(work: Work, *values: object, key: object = None) -> object:
    """`max`."""
    return _extreme(max, work, values, key)


def _extreme(function: Any, work: Work, values: tuple[Any, ...], key: Any) -> object:
    found = list(values[0]) if len(values) == 1 else list(values)
    try:
        return function(found, key=key)
    except TypeError:
        return function(found, key=_by(work, None, key))


# Types


def type_name(value: object) -> str:
    """`type(value).__name__`."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "long"
    return _NAMES.get(type(value), type(value).__name__)


_NAMES: dict[type, str] = {str: "unicode", bytes: "str", Stream: "generator"}


def exactly(value: object, kinds: object) -> bool:
    """`type(value) == kind`, or `in` several."""
    return type(value) in (kinds if isinstance(kinds, tuple) else (kinds,))
