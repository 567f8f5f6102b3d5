"""How many examples property tests try.

Every day they are the same ones, so that a test which passed passes again. `EXPORTERS_BEAM_EXAMPLES=2000 pytest tests/formats`
tries others each time, at least so many of each; what fails is printed with what repeats it.
"""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("EXPORTERS_BEAM_EXAMPLES", "0"))


def at_least(number: int, cost: int = 1) -> int:
    """The examples of a test that tries so many every day, each of which takes as long as `cost` others."""
    return max(number, EXAMPLES // cost)
