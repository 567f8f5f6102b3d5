"""The options that all writers share (tables W and F of the old system)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WriterOptions:
    """Options of every writer."""

    kind: ClassVar[str] = "writer"

    items_per_buffer_write: int = option("most records in one file of a group; 0: no limit", type="int", default=500000,
                                         minimum=0)  # fmt: skip
    size_per_buffer_write: int = option("bytes at which a file is closed, as delivered; 0: no limit", type="int",
                                        default=4000000000, minimum=0)  # fmt: skip
    items_limit: int = option("end after this many records, the first in input order; 0: no limit", type="int", default=0,
                              minimum=0)  # fmt: skip
    check_consistency: bool = option("look at every delivered file again at the end", type="bool", default=False)
    compression: str = option("gz, bz2, zip, zstd, xz or none", type="str", default="gz")
    compression_level: int | None = option("as the compression understands it; the default is fast", type="int",
                                           default=None)  # fmt: skip
    write_buffer: str = option("how records are collected: default or reservoir_sampling", type="str", default="default")
    write_buffer_options: dict[str, Any] = option("options of the write buffer", type="dict", default={})


@dataclass(frozen=True, kw_only=True)
class FileWriterOptions(WriterOptions):
    """Options of every writer that delivers named files."""

    filebase: str = option("folder and name of the files, with % dates, {groups[0]} and {file_number}", type="str",
                           example="out/%Y-%m-%d/part-")  # fmt: skip
    start_file_count: int = option("number of the first file of every group", type="int", default=0, minimum=0)
    generate_md5: bool = option("also deliver md5checksum.md5 with the checksum of every file", type="bool", default=False)

    replace: bool = option("remove the files of the run before that this run has not made, when its own stand; without it "
                           "a warning names them", type="bool", default=False, identity=False)  # fmt: skip

    def __post_init__(self) -> None:
        if not self.filebase:
            raise ConfigError("filebase: it is empty; give a folder and a name, e.g. out/part-")
