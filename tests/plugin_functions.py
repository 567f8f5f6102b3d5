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
