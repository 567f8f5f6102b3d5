"""Fixtures that many tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import exporters_beam
from exporters_beam.reporting.report import Report

from everyday import EVERYDAY, SAMPLED, left_for_ci
from examples import EXAMPLES
from servers import flink, prism  # noqa: F401

settings.register_profile("everyday", derandomize=True, deadline=None)
settings.register_profile("long", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("long" if EXAMPLES else "everyday")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `everyday` leaves for CI, and what needs the shared test files, which a clone alone has not."""
    for item in items:
        if any("the shared test files" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skipif")):
            item.add_marker(pytest.mark.shared)
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        test = item.nodeid.partition("[")[0].rpartition("tests/")[2]
        if test in EVERYDAY:
            cases.setdefault(test, []).append(item)
    for test, found in cases.items():
        left = left_for_ci([item.nodeid for item in found], EVERYDAY[test])
        slow = [item for item in found if item.nodeid in left]
        beyond = left_for_ci([item.nodeid for item in slow], SAMPLED[test]) if test in SAMPLED else set()
        for item in slow:
            item.add_marker(pytest.mark.exhaustive if item.nodeid in beyond else pytest.mark.slow)


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Report]:
    """Runs an export to `tmp_path / "out"` on the local runner: export(reader, writer options…, filter=…, …)."""

    def run(
        reader: Any, *, args: tuple[str, ...] = (), out: str = "out", workers: int | None = None, **sections: Any
    ) -> Report:
        options = {"filebase": f"{tmp_path / out}/part-", **sections.pop("options", {})}
        config = {
            "reader": reader if isinstance(reader, dict) else {"name": "fs", "options": {"input": reader}},
            "writer": {"name": "fs", "options": options},
            **sections,
        }
        return exporters_beam.run(config, beam_args=args, workers=workers)

    return run
