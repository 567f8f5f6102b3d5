"""The sections of a config and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters_beam.components.options import option

SECTIONS = {
    "reader": "reader",
    "decompressor": "decompressor",
    "deserializer": "deserializer",
    "filter": "filter",
    "filter_before": "filter",
    "transform": "transform",
    "filter_after": "filter",
    "grouper": "grouper",
    "formatter": "formatter",
    "writer": "writer",
    "persistence": "persistence",
    "stats_manager": "stats_manager",
}
"""Sections of a config and the kind of component each takes, in the order in which records pass them."""

PREFIX = "exporters."
"""How the class paths of exporters 0.6.18 begin."""


def name_of(section: object) -> str:
    """The name of a component in a section, or an empty text."""
    name = section.get("name") if isinstance(section, Mapping) else section
    return name if isinstance(name, str) else ""


def is_older(config: Mapping[Any, object]) -> bool:
    """Whether a config names components by the class paths of the old system."""
    return any(name_of(config.get(name)).startswith(PREFIX) for name in SECTIONS)


OWN_STEPS = ("filter_before", "transform", "filter_after")
"""Sections that are steps with names of their own; a config has these, or the list `steps`."""

STEP_KINDS = ("filter", "transform")
"""What a member of the list `steps` may be."""

STEP_NAME = "[a-z][a-z0-9_]{0,59}"
"""What a step may be called: a part of labels, of the names of metrics, and of sentences."""

OWN_OF_WRITERS = ("when", "fields")
"""Steps that a member of the list `writers` may have for itself, behind all others."""

OF_A_WRITER = ("name", "options", "as", *OWN_OF_WRITERS, "grouper", "partition_by", "formatter", "on_error", "done", "bundle",
               "encrypt", "table")  # fmt: skip
"""What a member of the list `writers` may say."""

EMPTY = NO_FILE, ONE_FILE = ("none", "file")
"""What is delivered where there are no records."""

NEW_ONLY, AFTER, FOLLOW = "new_only", "after", "follow"

PARTITION_BY = "partition_by"
"""The section that stands for a grouper `partition`."""

LABELS = ("label", "name", "description")
"""Top-level keys that are for people."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The scalars of `exporter_options`."""

    log_level: str = option("DEBUG, INFO, WARNING, ERROR or CRITICAL", default="INFO")
    logger_name: str = option("name of the logger of the export", default="export-pipeline")
    prevent_bypass: bool = option("never copy objects as they are; decode and format them", type="bool", default=False)
    disable_retries: bool = option("try what can fail for a moment only once", type="bool", default=False)
    threaded: bool = option("accepted for old configs; it changes nothing", type="bool", default=False)
    thread_queue_size: int = option("accepted for old configs; it changes nothing", type="int", default=100)
    forced_reads: bool = option("accepted for old configs; it changes nothing", type="bool", default=False)
    pushdown: bool = option("have the planner's rules make the export faster; false leaves out all of them",
                            type="bool", default=True)  # fmt: skip
    without: tuple[str, ...] = option("rules of the planner to leave out, by the names that `explain` shows",
                                      type="str_list", default=())  # fmt: skip
    resume: bool = option("go on with what an earlier run of this export left", type="bool", default=False)
    persistence_state_id: str | int | None = option(
        "accepted for old configs; the export is known by its config", type="str|int", default=None
    )
