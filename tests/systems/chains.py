"""What a chain of batches has delivered, for tests of every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporters_beam.config.spec import load
from exporters_beam.reporting.chain import manifests
from exporters_beam.runners.chain_states import plans_of, verified
from exporters_beam.runners.chains import folder_of

from helpers import plain


def batches(made: dict[str, Any], field: str = "n") -> list[list[Any]]:
    """The value of a field of each record in each batch, in the order of its files, of a chain in which all is right."""
    (plan,) = plans_of(load(made))
    assert verified(plan)[0] == []
    return [
        [json.loads(line)[field] for file in manifest["files"] for line in plain(Path(file["name"])).splitlines()]
        for manifest in manifests(folder_of(plan), plan.chain)
    ]
