"""Prints, for each promise that an export makes, how often it was tried here and how often it was broken.

    python tests/promises.py            # every test of a promise, the slow ones too, and the public suites file by file
    python tests/promises.py --quick    # without the slow ones

A try is a test, or as many inputs as a test says by `record_property("tries", n)`; a fault is a test that fails. Tests that
are skipped are no tries; what they lack is listed below the table. The exit status is 1 where there is a fault.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

PROMISES = {
    "0 the first hour: README, packaging, templates": "test_readme_commands.py test_templates.py test_layout.py",
    "1 records: JSON and what is pushed down": """
        engine/test_fused_lines.py planning/test_pushdown.py planning/test_overrides.py engine/test_reading.py
        formats/test_format_json.py engine/test_hostile.py
    """,
    "1 records: CSV and XML": """
        formats/test_format_csv.py formats/test_csv_exports.py formats/test_format_xml.py
        formats/test_xml_exports.py
    """,
    "1 records: types, schemas, Parquet and Avro": """
        formats/test_schemas.py formats/test_given_schemas.py formats/test_typed_files.py formats/test_columnar.py
        formats engine/test_columnar_exports.py test_decimals.py engine/test_empty.py
    """,
    "1 records: archives, file identity, changing input": "readers compressions storages/test_http_reader.py",
    "1 records: expressions, transforms, groups, dupe": "transforms components/test_naming.py engine/test_graph.py",
    "2 runs: resume, interruption, reruns, verify": """
        faults reporting/test_leftovers.py planning/test_replay_once.py engine/test_again.py engine/test_on_error.py
        runners/test_workers.py
    """,
    "2 runs: options, config, reports, plugins": """
        cli/test_cli.py config/test_document.py config/test_spec.py config/test_parameters.py
        config/test_variables.py runners/test_runners.py reporting/test_telling.py reporting/test_notify.py
        components/test_plugins.py reporting/test_warnings.py config/test_schema.py runners/test_jobs.py
        runners/test_submission.py
    """,
    "3 secrets": "components/test_secrets.py test_web.py",
    "3 hostile input: limits and budgets": """
        formats/test_record_limits.py formats/test_parquet_footer.py formats/test_parquet_limits.py
        formats/test_avro_limits.py compressions/test_limits.py transforms/test_expressions.py
        transforms/test_expression_budget.py transforms/test_patterns_end.py
    """,
    "4 public suites": "suites config/test_shared_config.py",
    "the old system's own output": "test_oracle.py",
}
"""Each promise with the files or folders of tests that try it. A file belongs to the first that names it."""


class Table:
    """Counts tries and faults as pytest reports them."""

    def __init__(self) -> None:
        self.tries: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.broken: list[str] = []
        self.skipped: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        promise = promise_of(report.nodeid.partition("::")[0].removeprefix("tests/"))
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[str(reason).removeprefix("Skipped: ")] += 1
        elif report.failed:
            self.faults[promise] += 1
            self.broken.append(report.nodeid)
        if report.when == "call" and not report.skipped:
            self.tries[promise] += dict(report.user_properties).get("tries", 1)


def promise_of(path: str) -> str:
    """The promise that a test file tries; a file that is named itself belongs there, whatever folder it is in."""
    for exact in (True, False):
        for promise, places in PROMISES.items():
            if any(path == place if exact else path.startswith(f"{place}/") for place in places.split()):
                return promise
    return ""


def files() -> Iterable[str]:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if promise_of(str(path.relative_to(ROOT / "tests"))):
            yield str(path)


def main(args: list[str]) -> int:
    if set(args) - {"--quick"}:
        print(__doc__)
        return 2
    marks = "not packaging and not dataflow and not flink and not prism and not servers"
    table = Table()
    pytest.main(["-q", "-q", "-m", marks + (" and not slow" if args else ""), "--no-summary", *files()], plugins=[table])
    width = max(len(promise) for promise in PROMISES)
    print(f"\n{'promise':{width}} | tries | faults")
    for promise in PROMISES:
        print(f"{promise:{width}} | {table.tries[promise]:5} | {table.faults[promise]:6}")
    print(f"{'in all':{width}} | {table.tries.total():5} | {table.faults.total():6}")
    for node in table.broken:
        print(f"broken: {node}")
    for reason, n in table.skipped.items():
        print(f"skipped, {n}: {reason}")
    return 1 if table.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
