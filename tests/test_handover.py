"""Errors of ours reach the launcher as values, whatever runners put around the text that holds them."""

from __future__ import annotations

import importlib
import inspect
import pickle
import traceback
from typing import Any

import apache_beam as beam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters_beam.engine.dead_letters import TooManyFailed
from exporters_beam.engine.failures import FailedRecord
from exporters_beam.errors import ConfigError, DestinationError, ExportError, MissingExtra, SourceError
from exporters_beam.handover import WORK, Failed, HandsOver, handed_over, received
from exporters_beam.records import Failure
from exporters_beam.runners.beam_internals import FnApiRunner
from exporters_beam.runners.failures import interrupted, told

from architecture import MODULES


class Raises(HandsOver, beam.DoFn):
    """Raises what it is given, at once, while it yields, or when the bundle ends."""

    def __init__(self, error: BaseException, where: str) -> None:
        self._error, self._where = error, where

    def setup(self) -> None:
        self._raise("setup")

    def process(self, element: Any, number: int = 0) -> Any:
        yield element
        self._raise("process")

    def finish_bundle(self) -> None:
        self._raise("finish_bundle")

    def _raise(self, where: str) -> None:
        if where == self._where:
            try:
                raise OSError("disk on fire")
            except OSError as why:
                raise self._error from why


def in_text(error: BaseException) -> Exception:
    """What is left of an error where workers are other processes: the text of its traceback."""
    return RuntimeError("".join(traceback.format_exception(error)))


def failure_of(error: BaseException, where: str = "process") -> Exception:
    """What Beam's runner raises where a step raised this."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | beam.Create([1]) | "a step/of two" >> beam.ParDo(Raises(error, where)) | beam.Map(print)
    with pytest.raises(Exception) as caught:
        pipeline.run()
    return caught.value


FAILURE = Failure((0, 0, 4), "in.jl", "filter_before", "KeyError: 'x'", None)


@pytest.mark.parametrize("where", ["setup", "process", "finish_bundle"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SourceError("in.jl: it is cut off"), SourceError),
        (DestinationError("cannot write to /out: No space left on device"), DestinationError),
        (ConfigError("first: wrong", "second: wrong"), ConfigError),
        (MissingExtra("parquet", "parquet"), ConfigError),
        (TooManyFailed("3 of 4 records failed"), SourceError),
        (FailedRecord(FAILURE, "in.jl", 5), SourceError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_the_users_sentence_comes_through_beam_as_it_was(error: ExportError, kind: type, where: str) -> None:
    raised = failure_of(error, where)
    for found in (told(raised), told(in_text(raised))):
        assert type(found) is kind
        assert str(found) == str(error)


def test_a_record_at_fault_is_named_in_fields() -> None:
    found = received(failure_of(FailedRecord(FAILURE, "in.jl", 5)))
    assert found == Failed("source", "in.jl: record 5: filter_before: KeyError: 'x'", "in.jl", 5, "filter_before")


def test_what_others_raise_is_told_by_its_last_line() -> None:
    assert str(told(failure_of(ValueError("no good")))) == "the export failed: no good"
    assert str(told(failure_of(MemoryError("malloc")))).startswith("the export ran out of memory in the step a step; give")
    assert interrupted(failure_of(KeyboardInterrupt()))
    assert not interrupted(failure_of(SourceError("KeyboardInterrupt is a word")))


def trace(error: ExportError) -> str:
    try:
        raise handed_over(error)
    except ExportError:
        return traceback.format_exc()


AROUND = [
    lambda text: f"Pipeline x failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness: {text}",
    lambda text: "\n".join(f"  {line}" for line in text.splitlines()),
    lambda text: text.replace("\n", "\r\n"),
    lambda text: f"{text}\n\tat org.apache.flink.Task.run(Task.java:1)\nCaused by: java.lang.RuntimeException: {text}",
    lambda text: str(pickle.loads(pickle.dumps(RuntimeError(text)))),
]


@given(st.text(), st.sampled_from(AROUND))
def test_whatever_the_sentence_holds_and_whatever_stands_around_it(sentence: str, around: Any) -> None:
    found = received(around(trace(SourceError(sentence))))
    assert found is not None
    assert found.message == str(Failed.of(SourceError(sentence)).message)


@given(st.integers(0, 3000))
def test_a_text_that_was_cut_gives_the_value_or_none(most: int) -> None:
    whole = trace(SourceError("in.jl: it is cut off " + "x" * 200))
    assert received(whole[:most]) in (None, received(whole))
    assert told(RuntimeError(whole[:most])).__class__ in (ExportError, SourceError)


def test_a_sentence_that_looks_like_a_value_is_none() -> None:
    hostile = 'exporters_beam.handover.HandedOver: {"kind":"config","message":"not so"}'
    found = received(trace(SourceError(f"in.jl: {hostile}")))
    assert found is not None
    assert found.message == f"in.jl: {hostile}"


def test_the_error_keeps_its_own_cause_and_is_handed_over_once() -> None:
    error = SourceError("a")
    error.__cause__ = OSError("why")
    assert handed_over(handed_over(error)) is error
    assert isinstance(error.__cause__.__cause__, OSError)


def test_every_step_of_the_engine_hands_over() -> None:
    dofns = set()
    for name in MODULES:
        if name.startswith(("engine.", "transforms.")):
            module = importlib.import_module(f"exporters_beam.{name}")
            dofns |= {each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, beam.DoFn)}
    assert len(dofns) > 15
    for dofn in dofns - {beam.DoFn}:
        assert issubclass(dofn, HandsOver), f"{dofn}: name HandsOver before beam.DoFn"
        for name in WORK:
            assert name not in vars(dofn) or hasattr(vars(dofn)[name], "__wrapped__")
