"""Every file that the table of promises names is there."""

from __future__ import annotations

from pathlib import Path

from everyday import EVERYDAY
from promises import PROMISES, promise_of

TESTS = Path(__file__).parent


def test_what_tries_a_promise_is_there() -> None:
    assert not [place for places in PROMISES.values() for place in places.split() if not (TESTS / place).exists()]


def test_a_file_belongs_where_it_is_named_and_else_where_its_folder_is() -> None:
    assert promise_of("compressions/test_limits.py").startswith("3 ")
    assert promise_of("compressions/test_auto.py").startswith("1 ")
    assert promise_of("flink/test_flink_jobs.py") == ""


def test_what_is_partly_left_for_ci_is_there() -> None:
    for place in EVERYDAY:
        path, _, test = place.partition("::")
        assert f"def {test}(" in (TESTS / path).read_text(encoding="utf-8"), place
