"""What earlier runs of a config have delivered: how many records, on what day, and of the last run the statistics of their
fields. One line of JSON a run, the newest last."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from exporters_beam.files import destination
from exporters_beam.records import Json


def runs_before(path: str, own: tuple[str, str]) -> list[Json]:
    """What earlier runs tell, without what a run itself has told, whose `own` are its export and when it began. Lines that are
    none are passed over. Raises DestinationError."""
    found: list[Json] = []
    if not path:
        return found
    with destination("cannot read", path), suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and isinstance(told.get("records"), int) and _of(told) != own:
                    found.append(told)
    return found


def _of(told: Json) -> tuple[str, str]:
    return str(told.get("export")), str(told.get("began"))


def tell_run(path: str, told: Json, most: int) -> None:
    """Add a run, which may have been added before, and forget all but the last. Raises DestinationError."""
    earlier = [{name: value for name, value in each.items() if name != "statistics"} for each in runs_before(path, _of(told))]
    lines = [json.dumps(each) for each in [*earlier, told][-most:]]
    with destination("cannot write", path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write("\n".join((*lines, "")))
        os.replace(path + ".part", path)
