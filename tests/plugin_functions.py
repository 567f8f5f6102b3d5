"""Functions that the components `python` call in tests."""

import os
from enum import Enum


class Kind(str, Enum):
    A = "a"


def with_a_kind_of_text(record):
    return {**record, "g": Kind.A} if record.get("kind") else record


def explode(record):
    return [{"k": k} for k in record["k"]]


def broken(record):
    raise ValueError(f"no good: {record}")


def appending(record: dict) -> dict:
    """Append to the file that is being read."""
    if record["id"] == 0:
        with open(os.environ["CHANGE_THIS"], "ab") as file:
            file.write(b'{"id": -1}\n')
    return record


def each_of(record: dict) -> list[dict]:
    """A record for each member of `s`; it fails where that is a mapping."""
    if isinstance(record.get("s"), dict):
        raise ValueError("s is a mapping")
    return [{**record, "s": member} for member in record.get("s") or []]


def not_two(record: dict) -> bool:
    return record["a"] != 2


def twice(record: dict) -> list[dict]:
    return [{**record, "copy": n} for n in range(2)]
