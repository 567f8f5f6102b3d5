"""Functions that the components `python` call in tests."""

from enum import Enum


class Kind(str, Enum):
    A = "a"


def with_a_kind_of_text(record):
    return {**record, "g": Kind.A} if record.get("kind") else record


def explode(record):
    return [{"k": k} for k in record["k"]]


def broken(record):
    raise ValueError(f"no good: {record}")
