"""A sample of every fault of suite.py."""

from __future__ import annotations

import pytest
from suite import FAULTS, run


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_is_there_twice(name, tmp_path):
    tally = run([name], quick=True, place=tmp_path)[name]
    if tally.skipped:
        pytest.skip(tally.skipped.removeprefix("skipped: "))
    assert (tally.wrong, tally.lost, tally.duplicated) == ([], 0, 0)
    assert tally.tries
