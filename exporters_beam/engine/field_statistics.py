"""`statistics`: what is found of the fields of records on their way, and what has changed since the run before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from exporters_beam.planning.looking import Looking
from exporters_beam.records import Batch, Json, Mark
from exporters_beam.transforms.field_statistics import FieldStatistics
from exporters_beam.transforms.steps import Step

MOST_CHANGES = 20
"""So many changes are warned of; the manifest has all."""


class LookAtFields(Step):
    """Looks at the fields of records, and lets all pass. What it finds of a range goes with the range's mark."""

    _component: Looking

    def start_bundle(self) -> None:
        super().start_bundle()
        self._found = self._begun()

    def _begun(self) -> FieldStatistics:
        return FieldStatistics(self._component.chosen, self._component.only, self._component.without)

    def batch(self, batch: Batch) -> Iterable[Any]:
        self._found.add(batch.records)
        return (batch,)

    def end_range(self, mark: Mark) -> Mark:
        found, self._found = self._found, self._begun()
        return super().end_range(mark)._replace(statistics=found.dump())


class OfRanges:
    """The statistics of all ranges, each taken once, and how many records were staged of which there are none, or of other
    fields than those that are `chosen` now."""

    def __init__(self, chosen: Sequence[str] | None = None) -> None:
        self._found = FieldStatistics(chosen)
        self._places: set[tuple[int, int]] = set()
        self._unknown = 0

    def add(self, mark: Mark) -> None:
        place = mark.unit.index, mark.range
        if place in self._places:  # A bundle ran twice.
            return
        self._places.add(place)
        found = FieldStatistics.load(mark.statistics) if mark.statistics else None
        if found is not None and found.chosen == self._found.chosen:
            self._found.merge(found.at(*place))
        else:
            self._unknown += dict(mark.counts).get("kept", 0)

    def as_dict(self) -> Json:
        """For the manifest."""
        return self._found.as_dict()

    def warnings(self) -> Iterator[str]:
        """What users should know of them."""
        if self._unknown:
            yield (f"statistics: {self._unknown:,} records were staged by a run without these statistics and are left out; "
                   "run without --resume for those of all")  # fmt: skip
        left_out = self._found.left_out.count()
        if left_out:
            yield (f"statistics: {left_out:,} fields are left out, since there are too many or they are nested too deep; name "
                   "those that are wanted (statistics.fields)")  # fmt: skip


def changes(before: Mapping[str, Any], now: Mapping[str, Any], most: float) -> list[Json]:
    """What has changed between the statistics of two runs, as manifests tell them: fields that are new or gone, new types, and
    fields with a value in a share of the records that is another by more than `most`."""
    old, new = before["fields"], now["fields"]
    if not before["records"] or not now["records"]:
        return []
    fresh = [] if before.get("left_out") else _outermost([path for path in new if path not in old])
    gone = [] if now.get("left_out") else _outermost([path for path in old if path not in new])
    found: list[Json] = [
        *({"field": path, "change": "new", "now": _share(now, path)} for path in fresh),
        *({"field": path, "change": "gone", "before": _share(before, path)} for path in gone),
    ]
    for path in new:
        if path in old:
            found += _changed(path, before, now, most)
    return found


def _outermost(paths: Sequence[str]) -> Iterator[str]:
    """The paths that are in none of the others."""
    for path in paths:
        if not any(path.startswith((f"{other}.", f"{other}[]")) for other in paths if other != path):
            yield path


def _changed(path: str, before: Mapping[str, Any], now: Mapping[str, Any], most: float) -> Iterator[Json]:
    old, new = before["fields"][path], now["fields"][path]
    types = [name for name in new["types"] if name not in old["types"] and not _is_known(name, old["types"])]
    if types and old["types"]:
        yield {"field": path, "change": "types", "before": list(old["types"]), "now": list(new["types"])}
    shares = _share(before, path), _share(now, path)
    if abs(shares[0] - shares[1]) > most:
        yield {"field": path, "change": "presence", "before": shares[0], "now": shares[1]}


def _is_known(name: str, before: Mapping[str, int]) -> bool:
    """Whether there were values of this type, or others of which each of these may be one."""
    return name == "integer" and bool({"number", "decimal"} & before.keys())


def _share(told: Mapping[str, Any], path: str) -> float:
    """The share of records, or of the members of a list, in which a field has a value, as `checks.coverage` counts it."""
    field = told["fields"][path]
    there = field["present"] - field.get("empty", 0)
    whole = field["present"] + field["null"] + field["missing"] if "missing" in field else _around(told, path)
    return round(there / whole, 6) if whole else 0.0


def _around(told: Mapping[str, Any], path: str) -> int:
    """How many mappings there are that may have this field of members of a list; of a member itself, how many there are."""
    field = told["fields"][path]
    own: int = field["present"] + field["null"]
    dots = (at for at in range(len(path) - 1, 0, -1) if path[at] == ".")
    above = next((told["fields"][path[:at]] for at in dots if path[:at] in told["fields"]), None)
    return own if path.endswith("[]") or above is None else max(own, above["types"].get("mapping", 0))


def sentences(found: Sequence[Json]) -> Iterator[str]:
    """What has changed, a sentence each; of very many the first ones."""
    for each in found[:MOST_CHANGES]:
        yield f"statistics: {_sentence(each)}"
    if len(found) > MOST_CHANGES:
        yield f"statistics: {len(found) - MOST_CHANGES:,} more changes of fields since the run before stand in the manifest"


def _sentence(found: Json) -> str:
    field = found["field"] or '""'
    if found["change"] == "new":
        return f"{field} is new: it has a value in {found['now']:.1%}, and was in no record of the run before"
    if found["change"] == "gone":
        return f"{field} is gone: it is in no record, and had a value in {found['before']:.1%} in the run before"
    if found["change"] == "types":
        return f"{field} is now {' or '.join(found['now'])}, and was {' or '.join(found['before'])} in the run before"
    return f"{field} has a value in {found['now']:.1%}, and had one in {found['before']:.1%} in the run before"
