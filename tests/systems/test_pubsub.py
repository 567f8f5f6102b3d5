"""Exports of subscriptions of Pub/Sub and to topics, on Go's own fake of the service. What queues have in common is tried
with SQS."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.engine.preview import preview
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.planning.plan import make
from exporters_beam.runners.checks import checks
from exporters_beam.systems import pubsub_writer, queues

from helpers import delivered, jsonl
from pubsub_server import Pubsub
from sqs_server import KILL, resumed, run_in_process

pytestmark = pytest.mark.servers

ORDERS = [{"n": n, "town": "Århus"} for n in range(25)]

FAST = {"wait_seconds": 1, "empty_answers": 1, "retry_seconds": 5}


def reader(pubsub: Pubsub, name: str, **options: Any) -> dict[str, Any]:
    return {"name": "pubsub", "options": {"subscription": name, **pubsub.options, **FAST, **options}}


def from_topic(folder: Path, pubsub: Pubsub, of: str, name: str = "part-", **options: Any) -> dict[str, Any]:
    return {"reader": reader(pubsub, of, **options), "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/{name}"}}}


def to_topic(folder: Path, pubsub: Pubsub, name: str, records: list[Any], **options: Any) -> dict[str, Any]:
    (folder / "in.jl").write_bytes(jsonl(records))
    given = {"topic": name, **pubsub.options, "retry_seconds": 5, **options}
    reader = {"name": "fs", "options": {"input": str(folder / "in.jl")}}
    return {"reader": reader, "writer": {"name": "pubsub", "options": given}, "staging": str(folder / "staging")}


def numbers(folder: Path) -> list[int]:
    return sorted(record["n"] for records in delivered(folder / "out").values() for record in records)


def test_records_go_through_a_topic_and_are_there_once(tmp_path: Path, pubsub: Pubsub) -> None:
    """More than fit into a request of 1,000; all that a message has beside its data can be kept."""
    name = pubsub.topic()
    records = [{"n": n, "who": n % 7} for n in range(2300)]
    config = to_topic(tmp_path, pubsub, name, records, key="who", attributes={"number": "n"}, items_per_buffer_write=2000)
    report = exporters_beam.run(config)
    assert (report.written, report.targets[0]["name"]) == (2300, f"projects/shop/topics/{name}")
    named = {name: f"_{name}" for name in ("id", "key", "attributes", "timestamp")}
    report = exporters_beam.run(from_topic(tmp_path, pubsub, name, **named))
    assert (report.written, report.warnings, numbers(tmp_path)) == (2300, (), list(range(2300)))
    record = delivered(tmp_path / "out")["part-0000.jl.gz"][0]
    assert list(record) == ["n", "who", "_id", "_key", "_attributes", "_timestamp"]
    assert (record["_key"], record["_attributes"]["number"]) == (str(record["who"]), str(record["n"]))
    batch, number = divmod(record["n"], 2000)
    assert record["_attributes"]["exporters-beam-id"].endswith(f"-{batch}-{number}")
    assert pubsub.messages(name) == []
    report = exporters_beam.run(from_topic(tmp_path, pubsub, name, name="none-"))
    assert (report.written, report.warnings) == (0, ())


@pytest.mark.parametrize(
    ("what", "acknowledged"),
    [
        ("killed('exporters_beam.engine.closing', 'write_whole', before=True)", False),
        pytest.param(
            "killed('exporters_beam.systems.pubsub_reader', 'PubsubReader.settled', before=True)", False,
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            "killed('exporters_beam.systems.pubsub_reader', 'PubsubReader.settled', before=False)", True,
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["before-the-manifest", "behind-it", "acknowledged"],
)  # fmt: skip
def test_killed_and_resumed_each_message_is_delivered_once(
    tmp_path: Path, pubsub: Pubsub, what: str, acknowledged: bool
) -> None:
    name = pubsub.topic()
    pubsub.send(name, ORDERS)
    config = from_topic(tmp_path, pubsub, name)
    killed = run_in_process(tmp_path, config, before=f"{KILL}\n{what}")
    assert killed.returncode == -9, killed.stderr
    assert ("Acknowledge" in pubsub.asked) == acknowledged
    pubsub.send(name, [{"n": 100}])
    exporters_beam.run(resumed(config))
    assert numbers(tmp_path) == list(range(25))
    assert [json.loads(message.data) for message in pubsub.messages(name)] == [{"n": 100}]


def test_what_no_message_should_be_is_told_and_is_no_record(tmp_path: Path, pubsub: Pubsub) -> None:
    name = pubsub.topic()
    pubsub.send(name, [ORDERS[0], b"\xff\x00", ORDERS[1]], attributes={"a": "b"})
    config = from_topic(tmp_path, pubsub, name, attributes="_a")
    with pytest.raises(ExportError, match=rf"subscriptions/{name}: record \d: deserializer: not valid"):
        exporters_beam.run(config)
    letters = tmp_path / "letters.jl"
    report = exporters_beam.run({**config, "on_error": {"action": "dead_letter", "file": str(letters)}})
    assert (report.written, report.dead_letters["records"]) == (2, 1)
    told = json.loads(json.loads(letters.read_text())["text"])
    assert told == {"message": {"base64": "/wA="}, "_a": {"a": "b"}}


def test_data_that_is_text_bytes_or_msgpack(tmp_path: Path, pubsub: Pubsub) -> None:
    import msgpack

    for values, data, record in (
        ("text", "Århus".encode(), {"value": "Århus"}),
        ("msgpack", msgpack.packb({"n": 1}), {"n": 1}),
    ):
        name = pubsub.topic()
        pubsub.send(name, [data])
        exporters_beam.run(from_topic(tmp_path / values, pubsub, name, values=values))
        assert delivered(tmp_path / values / "out") == {"part-0000.jl.gz": [record]}


def test_messages_are_held_and_looking_gives_them_back(tmp_path: Path, pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.pubsub_v1 import ModifyAckDeadlineRequest

    from exporters_beam.systems.pubsub_reader import PubsubReader

    name = pubsub.topic()
    pubsub.send(name, ORDERS[:12])
    said: list[str] = []
    config = from_topic(tmp_path, pubsub, name)
    preview(make(load(config)), 3, said.append)
    assert said[0] == "reader: 3 records" and not [told for told in checks(load(config)) if told[1]]
    monkeypatch.setattr(PubsubReader, "held_seconds", 0.1)
    extended = threading.Event()

    def note(method: str, request: bytes) -> None:
        if method == "ModifyAckDeadline" and pubsub.asked.count(method) > 5:
            assert ModifyAckDeadlineRequest.deserialize(request).ack_deadline_seconds == 600
            extended.set()

    pubsub.answer = note
    given = PubsubReader(**reader(pubsub, name)["options"], folder=str(tmp_path / "taken"))
    with given.held():
        assert len(list(given.units())) == 1
        assert extended.wait(20)
        assert pubsub.messages(name) == []
    assert "Acknowledge" not in pubsub.asked


def test_what_cannot_be_written_down_is_given_back(tmp_path: Path, pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody interrupts the export, say, or the disk is full: others have it at once."""
    from exporters_beam.staging.taken import Taking

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    name = pubsub.topic()
    pubsub.send(name, ORDERS)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Taking, "add", interrupted)
        exporters_beam.run(from_topic(tmp_path, pubsub, name))
    assert exporters_beam.run(from_topic(tmp_path, pubsub, name)).written == 25


def test_the_order_of_keys_is_kept_where_messages_are_acknowledged_at_once(tmp_path: Path, pubsub: Pubsub) -> None:
    name = pubsub.topic(enable_message_ordering=True)
    pubsub.send(name, ORDERS[:6], ordering_key="k")
    report = exporters_beam.run(from_topic(tmp_path, pubsub, name))
    assert numbers(tmp_path) == [0] and "the subscription keeps the order of messages" in report.warnings[0]
    exporters_beam.run(from_topic(tmp_path, pubsub, name, name="rest-", acknowledge="written"))
    assert [record["n"] for record in delivered(tmp_path / "out")["rest-0000.jl.gz"]] == list(range(1, 6))


def test_a_service_that_does_not_answer_for_a_while(tmp_path: Path, pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors in the middle of pulling, acknowledging and publishing: nothing is lost, and nothing comes twice."""
    import grpc

    monkeypatch.setattr(queues, "FIRST_WAIT", 0.01)
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)
    name = pubsub.topic()

    def busy(method: str, request: bytes) -> tuple[Any, str] | None:
        odd = pubsub.asked.count(method) % 2 and method != "GetTopic"
        return (grpc.StatusCode.UNAVAILABLE, "busy") if odd else None

    pubsub.answer = busy
    assert exporters_beam.run(to_topic(tmp_path, pubsub, name, ORDERS, items_per_buffer_write=10)).written == 25
    assert exporters_beam.run(from_topic(tmp_path, pubsub, name)).written == 25
    assert numbers(tmp_path) == list(range(25)) and pubsub.messages(name) == []


def test_what_could_not_be_acknowledged_is_tried_again_by_a_resumed_run(tmp_path: Path, pubsub: Pubsub) -> None:
    import grpc

    name = pubsub.topic()
    pubsub.send(name, ORDERS[:3])
    pubsub.answer = lambda method, request: (grpc.StatusCode.PERMISSION_DENIED, "not you") if method == "Acknowledge" else None
    report = exporters_beam.run(from_topic(tmp_path, pubsub, name))
    assert report.written == 3 and "3 messages were delivered and could not be acknowledged" in report.warnings[0]
    assert "no permission for projects/shop/subscriptions" in report.warnings[0]
    pubsub.answer = lambda method, request: None
    exporters_beam.run(resumed(from_topic(tmp_path, pubsub, name)))
    assert pubsub.asked[-1] == "Acknowledge" and numbers(tmp_path) == [0, 1, 2]


def test_an_acknowledgement_that_came_too_late_is_told_of_its_message_alone(tmp_path: Path, pubsub: Pubsub) -> None:
    """As subscriptions say it that deliver exactly once. Where the message comes again, the next export passes over it."""
    from google.pubsub_v1 import AcknowledgeRequest
    from google.rpc import code_pb2, error_details_pb2, status_pb2
    from grpc_status import rpc_status

    name = pubsub.topic()
    pubsub.send(name, ORDERS[:3])

    def late(method: str, request: bytes) -> Any:
        if method != "Acknowledge":
            return None
        ids = list(AcknowledgeRequest.deserialize(request).ack_ids)
        path = f"projects/shop/subscriptions/{name}"
        pubsub.subscriber.acknowledge(request={"subscription": path, "ack_ids": ids[1:]})
        status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="Some acknowledgement ids are invalid.")
        reason = {"metadata": {ids[0]: "PERMANENT_FAILURE_INVALID_ACK_ID"}, "reason": "x", "domain": "pubsub.googleapis.com"}
        status.details.add().Pack(error_details_pb2.ErrorInfo(**reason))
        pubsub.subscriber.modify_ack_deadline(request={"subscription": path, "ack_ids": ids[:1], "ack_deadline_seconds": 0})
        return rpc_status.to_status(status)

    pubsub.answer = late
    report = exporters_beam.run(from_topic(tmp_path, pubsub, name))
    assert report.written == 3
    assert "1 messages were delivered and could not be acknowledged (PERMANENT_FAILURE_INVALID_ACK_ID)" in report.warnings[0]
    pubsub.answer = lambda method, request: None
    pubsub.send(name, [{"n": 100}])
    assert exporters_beam.run(from_topic(tmp_path, pubsub, name, name="next-")).written == 1
    assert numbers(tmp_path) == [0, 1, 2, 100] and pubsub.messages(name) == []


def test_what_is_wrong_is_one_sentence(tmp_path: Path, pubsub: Pubsub) -> None:
    import grpc

    def said(**options: Any) -> list[str]:
        config = from_topic(tmp_path, pubsub, "missing", **{**options, "retry_seconds": 0})
        config["writer"] = to_topic(tmp_path, pubsub, "missing", [], **options)["writer"]
        return [wrong for _, wrong in checks(load({**config, "staging": str(tmp_path / "staging")}))]

    assert [text.partition(" (it said")[0] for text in said()] == [
        "option subscription: there is no subscription projects/shop/subscriptions/missing",
        "option topic: there is no topic projects/shop/topics/missing",
    ]
    for text in said(host="localhost:9"):
        assert text.startswith("option host: the service cannot be reached (it said ")
    pubsub.answer = lambda method, request: (grpc.StatusCode.UNAUTHENTICATED, "who are you")
    assert said() == ["option credentials: the service does not take them (it said who are you)"] * 2
    with pytest.raises(ExportError, match="option credentials: the service does not take them"):
        exporters_beam.run(from_topic(tmp_path, pubsub, "missing"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subscription": "projects/shop/topics/a"}, "subscription: projects/shop/topics/a is no name; write projects/"),
        ({"project": None}, "project: give it, or the whole name: subscription: projects/PROJECT/subscriptions/orders"),
        ({"ack_deadline_seconds": 700}, "ack_deadline_seconds: it is 600 at most"),
        ({"values": "avro"}, "registry: give the URL"),
        ({"host": "http://localhost:1"}, "host: write localhost:1, without a scheme"),
        ({"credentials": {"client_email": "a"}}, "credentials: this is not a key of a service account"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_right(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given = {"subscription": "orders", "project": "shop", **options}
    with pytest.raises(ConfigError, match=message):
        load({"reader": {"name": "pubsub", "options": given}, "writer": f"{tmp_path}/out/"})


def test_refused_records_become_letters_and_the_others_are_there(tmp_path: Path, pubsub: Pubsub) -> None:
    """By this side what cannot be a message, by the service what is not of the topic's schema: it refuses the whole request."""
    import grpc

    name = pubsub.topic()
    records = [{"n": n, "k": "a"} for n in range(9)] + [{"n": 9}, {"n": 10, "k": "not of the schema"}]
    pubsub.answer = lambda method, request: (
        (grpc.StatusCode.INVALID_ARGUMENT, "not of the schema") if method == "Publish" and b"schema" in request else None
    )
    config = to_topic(tmp_path, pubsub, name, records, key="k")
    with pytest.raises(ExportError, match=r"in\.jl: record 10: writer: key: k is no integer and no text"):
        exporters_beam.run(config)
    assert pubsub.messages(name) == []
    letters = tmp_path / "letters.jl"
    report = exporters_beam.run({**config, "on_error": {"action": "dead_letter", "file": str(letters)}})
    assert report.written == 9 and sorted(json.loads(each.data)["n"] for each in pubsub.messages(name)) == list(range(9))
    found = {letter["number"]: letter["message"] for letter in map(json.loads, letters.read_text().splitlines())}
    assert found[11].startswith("the service refused it for projects/shop/topics/") and "not of the schema" in found[11]


def test_requests_are_not_larger_than_the_service_takes(
    tmp_path: Path, pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = pubsub.topic()
    sizes = []
    pubsub.answer = lambda method, request: sizes.append(len(request)) if method == "Publish" else None  # type: ignore[func-returns-value]
    monkeypatch.setattr(pubsub_writer, "BYTES", 3_000_000)  # The fake takes no more than 4 MiB.
    records = [{"n": n, "text": "x" * 1_200_000} for n in range(4)]
    exporters_beam.run(to_topic(tmp_path, pubsub, name, records, size_per_buffer_write=0))
    assert len(sizes) == 2 and max(sizes) < 3_000_000
    assert len(pubsub.messages(name)) == 4
