"""The rules of the planner, one file each, in the order in which they are tried.

A rule gets the logical plan and the physical plan so far, and gives another physical plan with a reason, or declines with
one. Nothing else decides how an export is made fast, so `explain` prints what became of each rule. Any of them can be left out
(`--without RULE`, `exporter_options.without`), and a property test compares exports with all rules, with none, and without
each: files, counts, dead letters and messages are the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Applied, Physical, Rewritten, Rule
from exporters_beam.planning.rules.columns_kept import ColumnsKept
from exporters_beam.planning.rules.columns_made import ColumnsMade
from exporters_beam.planning.rules.fields_projected import FieldsProjected
from exporters_beam.planning.rules.fields_pushed import FieldsPushed
from exporters_beam.planning.rules.files_together import FilesTogether
from exporters_beam.planning.rules.lines_transcribed import LinesTranscribed
from exporters_beam.planning.rules.records_staged import RecordsStaged
from exporters_beam.planning.rules.row_groups_skipped import RowGroupsSkipped

RULES: tuple[Rule, ...] = (
    LinesTranscribed(),
    ColumnsKept(),
    FieldsProjected(),
    FieldsPushed(),
    ColumnsMade(),
    RowGroupsSkipped(),
    RecordsStaged(),
    FilesTogether(),
)

NAMES = tuple(rule.name for rule in RULES)

LEFT_OUT = "it is turned off"


def physical(logical: Logical, without: Collection[str] = ()) -> Physical:
    """The plan after all rules but those `without`, with the trace of each."""
    plan = Physical(logical.decoding)
    trace = []
    for rule in RULES:
        if rule.name in without:
            trace.append(Applied(rule.name, False, LEFT_OUT))
            continue
        found = rule(logical, plan)
        trace.append(Applied(rule.name, isinstance(found, Rewritten), found.why))
        if isinstance(found, Rewritten):
            plan = found.plan
    return replace(plan, trace=tuple(trace))
