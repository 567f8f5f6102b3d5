"""What expressions may call, and how much of it: every name they know, and the limits that keep them from hanging.

Outside of loops an expression does each thing once, so it is enough that nothing large comes from something small:
repetition, powers, padding and the like are guarded. Inside loops `Work` counts, besides the loops' own steps, what is
read and made on the way. What a record already holds may be as large as it is; a regular expression that backtracks
without end is not caught.
"""

from __future__ import annotations

import calendar
import datetime
import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions import patterns
from exporters_beam.transforms.expressions.functions import FUNCTIONS, LONGEST_DATE
from exporters_beam.transforms.expressions.values import (
    ATOMS,
    SteadyFrozenSet,
    SteadySet,
    Stream,
    TooMuch,
    following,
    grouped,
    steady,
    streamed,
    weigh,
)
from exporters_beam.transforms.expressions.work import ELEMENTS, Drawn, Worker

CHARACTERS = 10_000_000
"""Characters of a text that is repeated, padded or grown by replacing. Joining may give ten times as many."""

BITS = 10_000
"""Binary digits of an integer that is multiplied, raised to a power or shifted: about 3,000 decimal ones."""

WIDTH = 9_999
"""Width and precision of formatted values."""

_LARGEST = 1 << BITS


# Operators


def multiply(a: Any, b: Any) -> Any:
    kind, other = type(a), type(b)
    if kind is float or other is float:
        return a * b
    if kind is int and other is int:
        product = a * b
        if -_LARGEST < product < _LARGEST:
            return product
        raise _large_number()
    for part, times in ((a, b), (b, a)):
        if isinstance(times, int):
            if isinstance(part, (str, bytes)):
                check_text(len(part) * times)
            elif isinstance(part, (list, tuple)) and times > 1 and (size := weight(part) * times) > ELEMENTS:
                raise TooMuch(f"a list of {size:,} members or more is too long; at most {ELEMENTS:,} are allowed")
    return a * b


def weight(value: Any) -> int:
    """The members of a list with those of its members and so on; it stops counting where there are too many."""
    total, waiting = 0, [value]
    while waiting and total <= ELEMENTS:
        part = waiting.pop()
        if isinstance(part, (list, tuple, set, frozenset)):
            total += len(part)
            waiting.extend(part)
        elif isinstance(part, dict):
            total += len(part)
            waiting.extend(part.values())
        elif isinstance(part, (str, bytes)):
            total += len(part) >> 5
    return total


def power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and b > 1 and (abs(a).bit_length() - 1) * b > BITS:
        raise _large_number()
    return a**b


def shift(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() + b > BITS:
        raise _large_number()
    return a << b


def modulo(a: Any, b: Any) -> Any:
    if isinstance(a, (str, bytes)) and wide(a if isinstance(a, str) else a.decode("latin-1")):
        raise _wide()
    if isinstance(a, (str, bytes)):
        _check_template(a, b)
    return a % b


def _check_template(template: Any, values: Any) -> None:
    """Before a template is filled: how long the text becomes at most."""
    text = template if isinstance(template, str) else template.decode("latin-1")
    fields = text.count("%")
    if not fields:
        return
    widest = max((int(digits) for digits in re.findall(r"\d+", text) if len(digits) < 5), default=0)
    if isinstance(values, tuple):
        filled = sum(map(_text_size, values))
    else:
        members = values.values() if isinstance(values, dict) else (values,)
        filled = fields * max(map(_text_size, members), default=0)
    check_text(len(text) + fields * (widest + 25) + filled, 10 * CHARACTERS)


def _text_size(value: Any) -> int:
    """So many characters at most stand for a value, unless it is a long number."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    if kind in ATOMS:
        return 25
    return 60 * weigh(value) + 100


def bounded_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """`str`, `repr` or `ascii`, for a value that might have a very long text."""

    def show(*args: Any, **kwargs: Any) -> Any:
        value = args[0] if args else None
        if type(value) not in ATOMS and len(args) == 1:
            if isinstance(value, (str, bytes)):
                if function is not str or isinstance(value, bytes):
                    check_text(len(value) * (2 if _is_printable(value) else 10), 4 * CHARACTERS)
            elif type(value) not in (re.Match, re.Pattern):
                check_text(10 * 32 * weigh(value), 32 * CHARACTERS)
        return function(*map(steady, args), **kwargs)

    return show


def _is_printable(value: Any) -> bool:
    return value.isascii() and (value.isprintable() if isinstance(value, str) else value.decode("ascii").isprintable())


limited_str, limited_repr, limited_ascii = bounded_text(str), bounded_text(repr), bounded_text(ascii)


def joined(parts: Sequence[Any]) -> str:
    """The parts of a long f-string, which are texts, as one."""
    check_text(sum(map(len, parts)), 10 * CHARACTERS)
    return "".join(parts)


def escaped(pattern: Any) -> Any:
    """`re.escape`."""
    if isinstance(pattern, (str, bytes)):
        check_text(2 * len(pattern), 4 * CHARACTERS)
    return re.escape(pattern)


def as_hex(value: Any, *args: Any, **kwargs: Any) -> Any:
    """`hex` of bytes, which numbers have as well."""
    if isinstance(value, bytes):
        check_text(3 * len(value), 4 * CHARACTERS)
    return value.hex(*args, **kwargs)


def strptime(kind: Any, text: Any, form: Any) -> Any:
    for given in (text, form):
        if isinstance(given, str) and len(given) > LONGEST_DATE:
            raise TooMuch(f"a date or its format has {len(given):,} characters; at most {LONGEST_DATE:,} are allowed")
    return kind.strptime(text, form)


def strftime(value: Any, form: Any) -> Any:
    if isinstance(form, str):
        if len(form) > LONGEST_DATE:
            raise TooMuch(f"a date's format has {len(form):,} characters; at most {LONGEST_DATE:,} are allowed")
        if _MANY_DIGITS(form):
            raise _wide()
    return value.strftime(form)


@lru_cache(maxsize=256)
def wide(template: str) -> bool:
    """Whether a %-template asks for a huge width or precision, or takes one from a value (%*d)."""
    at = template.find("%")
    while at >= 0:
        at += 1
        if template.startswith("(", at):
            depth = 1
            while depth and (at := at + 1) < len(template):
                depth += {"(": 1, ")": -1}.get(template[at], 0)
            at += 1
        spec = _SPEC.match(template, at)
        if spec is not None:
            if any(part == "*" or len(part or "") > 4 for part in spec.groups()):
                return True
            at = spec.end() + 1
        at = template.find("%", at)
    return False


_SPEC = re.compile(r"[-#0 +]*(\*|\d*)(?:\.(\*|\d*))?")


def formatted(value: Any, spec: Any = "") -> Any:
    kind = type(value)
    if isinstance(spec, str) and (long := len(spec)) > 4 and (_MANY_DIGITS(spec) or long > LONGEST_DATE):
        raise _wide()
    if kind not in ATOMS and isinstance(value, (list, tuple, dict, set, frozenset)):
        value = limited_str(value)
    return format(value, spec)


_MANY_DIGITS = re.compile(r"\d{5}").search


def check_text(size: int, limit: int = CHARACTERS) -> None:
    if size > limit:
        raise TooMuch(f"a text of {size:,} characters is too long; at most {limit:,} are allowed")


def _large_number() -> TooMuch:
    return TooMuch(f"the number is too large; at most {BITS:,} binary digits are allowed")


def _wide() -> TooMuch:
    return TooMuch(f"a width or precision above {WIDTH:,}, or one that is taken from a value, is not allowed")


# Functions


def limited_range(*args: Any) -> range:
    found = range(*args)
    if found and (found[-1] - found[0]) // found.step >= ELEMENTS:
        raise TooMuch(f"{found} is too long; at most {ELEMENTS:,} members are allowed")
    return found


def limited_int(*args: Any, **kwargs: Any) -> int:
    if len(args) + len(kwargs) > 1 and isinstance(args[0], (str, bytes)) and len(args[0]) > 5000:
        raise _large_number()
    return int(*args, **kwargs)


def limited_slice(*args: Any) -> slice:
    """Of places: slices of slices, very many of them, end the process when they go."""
    if not all(isinstance(arg, (int, type(None))) for arg in args):
        raise TypeError("slice takes whole numbers or None")
    return slice(*args)


def limited_bytes(*args: Any, **kwargs: Any) -> bytes:
    if args and isinstance(args[0], int):
        check_text(args[0])
    return bytes(*args, **kwargs)


def limited_round(number: Any, ndigits: Any = None) -> Any:
    if isinstance(ndigits, int) and abs(ndigits) > WIDTH:
        raise _wide()
    return round(number) if ndigits is None else round(number, ndigits)


def limited_pow(base: Any, exp: Any, mod: Any = None) -> Any:
    if mod is None:
        return power(base, exp)
    if any(isinstance(part, int) and part.bit_length() > 2048 for part in (base, exp, mod)):
        raise _large_number()
    return pow(base, exp, mod)


def total(iterable: Iterable[Any], start: Any = 0) -> Any:
    """`sum`, which takes no quadratic time for lists and tuples."""
    kind = type(start)
    if kind is not list and kind is not tuple:
        return sum(iterable, start)
    found = list(start)
    for part in iterable:
        if not isinstance(part, kind):
            raise TypeError(f'can only concatenate {kind.__name__} (not "{type(part).__name__}") to {kind.__name__}')
        if len(found) + len(part) > ELEMENTS:
            raise TooMuch(f"the sum has more than {ELEMENTS:,} members")
        found.extend(part)
    return kind(found)


def steady_hash(value: Any) -> int:
    """A hash that is the same on every worker and in every run. Equal numbers have equal hashes, as in Python."""
    if type(value) not in ATOMS:
        weigh(value)
    found = hash(value)
    if isinstance(value, (int, float, complex, Decimal)):
        return found if value == value else 0
    if isinstance(value, tuple):
        value = tuple(map(steady_hash, value))
    elif isinstance(value, frozenset):
        value = sorted(map(steady_hash, value))
    elif not isinstance(value, (str, bytes, type(None), range, *_DATES)):
        raise RecordError(f"hash of a {type(value).__name__} would be another number in every run")
    digest = hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


_DATES = (datetime.date, datetime.time, datetime.timedelta, datetime.timezone)


def product(iterable: Iterable[Any], *, start: Any = 1) -> Any:
    for part in iterable:
        start = multiply(start, part)
    return start


def limited(function: Callable[..., Any], largest: int) -> Callable[..., Any]:
    """An arithmetical function whose first argument may not exceed `largest`."""

    def checked(n: Any, *args: Any) -> Any:
        if isinstance(n, int) and n > largest:
            raise _large_number()
        return function(n, *args)

    return checked


# Methods that can make much of little. The first argument is what the method is called on.


def join(separator: Any, parts: Any) -> Any:
    if isinstance(separator, (str, bytes)):
        if type(parts) is not list and type(parts) is not tuple:
            parts = list(parts)
        try:
            size = sum(map(len, parts)) + len(separator) * len(parts)
        except TypeError:
            size = 0  # not all are texts, and joining says so
        check_text(size, CHARACTERS * 10)
    return separator.join(parts)


def replace(text: Any, *args: Any, **kwargs: Any) -> Any:
    """Of texts; dates have a method of this name, too."""
    if type(text) in (str, bytes) and len(args) > 1 and type(args[1]) is type(text) is type(args[0]):
        old, new = args[0], args[1]
        if (len(text) + 1) * len(new) > CHARACTERS:
            check_text(len(text) + text.count(old) * (len(new) - len(old)), max(CHARACTERS, 2 * len(text)))
    return text.replace(*args, **kwargs)


def translate(text: Any, table: Any, *args: Any) -> Any:
    if isinstance(text, str) and isinstance(table, (dict, list, tuple)):
        values = table.values() if isinstance(table, dict) else table
        longest = max((len(value) for value in values if isinstance(value, str)), default=1)
        check_text(len(text) * longest, max(CHARACTERS, 2 * len(text)))
    return text.translate(table, *args)


def expandtabs(text: Any, tabsize: Any = 8) -> Any:
    if isinstance(text, (str, bytes)) and isinstance(tabsize, int):
        tabs = text.count("\t" if isinstance(text, str) else b"\t")  # type: ignore[arg-type]
        check_text(len(text) + tabs * tabsize, max(CHARACTERS, 16 * len(text)))
    return text.expandtabs(tabsize)


def extend(owner: Any, members: Any) -> Any:
    """A list may be extended by something that reads it, which would never end."""
    return owner.extend(list(members) if isinstance(owner, list) else members)


def sample(owner: Any, population: Any, k: Any) -> Any:
    return owner.sample(population, k)


def sub(pattern: Any, repl: Any, string: Any, count: Any = 0) -> Any:
    return patterns.replaced(pattern, "sub", replacement(repl, string), string, count)


def subn(pattern: Any, repl: Any, string: Any, count: Any = 0) -> Any:
    return patterns.replaced(pattern, "subn", replacement(repl, string), string, count)


def matching(name: str) -> Callable[..., Any]:
    """A function of `re`."""

    def match(pattern: Any, string: Any, *args: Any, flags: Any = 0, **kwargs: Any) -> Any:
        if args and name != "split":
            flags, args = args[0], args[1:]
        found = patterns.run(patterns.compiled(pattern, flags), name, string, *args, **kwargs)
        return Stream(found) if name == "finditer" else found

    return match


def of_pattern(name: str) -> Callable[..., Any]:
    """A method of patterns, which texts may have as well."""

    def method(owner: Any, *args: Any, **kwargs: Any) -> Any:
        if type(owner) is re.Pattern and args:
            found = patterns.run(owner, name, *args, **kwargs)
        else:
            found = getattr(owner, name)(*args, **kwargs)
        return Stream(found) if name == "finditer" else found

    return method


def replacement(given: Any, text: Any) -> Any:
    """The replacement itself where the result cannot become large, else a function that counts."""
    if callable(given):
        raise RecordError("the replacement has to be a text, not a function")
    if not (isinstance(given, (str, bytes)) and isinstance(text, (str, bytes))):
        return given
    groups = given.count("\\" if isinstance(given, str) else b"\\")  # type: ignore[arg-type]
    if (len(text) + 1) * (len(given) + groups * len(text)) <= CHARACTERS:
        return given
    left = max(CHARACTERS, 2 * len(text))

    def expand(match: re.Match[Any]) -> Any:
        nonlocal left
        part = match.expand(given) if groups else given
        left -= len(part)
        if left < 0:
            raise TooMuch(f"replacing gives a text of more than {max(CHARACTERS, 2 * len(text)):,} characters")
        return part

    return expand


def bound(guard: Any, owner: Any) -> Any:
    """A guarded method that is handed on."""
    if callable(owner) and not isinstance(owner, type):
        raise RecordError("a function has no methods")
    return partial(guard, owner)


def filled(template: str, *args: Any, **kwargs: Any) -> str:
    """`format` of a template that is written out."""
    fields = template.count("{")
    check_text(len(template) + fields * max(map(_text_size, (*args, *kwargs.values())), default=0), 10 * CHARACTERS)
    return template.format(*args, **kwargs)


def _padding(name: str) -> Callable[..., Any]:
    def pad(text: Any, width: Any, *fill: Any) -> Any:
        if isinstance(width, int):
            check_text(width)
        return getattr(text, name)(width, *fill)

    return pad


SHORT = 64
"""Characters to search for, or to strip, that never take long."""


def _searching(name: str) -> Callable[..., Any]:
    """Methods that compare each character of the text with each of what they search for, at worst."""

    def search(text: Any, *args: Any, **kwargs: Any) -> Any:
        part: Any = args[0] if args else kwargs.get("sep")
        both = isinstance(text, (str, bytes)) and isinstance(part, (str, bytes))
        if both and len(part) > SHORT and len(text) * len(part) > CHARACTERS * 10:
            raise TooMuch(f"{name} of {len(part):,} characters in a text of {len(text):,} takes too long")
        return getattr(text, name)(*args, **kwargs)

    return search


def _coding(name: str) -> Callable[..., Any]:
    def code(text: Any, *args: Any, **kwargs: Any) -> Any:
        encoding = args[0] if args else kwargs.get("encoding")
        if isinstance(text, (str, bytes)) and len(text) > 1000 and _is_slow(encoding):
            raise TooMuch(f"the encoding {encoding} takes too long on a text of {len(text):,} characters")
        if isinstance(text, (str, bytes)) and len(text) > 100_000:
            errors = args[1] if len(args) > 1 else kwargs.get("errors", "strict")
            check_text(len(text) * _growth(encoding, errors), 4 * CHARACTERS)
        return getattr(text, name)(*args, **kwargs)

    return code


def _growth(encoding: Any, errors: Any) -> int:
    """How many times longer a text may become."""
    if not isinstance(errors, str) or errors not in ("strict", "ignore", "replace", "surrogateescape", "surrogatepass"):
        return 90
    plain = str(encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8", "ascii", "latin-1", "iso-8859-1")
    return 2 if plain else 10


def _is_slow(encoding: Any) -> bool:
    """Whether it takes quadratic time: Punycode, and IDNA, which uses it."""
    return isinstance(encoding, str) and any(part in encoding.lower() for part in ("puny", "idna"))


def plain(argument: Any) -> bool:
    """Whether methods of `ARGUMENT_GUARDS` may be given this without a guard."""
    return not (isinstance(argument, (str, bytes)) and (len(argument) > SHORT or _is_slow(argument)))


ARGUMENT_GUARDS: dict[str, Callable[..., Any]] = {
    **{name: _searching(name) for name in ("rfind", "rindex", "rpartition", "rsplit", "strip", "lstrip", "rstrip")},
}
"""Guards that are needed for unusual arguments only."""

METHOD_GUARDS: dict[str, Callable[..., Any]] = {
    **ARGUMENT_GUARDS,
    **{name: _padding(name) for name in ("center", "ljust", "rjust", "zfill")},
    **{name: _coding(name) for name in ("encode", "decode")},
    "expandtabs": expandtabs,
    "extend": extend,
    "hex": as_hex,
    "strftime": strftime,
    "strptime": strptime,
    "join": join,
    "replace": replace,
    "sample": sample,
    "sub": sub,
    "subn": subn,
    "translate": translate,
    **{name: of_pattern(name) for name in ("findall", "finditer", "fullmatch", "match", "search", "split")},
}

METHOD_GUARDS_OF_TEXT = frozenset(("sub", "subn"))


# Names

TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}
"""Types: they are called, stand in `isinstance`, and own methods (`str.upper`)."""

BUILTINS: dict[str, Any] = {
    **TYPES,
    **{
        function.__name__: function
        for function in (
            *(abs, all, any, ascii, bin, chr, divmod, enumerate, hex, isinstance, iter, len, max, min, next, oct, ord),
            *(repr, reversed, slice, sorted),
        )
    },
    "ascii": limited_ascii,
    "bytes": limited_bytes,
    "enumerate": streamed(enumerate),
    "filter": Worker("filter"),
    "format": formatted,
    "hash": steady_hash,
    "frozenset": SteadyFrozenSet,
    "int": limited_int,
    "iter": lambda iterable: Stream(iter(iterable), iterable),
    "map": Worker("map"),
    "next": following,
    "pow": limited_pow,
    "range": limited_range,
    "repr": limited_repr,
    "reversed": streamed(reversed),
    "round": limited_round,
    "set": SteadySet,
    "slice": limited_slice,
    "str": limited_str,
    "sum": total,
    "zip": Worker("zip"),
    **FUNCTIONS,
}
"""The built-in functions of expressions, and ours."""

OWNERS: dict[str, Any] = {"set": SteadySet, "frozenset": SteadyFrozenSet}
"""Types that stand for others where their methods are called."""

LAZY: dict[str, Any] = {"enumerate": enumerate, "reversed": reversed, "zip": zip}
"""Functions that give iterators, as they are where these are read at once."""

CONSUMERS = frozenset(
    ["all", "any", "bytes", "dict", "frozenset", "list", "max", "min", "next", "set", "sorted", "sum", "tuple"]
)
"""Functions that read their arguments to the end, or as far as they need, and keep none."""

CALLING = frozenset(("filter", "map", "max", "min", "sorted"))
"""Functions that call what they are given."""

CHANGING = frozenset(
    ("add", "append", "difference_update", "extend", "insert", "intersection_update", "setdefault",
     "symmetric_difference_update", "update")
)  # fmt: skip
"""Methods that keep what they are given."""

ONE_ARGUMENT: dict[str, Any] = {"int": int, "round": round, "sum": sum}
"""Functions that need no guard where they have no second argument."""


def _of(module: Any, names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names.split() if hasattr(module, name)}


_RANDOM = (
    "Random betavariate choice expovariate gammavariate gauss lognormvariate normalvariate paretovariate randint random "
    "randrange sample shuffle triangular uniform vonmisesvariate"
)

_LAZY = "compress dropwhile filterfalse islice pairwise starmap takewhile"

MODULES: dict[str, dict[str, Any]] = {
    "calendar": _of(calendar, "isleap leapdays monthcalendar monthrange timegm weekday")
    | {name: list(getattr(calendar, name)) for name in ("day_abbr", "day_name", "month_abbr", "month_name")},
    "datetime": _of(datetime, "MAXYEAR MINYEAR UTC date datetime time timedelta timezone"),
    "itertools": {
        **{name: streamed(each) for name, each in _of(itertools, _LAZY).items()},
        "groupby": grouped,
        **{name: Worker(name) for name in ("accumulate", "chain", "combinations", "permutations", "product")},
        "chain.from_iterable": Worker("chain_from_iterable"),
        "zip_longest": Worker("zip_longest"),
    },
    "math": {
        **_of(math, "acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh degrees dist e erf erfc exp"),
        **_of(math, "exp2 expm1 fabs floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt"),
        **_of(math, "ldexp lgamma log log10 log1p log2 modf nan pi pow radians remainder sin sinh sqrt tan tanh tau"),
        **_of(math, "trunc"),
        "comb": limited(math.comb, BITS),
        "factorial": limited(math.factorial, 1000),
        "perm": limited(math.perm, 1000),
        "prod": product,
    },
    "random": {name: Drawn(name) for name in _RANDOM.split()},
    "re": {
        **_of(re, "A ASCII DOTALL I IGNORECASE M MULTILINE S U UNICODE VERBOSE X"),
        **{name: matching(name) for name in ("findall", "finditer", "fullmatch", "match", "search", "split")},
        "compile": patterns.compiled,
        "escape": escaped,
        "sub": lambda pattern, repl, string, count=0, flags=0: sub(patterns.compiled(pattern, flags), repl, string, count),
        "subn": lambda pattern, repl, string, count=0, flags=0: subn(patterns.compiled(pattern, flags), repl, string, count),
    },
}
"""What expressions may use of each module."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROPERTIES = _words(
    "year month day hour minute second microsecond tzinfo fold days seconds microseconds min max resolution utc "
    "tm_year tm_mon tm_mday tm_hour tm_min tm_sec tm_wday tm_yday "
    "string lastindex lastgroup pos endpos pattern groups flags real imag numerator denominator"
)
"""Attributes that are values."""

METHODS = _words(
    # text and bytes
    "capitalize casefold center count encode decode endswith expandtabs find format index isalnum isalpha isascii "
    "isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip "
    "maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split "
    "splitlines startswith strip swapcase title translate upper zfill hex fromhex "
    # mappings, lists, sets
    "clear copy fromkeys get items keys pop popitem setdefault update values append extend insert remove reverse sort "
    "add discard difference difference_update intersection intersection_update isdisjoint issubset issuperset "
    "symmetric_difference symmetric_difference_update union "
    # numbers
    "conjugate bit_length bit_count is_integer as_integer_ratio "
    # dates and times
    "astimezone combine ctime date dst fromisocalendar fromisoformat fromordinal fromtimestamp isocalendar isoformat "
    "isoweekday now strftime strptime time timestamp timetuple timetz today toordinal total_seconds tzname "
    "utcfromtimestamp utcnow utcoffset utctimetuple weekday "
    # regular expressions and random numbers
    "end findall finditer fullmatch group groupdict groups match search span start sub subn "
    "choice gauss normalvariate randint random randrange sample shuffle triangular uniform"
)
"""Methods of values."""

CHEAP = _words(
    "abs add append bool date end float get isinstance isoformat items iter keys len next ord round setdefault span "
    "start time values weekday"
)
"""Functions and methods that take the same time however large their arguments are."""

SCANS = _words("count endswith find fullmatch index match rfind rindex search startswith")
"""Methods that search."""

MAKERS = {
    *(METHOD_GUARDS.keys() - ARGUMENT_GUARDS.keys()),
    *_words("ascii bytes escape format group groupdict groups range repr slugify str sum"),
}
"""Functions and methods whose result may be larger than their arguments."""
