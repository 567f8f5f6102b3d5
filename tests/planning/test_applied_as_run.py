"""What is applied without a pipeline is what an export makes of the same input: records, groups, counts and failures."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import given, settings

from exporters_beam.config import spec
from exporters_beam.engine.applying import in_text
from exporters_beam.errors import ExportError
from exporters_beam.planning.plan import make
from exporters_beam.testing.applied import apply

from examples import at_least
from generated import Export, exports


def as_text(export: Export) -> Export | None:
    """The export with a format that writes text and hands no line on as it came. Records whose depth is at the limit of Python
    are left out: how deep the stack is already decides what becomes of them."""
    config = dict(export.config)
    table = any(name in str(config.get("formatter", "")) for name in ("parquet", "avro", "orc", "xlsx"))
    if table or export.kind in ("parquet", "orc") or b"[" * 1500 in export.data:
        return None
    if config.get("formatter", "json") == "json":
        config["formatter"] = {"name": "json", "options": {"reencode": True}}
    return export._replace(config=config)


@settings(max_examples=at_least(30), deadline=None)
@given(exports.map(as_text).filter(bool))
def test_the_same_comes_out(export: Export) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ran = export.outcome(folder)
        names = "{groups[0]}-" if export.config.get("grouper", {}).get("name", "partition") != "partition" else ""
        config: dict[str, Any] = {
            "reader": {"name": "fs", "options": {"input": "none"}}, "deserializer": export.kind,
            "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/{names}"}}, **export.config}  # fmt: skip
        loaded = spec.load(config)
        try:
            found = apply(loaded, export.data)
        except ExportError as error:
            assert ran.error.partition(": ")[2] == str(error).partition(": ")[2]  # behind the name of the input
            return
    plan = make(loaded)
    action = {name: plan.on_error.action(name) for name in loaded.order}
    if ran.error:
        order, dedupes = loaded.order, [step.name for step in plan.steps if step.kind == "dedupe"]
        ends = min(  # What stands behind a dedupe gets no record before all have come as far as that.
            (each for each in found.failed if action[each.step] == "fail"),
            key=lambda each: sum(order.index(name) < order.index(each.step) for name in dedupes),
        )
        assert ran.error.endswith(f": {ends.step}: {ends.error}")
        return
    form = in_text(plan)
    assert form is not None
    texts = {group: form.separator.join(map(form.format, records)) for group, records in found.groups.items()}
    assert ran.groups == texts
    assert dropped(ran.counts) == found.dropped
    letters = [each for each in found.failed if action[each.step] == "dead_letter"]
    assert [(letter["step"], letter["message"]) for letter in ran.letters] == [(each.step, each.error) for each in letters]
    assert [letter["number"] for letter in ran.letters] == [each.number for each in letters]


def dropped(counts: dict[str, int]) -> dict[str, int]:
    """What each step left out."""
    return {name.rpartition(".")[0]: n for name, n in counts.items() if name.endswith((".dropped", ".duplicates"))}
