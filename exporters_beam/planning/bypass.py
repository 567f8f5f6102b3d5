"""When objects are copied from storage to storage as they are, past decoding and formatting: the bypass of the old system.

It is taken where the pipeline would deliver the same records in the same representation. Names differ: a copy keeps its
object's own name, behind `filebase`. `exporter_options.prevent_bypass` forces the pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporters_beam.components.protocols import FileWriter
from exporters_beam.components.traits import ReaderTraits, WriterTraits, delivers_files

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec

NO_STORAGES = "reader and writer are not two storages"


def why_not_copied(spec: ExportSpec) -> str:
    """Why an export is not a copy of objects; "" where it is one. It depends on the config alone."""
    reader, writer = spec.reader.component, spec.writer.component
    takes = WriterTraits.of(writer).takes_copies
    known = ReaderTraits.of(reader).stored is not None and takes in (True, spec.reader.entry.name)
    if not known or not delivers_files(writer):
        return NO_STORAGES
    if spec.to:
        return "there are several writers"
    if spec.checks is not None:
        return "there are checks"
    if spec.statistics is not None:
        return "there are statistics of fields"
    if spec.delta is not None:
        return "only what is different is delivered (delta)"
    if spec.window is not None:
        return "records are divided among windows"
    if spec.bundle is not None:
        return "there is a bundle"
    if spec.encrypt is not None:
        return "files are encrypted"
    if spec.settings.prevent_bypass:
        return "prevent_bypass is given"
    for step in sorted(spec.steps, key=lambda step: step.kind):  # Filters are told first.
        return f"there is the step {step.step}" if spec.listed is not None else f"there is a {step.step}"
    for name in ("grouper", "write_buffer"):
        if getattr(spec, name) is not None:
            return f"there is a {name}"
    for name in ("items_limit", "items_per_buffer_write", "size_per_buffer_write", "generate_md5", "check_consistency"):
        if spec.writer.options.get(name):
            return f"the writer has {name}"
    if "{" in writer.filebase:
        return "filebase has placeholders"
    for name, plain in (("formatter", "JsonFormat"), ("deserializer", "JsonLinesDeserializer")):
        section = getattr(spec, name)
        if section is not None and not _is_default(section.component, plain):
            return f"the {name} is not that of plain JSON lines"
    return _other_compression(spec, writer)


def _is_default(component: object, name: str) -> bool:
    """Whether it writes, or reads, what is copied as it is. NaN is copied whether it may be written or not."""
    kind: Any = type(component)
    if kind.__name__ != name:
        return False
    return bool(component == kind()) or (name == "JsonFormat" and bool(component == kind(allow_nan=True)))


def _other_compression(spec: ExportSpec, writer: FileWriter) -> str:
    given = spec.decompressor.entry.name if spec.decompressor is not None else "auto"
    wanted = writer.compression
    if writer.compression_level is not None:
        return "the writer has compression_level"
    if wanted not in ("gz", "none"):
        return f"the compression is {wanted}"
    if given not in {"gz": ("zlib", "auto"), "none": ("none",)}[wanted]:
        return f"the decompressor is {given} and the compression {wanted}"
    return ""
