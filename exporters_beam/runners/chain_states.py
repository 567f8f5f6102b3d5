"""What is told of a chain of batches, and what counts as read in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from exporters_beam.components.traits import ReaderTraits
from exporters_beam.config.export import ExportSpec
from exporters_beam.config.sections import NEW_ONLY
from exporters_beam.engine.windows import when
from exporters_beam.errors import ConfigError, ExportError, shown
from exporters_beam.planning.plan import Plan, make_each
from exporters_beam.records import Json, Link, Unit
from exporters_beam.reporting.chain import (
    CHAIN,
    RESET,
    SKIPPED,
    Broken,
    State,
    batch_folder,
    manifests,
    move,
    put_aside,
    state_of,
)
from exporters_beam.reporting.report import human, of_windows
from exporters_beam.reporting.verify import verify_told
from exporters_beam.runners.chains import Chain, folder_of, opened, proof_of
from exporters_beam.staging.books import forget_intent, has_segments, locked
from exporters_beam.storages.base import Storage

MOST = 20
"""So many places are shown of where a chain stands."""


def plans_of(spec: ExportSpec) -> tuple[Plan, ...]:
    """The plans of an export that reads only what is new, one for each writer. Raises ConfigError for another one."""
    if spec.new_only is None:
        raise ConfigError(spec.problem((NEW_ONLY,), "this export reads everything each time, so there are no batches that "
                                                    "go on "
                                       "from each other; add `new_only: true`"))  # fmt: skip
    return make_each(spec)


def told(spec: ExportSpec) -> Iterator[str]:
    """How far the chain has come, in lines. Raises Broken."""
    for plan in plans_of(spec):
        folder = folder_of(plan)
        state = state_of(folder, plan.chain)
        yield f"chain    {plan.spec.to + ': ' if plan.spec.to else ''}{folder}"
        if not state.last.number:
            yield "batches  none yet: the first one reads everything that is there"
        else:
            yield f"batches  {state.last.number:,}; the last one of {_when(state.last.now)}"
            yield from _read(plan, state)
            yield from _windows(plan, state.windows)
        if state.pending is not None:
            when = _when(state.pending.now)
            yield f"begun    batch {state.pending.number:,} of {when}, which is not delivered yet: run it again"


def _when(now: str) -> str:
    return now[:19].replace("T", " ")


def _read(plan: Plan, state: State) -> Iterator[str]:
    if ReaderTraits.of(plan.reader).since is None:
        size = sum(max(0, size) for size, _ in state.known.values())
        yield f"read     {len(state.known):,} files, {human(size)}"
        return
    for name in sorted(state.known)[:MOST]:
        yield f"read     {shown(name)}: {state.known[name][1]}"
    if len(state.known) > MOST:
        yield f"         and {len(state.known) - MOST:,} more"


def _windows(plan: Plan, told: Json | None) -> Iterator[str]:
    """Up to when windows are complete, and which partitions have not come further."""
    if told is None or plan.spec.window is None:
        return
    reached = "complete up to none yet" if told["upto"] is None else f"complete up to {when(told['upto'])}"
    late = f", less {plan.spec.window.lateness}" if plan.spec.window.lateness_seconds else ""
    yield f"windows  {reached}{late}; {len(told['open']):,} open"
    behind = [name for name, (latest, _) in told["times"].items() if latest is None or latest <= (told["upto"] or latest)]
    if told["open"] and any(behind):
        yield f"         they wait for {', '.join(map(shown, behind[:MOST]))}"


def runs(spec: ExportSpec, most: int) -> Iterator[str]:
    """The last batches: number, time, records, files. Raises Broken."""
    for plan in plans_of(spec):
        if plan.spec.to:
            yield f"{plan.spec.to}:"
        for manifest in deque(manifests(folder_of(plan), plan.chain), most):
            link, files = manifest[CHAIN], manifest["files"]
            what = f"{manifest['counts']['written']:,} records"
            if files:
                what += f" in {len(files):,} file{'s' if len(files) > 1 else ''}, {human(sum(file['bytes'] for file in files))}"
            if link.get(SKIPPED):
                what = "counted as read, not delivered"
            elif link.get(RESET):
                what = "read again from here on"
            what = "; ".join((what, *(f"windows: {text}" for text in of_windows(manifest.get("windows", {})))))
            yield f"{link['batch']:>6,}  {_when(link['now'])}  {what}"


# What counts as read


def reset(spec: ExportSpec) -> Iterator[str]:
    """The next batch reads everything that is there; numbers go on. Where the chain is broken its books are put aside."""
    now = datetime.now().isoformat()
    whole = True
    for plan in plans_of(spec):
        folder = folder_of(plan)
        with locked(folder):
            try:
                state_of(folder, plan.chain)
                continue
            except Broken as error:
                why, whole = str(error), False
        aside, last = put_aside(folder)
        with locked(folder):
            move(folder, Link(plan.chain, last + 1, now), (), RESET)
        yield f"{folder}: what was there is in {aside} now ({why})"
    if whole:
        with opened(spec) as chain:
            _refuse_begun(chain)
            _move(chain, (), RESET)
    yield "the next batch reads everything that is there"


def skip(spec: ExportSpec) -> Iterator[str]:
    """What is there now counts as read, and is not delivered."""
    plans_of(spec)
    with opened(spec) as chain:
        _refuse_begun(chain)
        units = chain.new()
        if units:
            _move(chain, units, SKIPPED)
    many = f"{len(units):,} unit{'s' if len(units) != 1 else ''}"
    yield f"{many} of input count as read from now on, and are not delivered" if units else "there is nothing new"


def back(spec: ExportSpec, since: datetime) -> Iterator[str]:
    """What batches from that time on have read is read again by the next one."""
    plans_of(spec)
    with opened(spec) as chain:
        _refuse_begun(chain)
        state = State()
        for manifest in manifests(chain.folders[0], chain.plans[0].chain):
            if datetime.fromisoformat(manifest[CHAIN]["now"]) >= since:
                break
            state = state.after(manifest)
        again = chain.number - state.last.number
        if again:
            _move(chain, [Unit(0, name, size, etag) for name, (size, etag) in state.known.items()], RESET)
    batches = f"{again:,} batch{'es' if again != 1 else ''}"
    yield f"what {batches} since {_when(since.isoformat())} have read is read again" if again else "no batch began since then"


def _refuse_begun(chain: Chain) -> None:
    """Raises ConfigError where a batch is begun of which something is staged or may be delivered."""
    links = chain.pending()
    if links is None:
        chain.close()
        return
    staged = [link for plan, link, folder in zip(chain.plans, links, chain.folders, strict=True)
              if has_segments(chain.books(plan, link, folder))]  # fmt: skip
    if staged:
        raise ConfigError(f"batch {staged[0].number:,} is begun and not delivered yet; run the export again to end it, or drop "
                          "what is staged of it with exporters-beam clean")  # fmt: skip
    for at, (folder, link) in enumerate(zip(chain.folders, links, strict=True)):
        if chain.states[at].pending is not None:
            forget_intent(batch_folder(folder, link.number))
    chain.reload()


def _move(chain: Chain, units: Any, what: str) -> None:
    units = list(units)
    now = datetime.now().isoformat()
    for plan, folder, state in zip(chain.plans, chain.folders, chain.states, strict=True):
        move(folder, Link(plan.chain, state.last.number + 1, now, state.last.checksum), units, what)


# Whether all is right


def verified(
    plan: Plan, storage: Storage | None = None, counted: Callable[[Mapping[str, Any]], int | None] | None = None
) -> tuple[list[str], str]:
    """(what is wrong in a chain, one sentence each; a line for one in which nothing is). Raises DestinationError.

    The manifests have to follow on each other, what the batches have read has to fit together without gap and overlap, and the
    files of every batch have to be as they were delivered.
    """
    folder, wrong = folder_of(plan), list[str]()
    state, batches, files, records = State(), 0, 0, 0
    try:
        for manifest in manifests(folder, plan.chain):
            link = manifest[CHAIN]
            wrong += [f"batch {link['batch']:,}: {text}" for text in _misread(plan, state, manifest)]
            state = state.after(manifest)
            if not (link.get(RESET) or link.get(SKIPPED)):
                wrong += verify_told(f"batch {link['batch']:,}", manifest, storage, counted)
                batches += 1
                files += len(manifest["files"])
                records += manifest["counts"]["written"]
    except ExportError as error:
        wrong.append(str(error))
    name = f"{plan.spec.to}: " if plan.spec.to else ""
    return [name + text for text in wrong], f"{name}{folder}: ok, {batches:,} batches, {files:,} files, {records:,} records"


def _misread(plan: Plan, state: State, manifest: Json) -> Iterator[str]:
    """What a batch has read that another one had read, or what lies between."""
    link, told = manifest[CHAIN], ReaderTraits.of(plan.reader)
    if link.get(RESET) or link.get("full"):
        return
    units = [Unit(0, each["name"], each["bytes"], each["etag"]) for each in manifest["units"]]
    if told.gap is not None:
        yield from told.gap([Unit(0, name, size, etag) for name, (size, etag) in state.known.items()], units)
        return
    proof = proof_of(plan)
    for unit in units:
        before = state.known.get(unit.name)
        if before is not None and proof(Unit(0, unit.name, *before)) == proof(unit):
            yield f"{shown(unit.name)}: a batch before has read it as it was"
