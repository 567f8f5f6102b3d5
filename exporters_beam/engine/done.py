"""What tells customers that an export is whole: delivered when all files stand, and removed before the first is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO

from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.done import KINDS, MANIFEST
from exporters_beam.engine.delivery import Delivery
from exporters_beam.errors import DestinationError
from exporters_beam.records import DeliveredFile, Json, PlannedFile
from exporters_beam.reporting.leftovers import done_before
from exporters_beam.reporting.manifest import manifest_checksum, manifest_text
from exporters_beam.staging.run import Progress, Run

VERSION = 1
"""Of the manifest for customers: another one where a field means something else."""


def in_place(delivery: Delivery, windows: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """What manifests call the files of `done`, by their kinds, and those of `windows` that are complete."""
    to, found = delivery.to, (*windows, *delivery.naming.done)
    return {kind: str(to.storage().url(to.key(path))) if to.storage is not None else path for kind, path in found}


def clear(delivery: Delivery, run: Run) -> None:
    """Remove what says that an earlier export is whole, where its files are about to be replaced. May be done again. Raises
    DestinationError."""
    to = delivery.to
    if not delivery.says_done or to.left is None or to.remove is None:
        return
    began, earlier = done_before(delivery.writer, run.manifest, delivery.naming.names, run.export_id)
    if began == delivery.naming.when:
        return  # This run is complete, and a runner does a part of it once more: the same files.
    names = list(in_place(delivery).values())
    for name in names:
        if to.left({"name": name, "bytes": -1, "md5": ""}):
            to.remove(name)
    for entry in earlier:
        if entry["name"] not in names and to.left(entry) == "as delivered":
            to.remove(entry["name"])


def refuse_their_names(delivery: Delivery, names: Iterable[str], key: Callable[[str], str] = str) -> None:
    """Raises DestinationError where a file with records would have the name of one that says that the export is whole."""
    if delivery.naming.bundle:
        return  # They are in the archive.
    taken = {key(path): kind for kind, path in delivery.naming.done}
    for name in names:
        if key(name) in taken:
            raise DestinationError(f"{name}: a file with records would have the name of done.{taken[key(name)]}; nothing was "
                                   "delivered; give that another name")  # fmt: skip


def deliver_done(
    delivery: Delivery,
    run: Run,
    manifest: Mapping[str, Any],
    files: Sequence[DeliveredFile],
    windows: Sequence[tuple[str, str]] = (),
) -> Json:
    """Deliver the files of windows that are complete, the manifest for customers and, last, the success file. The same bytes
    where it is done again. Gives the entry of each for the `manifest` of the export. Raises DestinationError."""
    names, told = {file.name for file in files}, dict[str, Any]()
    for kind, name in in_place(delivery, windows).items():
        if name in names:
            what = f"done.{kind}" if kind in KINDS else "window.success_file"
            raise DestinationError(f"{name}: a file with records, or a copied object, has this name; give {what} another one")
    progress = Progress(run)
    for kind, path in (*windows, *delivery.naming.done):
        text = _for_customers(delivery, run, manifest, files, path) if kind == MANIFEST else b""

        def fill(out: BinaryIO, text: bytes = text) -> None:
            out.write(text)

        file: DeliveredFile = delivery.writer.publish(PlannedFile(path, (), 0, 0, ()), fill, run.scratch)
        if delivery.writer.check_consistency and delivery.to.check is not None:
            delivery.to.check(file)
        progress.note(file)
        told[kind] = {"name": file.name, "bytes": file.size, "md5": file.md5}
    progress.close()
    return told


def _for_customers(
    delivery: Delivery, run: Run, manifest: Mapping[str, Any], files: Sequence[DeliveredFile], path: str
) -> bytes:
    to = delivery.to
    folder = plain_path(to.key(path)).rpartition("/")[0]
    unknown = bool(manifest["counts"].get("not_counted"))
    told: dict[str, Any] = {
        "version": VERSION,
        "export": run.export_id,
        "time": f"{delivery.naming.when[:19]}Z",
        "records": None if unknown else sum(file.records for file in files),
        "bytes": sum(file.size for file in files),
        "dead_letters": manifest.get("dead_letters", {}).get("records", 0),
        "files": [{
            **file.as_dict(),
            "name": relative(_key(to, file.name), folder),
            "records": None if unknown and not file.records else file.records,
            "md5": file.md5 or None,
        } for file in files],
    }  # fmt: skip
    return manifest_text({**told, "checksum": manifest_checksum(told)}) + b"\n"


def _key(to: WriterTraits, name: str) -> str:
    return plain_path(to.storage().name(name) or name if to.storage is not None else name)


def plain_path(path: str) -> str:
    """A path without what says that it begins here."""
    while path.startswith("./"):
        path = path[2:]
    return path


def relative(name: str, folder: str) -> str:
    """How a file is found from a folder: both are names of one storage, or paths that begin in the same place.

    >>> relative("out/a/b.jl", "out"), relative("out/b.jl", "out/meta"), relative("b.jl", "")
    ('a/b.jl', '../b.jl', 'b.jl')
    """
    parts, start = name.split("/"), folder.split("/") if folder else []
    same = 0
    while same < min(len(start), len(parts) - 1) and start[same] == parts[same]:
        same += 1
    return "/".join([".."] * (len(start) - same) + parts[same:])
