"""Stats managers: what is logged about a finished run. They run on the launcher and are given its report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

STAGES = ("read", "filtered", "transformed", "filtered_after", "grouped", "written", "persisted")
"""Stages of an export in the order of the old log lines."""


@dataclass(frozen=True, kw_only=True)
class BasicStatsManager:
    """Log the whole report at level DEBUG when the export is over.

    Example:
        stats_manager: {name: basic}
    """

    kind: ClassVar[str] = "stats_manager"

    def report(self, report: object, logger: logging.Logger) -> None:
        logger.debug("%s", json.dumps(_as_mapping(report), ensure_ascii=False, default=str))


@dataclass(frozen=True, kw_only=True)
class LoggingStatsManager:
    """Log the seconds spent in each stage at level INFO, as one JSON object, and the whole report at level DEBUG.

    Stages are read, filtered, transformed, filtered_after, grouped, written and persisted; those of a list of `steps` are
    called as the steps are. They are fused and run at the same time in several workers, so a stage that the runner does not
    measure on its own has 0.

    Example:
        stats_manager: {name: logging}
    """

    kind: ClassVar[str] = "stats_manager"

    def report(self, report: object, logger: logging.Logger) -> None:
        times = _as_mapping(report).get("times") or {}
        logger.info("%s", json.dumps({name: seconds or 0.0 for name, seconds in {**dict.fromkeys(STAGES), **times}.items()}))
        BasicStatsManager().report(report, logger)


def _as_mapping(report: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = report if isinstance(report, Mapping) else report.as_dict()
    return found
