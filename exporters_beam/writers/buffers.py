"""Write buffers: which of a group's records reach its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.components.options import option


@dataclass(frozen=True, kw_only=True)
class WriteBuffer:
    """Write every record."""

    kind: ClassVar[str] = "write_buffer"


@dataclass(frozen=True, kw_only=True)
class ReservoirSamplingWriteBuffer:
    """Write a random sample of each group, without replacement, in input order, as one file a group.

    Which records are drawn depends on `seed` and on their position in the input, so that every runner draws the same
    ones. `items_per_buffer_write` and `size_per_buffer_write` do not apply.

    Example:
        writer:
          name: fs
          options:
            filebase: out/sample-
            write_buffer: reservoir_sampling
            write_buffer_options: {sample_size: 100}
    """

    kind: ClassVar[str] = "write_buffer"

    sample_size: int = option("records to keep of each group", type="int", default=1000, minimum=1)
    seed: int = option("another seed draws other records", type="int", default=0)
