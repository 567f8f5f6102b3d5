"""The chain of an export's deltas: what this run is compared with, and what the next one is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.delta import DELTA, LAST
from exporters_beam.errors import ConfigError, DestinationError
from exporters_beam.planning.delta import told_by
from exporters_beam.planning.place import deltas_of
from exporters_beam.planning.plan import Plan, make
from exporters_beam.records import Json
from exporters_beam.reporting.deltas import delivered, verify_deltas
from exporters_beam.staging.books import Books, locked, remove_empty
from exporters_beam.staging.deltas import Against, drop_link, links, state_of, why_not_state, write_link

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


@contextmanager
def based(plan: Plan, books: Books, again: bool) -> Iterator[Against | None]:
    """What a run is compared with; None where it delivers no deltas. The chain is locked as long. `again` says that a delivery
    that stands may be made again, where it is the last one.

    Raises ConfigError where manifests or states do not fit together, or this delivery would replace another, and
    DestinationError where another run holds the chain.
    """
    delta = plan.spec.delta
    if delta is None:
        yield None
        return
    folder = deltas_of(plan)
    with _locked(folder):
        head, left = _head(folder, plan.export_id if again else "")
        for link in links(folder):
            if link["export"] == plan.export_id and link not in left:
                raise ConfigError(plan.spec.problem(("writer", "options", "filebase"),
                                  f"delivery {link['number']} has the same names, and this one would replace it, though others "
                                  "stand on it; put a finer % date into them (%H%M%S), or run it with --resume to see whether "
                                  "it is whole"))  # fmt: skip
        number = 1 if head is None else head["number"] + 1
        for link in left:
            if link["export"] != plan.export_id:
                drop_link(folder, link)
        base = head if delta.against == LAST else None
        if base is not None and base["key"] != list(delta.key):
            raise ConfigError(plan.spec.problem((DELTA, "key"), f"the delivery before has the key {', '.join(base['key'])}, "
                              "so the two cannot be compared; put it back, or begin anew: against: none"))  # fmt: skip
        link = {"number": number, "export": plan.export_id, "key": list(delta.key),
                "manifest": os.path.relpath(books.manifest, folder)}  # fmt: skip
        write_link(folder, link)
        told = () if base is None else (("export", base["export"]), ("number", base["number"]), ("checksum", base["checksum"]))
        before = "" if base is None else state_of(folder, base["number"], base["export"])
        try:
            yield Against(folder, number, plan.export_id, told, before)
        finally:
            manifest = delivered(folder, link)
            if manifest is None:
                drop_link(folder, link)
            else:
                write_link(folder, {**link, "checksum": manifest["checksum"]})


def verified(spec: ExportSpec) -> Iterator[tuple[str, list[str]]]:
    """For each delivery of an export of deltas, the first one first, a line and what is wrong with it. Raises ConfigError."""
    if spec.delta is None:
        raise ConfigError(spec.problem((DELTA,), "this export delivers no deltas: each delivery stands for itself; verify its "
                                       "manifest"))  # fmt: skip
    plan = make(spec)
    to = WriterTraits.of(reveal(plan.writer))
    return verify_deltas(deltas_of(plan), told_by(spec.delta), None if to.storage is None else to.storage())


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    try:
        with locked(folder):
            yield
    finally:
        remove_empty(folder)


def _head(folder: str, again: str) -> tuple[Json | None, list[Json]]:
    """The last delivery that stands, with its checksum, and what never came to its end; one that is to be made `again` counts
    as that. Raises ConfigError."""
    left: list[Json] = []
    for link in links(folder):
        if link["export"] == again and not any(each.get("checksum") for each in left):
            left.append(link)
            continue
        try:
            manifest = delivered(folder, link)
        except DestinationError as error:
            raise ConfigError(f"{error}; put it back, or begin anew in another place") from None
        if manifest is None:
            left.append(link)
            continue
        _refuse_other_state(folder, link, manifest)
        return {**link, "checksum": manifest["checksum"]}, left
    return None, left


def _refuse_other_state(folder: str, link: Json, manifest: Json) -> None:
    told: Any = manifest["delta"]["state"]
    path = state_of(folder, link["number"], link["export"])
    why = why_not_state(path, told["sha256"])
    if why:
        raise ConfigError(f"{path}: the state of delivery {link['number']} {why}, so nothing can be compared with it; put it "
                          "back, or begin anew in another place")  # fmt: skip
