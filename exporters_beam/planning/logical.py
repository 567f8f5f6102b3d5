"""The logical plan: what is done with records, in order, without a word on how: Read → Step* → Group → Write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from exporters_beam.components.protocols import (
    Deserializer,
    Format,
    Grouper,
    StepComponent,
)
from exporters_beam.components.traits import (
    DecoderTraits,
    FilterTraits,
    FormatTraits,
    GrouperTraits,
    MapTraits,
    StepTraits,
)
from exporters_beam.config.on_error import FORMATTER
from exporters_beam.records import Key
from exporters_beam.stages import Decoding, Extend, Fields, HandOn, Whole
from exporters_beam.transforms.sightings import told_as

Sought = tuple[str, tuple[tuple[str, Key], ...]]
"""The name of a step, and the fields that it looks for, by what the config calls them."""


@dataclass(frozen=True)
class Read:
    """What makes records of the source. `letters`: dead letters are sent in again, in the place of the source."""

    deserializer: Deserializer | None
    letters: bool = False


@dataclass(frozen=True)
class StepPlan:
    """A step between reading and staging. `kind` is keep, map, flat_map, dedupe or look, which only counts; `name` is that of
    the step in the config."""

    kind: str
    name: str
    component: StepComponent
    component_name: str
    drawn: tuple[str, ...] = ()
    """The expressions by which steps before it draw random numbers."""


@dataclass(frozen=True)
class Write:
    """Where they go. `chooses`: a limit or a sample decides after staging; `letters`: failed records are written, whole."""

    format: Format
    chooses: bool = False
    letters: bool = False


class Records:
    """Stands for the formats of several writers: all fields of records are looked at, and no line is handed on."""

    kind = "formatter"


@dataclass(frozen=True)
class Logical:
    """Read → Step* → Group → Write."""

    read: Read
    steps: tuple[StepPlan, ...]
    grouper: Grouper | None
    write: Write

    @cached_property
    def decoder(self) -> DecoderTraits:
        return DecoderTraits.of(self.read.deserializer)

    @cached_property
    def format(self) -> FormatTraits:
        return FormatTraits.of(self.write.format)

    @cached_property
    def first(self) -> StepPlan | None:
        """The filter that the steps begin with, if they do: it runs in the decoder's loop."""
        return self.steps[0] if self.steps and self.steps[0].kind == "keep" and not self.read.letters else None

    @cached_property
    def others(self) -> tuple[StepPlan, ...]:
        """The steps behind it."""
        return self.steps[1:] if self.first is not None else self.steps

    def reads(self, *steps: StepPlan, grouper: bool = False) -> tuple[Fields, str]:
        """The top-level fields that these steps, and the grouper, look at, and of which of them that cannot be proved."""
        known = [(step.component.kind, _reads(step)) for step in steps]
        if grouper and self.grouper is not None:
            known.append((self.grouper.kind, GrouperTraits.of(self.grouper).reads))
        unproved = next((kind for kind, reads in known if reads is None), "")
        fields = frozenset[str]().union(*(reads for _, reads in known if reads is not None))
        return fields, f"what the {unproved} reads of a record cannot be proved" if unproved else ""

    @cached_property
    def added(self) -> tuple[str, ...] | None:
        """The fields that steps add in order, None where some step does something else to records."""
        adding = [adds(step) for step in self.steps if step.kind != "keep"]
        return None if None in adding else tuple(dict.fromkeys(name for names in adding for name in names or ()))

    @cached_property
    def needed(self) -> tuple[Fields | None, str]:
        """The top-level fields that anything looks at, None for all, and why all. What is behind a transform that says what it
        needs sees nothing else of a record."""
        for n, step in enumerate(self.steps):
            needs = MapTraits.of(step.component).needs if step.kind == "map" else None
            if needs is None:
                continue
            if any(adds(each) is None for each in self.steps[:n] if each.kind != "keep"):
                break
            read, unproved = self.reads(*self.steps[:n])
            return (None, unproved) if unproved else (needs | read, "")
        if self.format.needs is None:
            return None, "the format writes every field"
        if self.added is None:
            return None, "a step may look at any field"
        read, unproved = self.reads(*self.steps, grouper=True)
        return (None, unproved) if unproved else (self.format.needs | read, "")

    @cached_property
    def sought(self) -> tuple[Sought, ...]:
        """What is looked for in records behind the decoder."""
        steps = [(step.name, StepTraits.of(step.component).sought) for step in self.others]
        grouper = GrouperTraits.of(self.grouper)
        labels = tuple((label, Key.of(label)) for label in grouper.labels)
        found = (*steps, (told_as(grouper.nothing), labels), (FORMATTER, self.format.sought))
        return tuple((name, sought) for name, sought in found if sought)

    @cached_property
    def decoding(self) -> Decoding:
        """How records stand where no rule is applied: every one decoded whole, and beside that its line where the line, with
        what steps add behind it, is what files hold. That decides the bytes of files, so no rule may change it, nor any step
        that only looks at records."""
        changing = tuple(step for step in self.steps if step.kind != "look")
        if len(changing) == len(self.steps):
            return self._decoding
        found = replace(self, steps=changing)._decoding
        return Extend(()) if isinstance(found, HandOn) else found

    @property
    def looks_at_all(self) -> bool:
        """Whether a step that only looks at records looks at all of their fields."""
        return any(step.kind == "look" and _reads(step) is None for step in self.steps)

    @property
    def _decoding(self) -> Decoding:
        lines = self.format.takes_lines or (self.format.stages_lines and not self.added)
        if not (self.decoder.gives_lines and lines) or self.write.chooses or self.added is None:
            return Whole()
        if any(step.kind != "keep" for step in self.steps):
            return Whole() if self.reads(*self.steps, grouper=True)[1] else Extend(self.added)
        if self.others or self.reads(*self.steps, grouper=True)[1]:
            return Whole()
        return HandOn()


def draws(component: object) -> tuple[str, ...]:
    """The expressions by which a component draws random numbers."""
    return tuple(chance.expression for chance in StepTraits.of(component).chances)


def adds(step: StepPlan) -> tuple[str, ...] | None:
    """The top-level fields that a transform adds to a record, where it is proved to do nothing else to it."""
    if step.kind == "look":
        return ()
    return MapTraits.of(step.component).adds if step.kind == "map" else None


def _reads(step: StepPlan) -> Fields | None:
    return MapTraits.of(step.component).reads if step.kind == "map" else FilterTraits.of(step.component).reads
