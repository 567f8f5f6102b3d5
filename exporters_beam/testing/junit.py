"""Outcomes as JUnit XML, which continuous integration shows beside the tests of code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from exporters_beam.components.secret import hide
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.testing.running import Outcome, Tests
from exporters_beam.testing.telling import lines_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: str, tests: Mapping[str, Tests], wrong: Mapping[str, ConfigError]) -> None:
    """Write the outcomes of the tests of each config, and what is wrong with others. Raises ConfigError where the file cannot
    be written."""
    root = ElementTree.Element("testsuites", name="exporters-beam")
    for config, each in tests.items():
        failures = sum(not outcome.good for outcome in each.outcomes)
        seconds = sum(outcome.seconds for outcome in each.outcomes)
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(config), tests=str(len(each.outcomes)),
                                       failures=str(failures), errors="0", skipped="0", time=f"{seconds:.6f}")  # fmt: skip
        for outcome in each.outcomes:
            _add(suite, config, outcome)
    for config, error in wrong.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(config), tests="1", failures="0", errors="1", skipped="0")
        told = ElementTree.SubElement(suite, "testcase", name="the config", classname=_clean(config))
        ElementTree.SubElement(told, "error", message=_clean(error.problems[0].message)).text = _clean(str(error))
    ElementTree.indent(root)
    try:
        with open(path, "wb") as file:
            ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise ConfigError(Problem((), f"the file cannot be written: {error.strerror}", file=path)) from None


def _add(suite: ElementTree.Element, config: str, outcome: Outcome) -> None:
    case = outcome.case
    line, _ = case.document.place(case.path)
    told = ElementTree.SubElement(suite, "testcase", name=_clean(case.name), classname=_clean(config),
                                  file=_clean(case.document.file), line=str(line), time=f"{outcome.seconds:.6f}")  # fmt: skip
    if not outcome.good:
        message = "; ".join(each.what for each in outcome.differences)
        failure = ElementTree.SubElement(told, "failure", message=_clean(message), type="difference")
        failure.text = _clean("\n".join(lines_of(outcome)))


def _clean(text: str) -> str:
    """The text without what XML cannot hold, nor secrets."""
    return _NOT_XML.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode(), hide(text))
