"""A filter that needs a secret, which the environment of the workers holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.components.options import option
from exporters_beam.records import Record


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """Keep all records, if the secret is the workers' one."""

    kind: ClassVar[str] = "filter"

    token: str = option("a secret", env="CANARY", secret=True)

    def keep(self, record: Record) -> bool:
        if self.token != "canary-of-the-workers":
            raise ValueError("the secret did not arrive")
        return True
