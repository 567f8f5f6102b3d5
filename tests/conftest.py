"""Fixtures that many tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.report import Report

from servers import flink, prism  # noqa: F401


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
