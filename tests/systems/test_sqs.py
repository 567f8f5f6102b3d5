"""Exports of queues of SQS and into them, on moto's server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.engine.preview import preview
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.planning.plan import make
from exporters_beam.runners.checks import checks
from exporters_beam.systems import queues
from exporters_beam.systems.sqs_reader import SqsReader

from helpers import delivered, hidden, jsonl
from sqs_server import KILL, SECRET, Sqs, resumed, run_in_process

pytestmark = pytest.mark.servers

ORDERS = [{"n": n, "town": "Århus"} for n in range(25)]

FAST = {"wait_seconds": 0, "empty_answers": 1, "retry_seconds": 5}


def reader(sqs: Sqs, of: str, **options: Any) -> dict[str, Any]:
    return {"name": "sqs", "options": {"queue": of, **sqs.options, **FAST, **options}}


def from_queue(folder: Path, sqs: Sqs, of: str, name: str = "part-", **options: Any) -> dict[str, Any]:
    return {"reader": reader(sqs, of, **options), "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/{name}"}}}


def to_queue(folder: Path, sqs: Sqs, name: str, records: list[Any], **options: Any) -> dict[str, Any]:
    (folder / "in.jl").write_bytes(jsonl(records))
    given = {"queue": name, **sqs.options, "retry_seconds": 5, **options}
    return {"reader": {"name": "fs", "options": {"input": str(folder / "in.jl")}}, "writer": {"name": "sqs", "options": given},
            "staging": str(folder / "staging")}  # fmt: skip


def numbers(folder: Path) -> list[int]:
    return sorted(record["n"] for records in delivered(folder / "out").values() for record in records)


def bodies(sqs: Sqs, queue: str) -> list[Any]:
    return [json.loads(each["Body"]) for each in sqs.messages(queue)]


def test_records_go_through_a_queue_and_are_there_once(tmp_path: Path, sqs: Sqs) -> None:
    """All that a message has beside its body can be kept; what is delivered is deleted, and nothing is left in the books."""
    queue = sqs.queue()
    report = exporters_beam.run(to_queue(tmp_path, sqs, queue, ORDERS, attributes={"place": "town"}))
    assert (report.written, report.targets[0]["name"], sqs.left(queue)) == (25, f"sqs:{queue}", (25, 0))
    named = {name: f"_{name}" for name in ("id", "attributes", "timestamp")}
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue, **named))
    assert (report.written, report.warnings, numbers(tmp_path), sqs.left(queue)) == (25, (), list(range(25)), (0, 0))
    record = delivered(tmp_path / "out")["part-0000.jl.gz"][0]
    assert list(record) == ["n", "town", "_id", "_attributes", "_timestamp"]
    assert record["_attributes"]["place"] == "Århus" and record["_attributes"]["exporters-beam-id"].endswith(
        f"-0-{record['n']}"
    )
    assert [name for name in hidden(tmp_path / "out") if "manifest" not in name] == []


def test_an_empty_queue_is_an_export_without_records(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue))
    assert (report.written, report.files, report.warnings) == (0, (), ())
    sqs.send(queue, ORDERS[:2])
    assert exporters_beam.run(from_queue(tmp_path, sqs, queue)).written == 2


def test_files_of_an_export_before_are_not_replaced(tmp_path: Path, sqs: Sqs) -> None:
    """What they hold stands nowhere else. With a time in their names each export has its own."""
    queue = sqs.queue()
    sqs.send(queue, ORDERS[:2])
    exporters_beam.run(from_queue(tmp_path, sqs, queue))
    sqs.send(queue, ORDERS[2:4])
    with pytest.raises(ConfigError, match=r"writer\.options\.filebase: files of this name are there .*part-0000.*%H%M%S"):
        exporters_beam.run(from_queue(tmp_path, sqs, queue))
    assert sqs.left(queue) == (2, 0)
    exporters_beam.run(from_queue(tmp_path, sqs, queue, name="%Y-%m-%dT%H%M%S-"))
    assert numbers(tmp_path) == [0, 1, 2, 3]


def test_what_no_message_should_be_is_told_and_is_no_record(tmp_path: Path, sqs: Sqs) -> None:
    """An undecodable message ends the export, and stays; as a letter it has its fields, and a replay takes it repaired."""
    queue = sqs.queue()
    sqs.send(queue, [ORDERS[0], "no json", ORDERS[1]])
    config = from_queue(tmp_path, sqs, queue, id="_id")
    with pytest.raises(ExportError, match=rf"sqs:{queue}: record \d: deserializer: not valid JSON"):
        exporters_beam.run(config)
    assert sqs.left(queue) == (0, 3) and numbers(tmp_path) == []
    letters = tmp_path / "letters.jl"
    config["on_error"] = {"action": "dead_letter", "file": str(letters)}
    sqs.let_go(queue)
    report = exporters_beam.run(config)
    assert (report.written, report.dead_letters["records"]) == (2, 1)
    letter = json.loads(letters.read_text())
    told = json.loads(letter["text"])
    assert told["message"] == "no json" and told["_id"] and letter["step"] == "deserializer"
    assert sqs.left(queue)[0] == 0


KILLED = {
    "taking": "killed('exporters_beam.staging.taken', 'Taking.add', before=False, after=1)",
    "taken": "killed('exporters_beam.runners.support', 'begin', before=True)",
    "before-the-manifest": "killed('exporters_beam.engine.closing', 'write_whole', before=True)",
    "behind-the-manifest": "killed('exporters_beam.engine.closing', 'write_whole', before=False)",
    "settling": "killed('exporters_beam.systems.sqs_reader', 'SqsReader.settled', before=False)",
    "settled": "killed('exporters_beam.runners.launch', 'sweep', before=True)",
    "swept": "killed('exporters_beam.runners.launch', 'sweep', before=False)",
}
SAMPLE = ("taking-resumed", "before-the-manifest-resumed", "settling-again", "settled-resumed")


def cases() -> Iterator[Any]:
    for where in KILLED:
        for more in (["--resume"], []):
            case = f"{where}-{'resumed' if more else 'again'}"
            yield pytest.param(where, more, id=case, marks=() if case in SAMPLE else pytest.mark.exhaustive)


@pytest.mark.parametrize(("where", "more"), list(cases()))
def test_killed_anywhere_each_message_is_delivered_once(tmp_path: Path, sqs: Sqs, where: str, more: list[str]) -> None:
    """The messages that were taken are delivered by the next run; those that came since are for the one after."""
    queue = sqs.queue()
    sqs.send(queue, ORDERS)
    config = from_queue(tmp_path, sqs, queue)
    killed = run_in_process(tmp_path, config, before=f"{KILL}\n{KILLED[where]}")
    assert killed.returncode == -9, killed.stderr
    sqs.send(queue, [{"n": 100}])
    sqs.let_go(queue)  # Time goes by: they come again.
    if where in ("behind-the-manifest", "settling", "settled", "swept") and not more:
        with pytest.raises(ConfigError, match="filebase"):  # The run before is settled; this one has other messages.
            exporters_beam.run(config)
        assert (numbers(tmp_path), sqs.left(queue)) == (list(range(25)), (1, 0))
        return
    exporters_beam.run(resumed(config) if more else config)
    since = [100] if where == "taking" else []
    assert (numbers(tmp_path), sqs.left(queue)) == ([*range(25), *since], (1 - len(since), 0))


def test_what_could_not_be_deleted_is_passed_over_when_it_comes_again(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()
    sqs.send(queue, ORDERS[:12])

    def expired(action: str, request: Any) -> tuple[int, Any] | None:
        failed = [
            {"Id": each["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True} for each in request.get("Entries", ())
        ]
        return (200, {"Failed": failed}) if action == "DeleteMessageBatch" else None

    sqs.answer = expired
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue))
    assert report.written == 12
    assert any("12 messages were delivered and could not be acknowledged" in warning for warning in report.warnings)
    sqs.answer = lambda action, request: None
    sqs.let_go(queue)
    sqs.send(queue, [{"n": 100}])
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue, name="next-"))
    assert (report.written, numbers(tmp_path), sqs.left(queue)) == (1, [*range(12), 100], (0, 0))
    assert report.warnings == (
        f"sqs:{queue}: 12 messages came again that an export before has delivered; they are passed over",
    )
    assert not [name for name in hidden(tmp_path / "out") if "unsettled" in name]


def test_a_complete_export_that_is_resumed_tries_again_to_delete(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()
    sqs.send(queue, ORDERS[:3])
    sqs.answer = lambda action, request: (403, {"__type": "AccessDenied", "message": "no"}) if "Delete" in action else None
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue))
    assert "no permission for the queue" in report.warnings[0] and sqs.left(queue) == (0, 3)
    sqs.answer = lambda action, request: None
    exporters_beam.run(resumed(from_queue(tmp_path, sqs, queue)))
    assert (sqs.left(queue), numbers(tmp_path)) == ((0, 0), [0, 1, 2])


def test_messages_that_come_twice_are_delivered_once(tmp_path: Path, sqs: Sqs) -> None:
    """The queue gives them again while they are taken, since their time is over."""
    queue = sqs.queue()
    sqs.send(queue, ORDERS)
    seen = []

    def again(action: str, request: Any) -> None:
        if action == "ReceiveMessage":
            seen.append(1)
            if len(seen) == 2:
                sqs.let_go(queue)

    sqs.answer = again
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue))
    assert (report.written, numbers(tmp_path), sqs.left(queue)) == (25, list(range(25)), (0, 0))
    assert report.warnings == (f"sqs:{queue}: 10 messages came more than once, by their ids, and are delivered once",)


def test_messages_are_held_while_the_export_runs(tmp_path: Path, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not longer."""
    queue = sqs.queue()
    sqs.send(queue, ORDERS[:12])
    monkeypatch.setattr(SqsReader, "held_seconds", 0.1)
    extended = threading.Event()
    entries: set[str] = set()

    def note(action: str, request: Any) -> None:
        if action == "ChangeMessageVisibilityBatch":
            entries.update(each["ReceiptHandle"] for each in request["Entries"])
            if len(entries) == 12:
                extended.set()

    sqs.answer = note
    given = SqsReader(**{"queue": queue, **sqs.options, **FAST}, folder=str(tmp_path / "taken"))
    with given.held():
        assert [unit.name for unit in given.units()] == [f"sqs:{queue}"]
        assert extended.wait(20)
    assert "lease" not in [thread.name for thread in threading.enumerate()]


def test_looking_gives_everything_back(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()
    sqs.send(queue, ORDERS[:12])
    said: list[str] = []
    config = from_queue(tmp_path, sqs, queue)
    preview(make(load(config)), 3, said.append)
    assert said[0] == "reader: 3 records" and sqs.left(queue) == (12, 0)
    assert [told for told in checks(load(config)) if told[1]] == []
    assert sqs.left(queue) == (12, 0) and "DeleteMessageBatch" not in [action for action, _ in sqs.asked]


def test_a_fifo_queue_keeps_its_order_and_tells_what_it_holds_back(tmp_path: Path, sqs: Sqs) -> None:
    """Of a group no more than ten come before they are deleted; written down and deleted at once, all come in order."""
    queue = sqs.queue(".fifo")
    sqs.send(queue, ORDERS[:23])
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue, key="_group"))
    assert numbers(tmp_path) == list(range(10)) and "about 13 messages are left in the queue" in report.warnings[0]
    config = from_queue(tmp_path, sqs, queue, name="rest-", acknowledge="written")
    assert exporters_beam.run(config).written == 13
    assert [record["n"] for record in delivered(tmp_path / "out")["rest-0000.jl.gz"]] == list(range(10, 23))
    assert sqs.left(queue) == (0, 0)


def test_the_only_copy_of_messages_is_not_lost(tmp_path: Path, sqs: Sqs) -> None:
    """They are deleted when they are written down: an export that fails keeps them, `clean` leaves them, the next delivers."""
    queue = sqs.queue()
    sqs.send(queue, [*ORDERS, "no json"])
    config = from_queue(tmp_path, sqs, queue, acknowledge="written")
    with pytest.raises(ExportError, match="not valid JSON"):
        exporters_beam.run(config)
    assert sqs.left(queue) == (0, 0)
    from exporters_beam.runners.books import clean

    left = [text for _, _, texts in clean(make(load(config))) for text in texts]
    assert len(left) == 1 and "stand nowhere else" in left[0]
    report = exporters_beam.run({**config, "on_error": {"action": "skip"}})
    assert (report.written, numbers(tmp_path)) == (25, list(range(25)))


def test_another_export_by_the_same_reader_has_what_one_that_failed_has_taken(tmp_path: Path, sqs: Sqs) -> None:
    """With names of another day, say, or a config that was repaired: also where messages stand nowhere else any more."""
    queue = sqs.queue()
    sqs.send(queue, [*ORDERS, "no json"])
    with pytest.raises(ExportError, match="not valid JSON"):
        exporters_beam.run(from_queue(tmp_path, sqs, queue, name="monday-", acknowledge="written"))
    tuesday = {**from_queue(tmp_path, sqs, queue, name="tuesday-", acknowledge="written"), "on_error": {"action": "skip"}}
    assert exporters_beam.run(tuesday).written == 25
    assert numbers(tmp_path) == list(range(25)) and [name for name in hidden(tmp_path / "out") if "taken" in name] == []


@pytest.mark.exhaustive
def test_workers_share_what_was_taken(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()
    sqs.send(queue, ORDERS)
    small = "import exporters_beam.staging.taken as taken; taken.MOST = 4"
    done = run_in_process(tmp_path, from_queue(tmp_path, sqs, queue), "--workers", "2", before=small)
    assert done.returncode == 0, done.stderr
    assert (numbers(tmp_path), sqs.left(queue)) == (list(range(25)), (0, 0))
    [manifest] = [json.loads((tmp_path / "out" / name).read_text()) for name in hidden(tmp_path / "out") if "manifest" in name]
    assert manifest["counts"]["read"] == 25


def test_more_than_is_to_be_taken_is_left_and_told(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()
    sqs.send(queue, ORDERS)
    report = exporters_beam.run(from_queue(tmp_path, sqs, queue, max_messages=12))
    assert (report.written, sum(sqs.left(queue))) == (12, 13)
    assert report.warnings == (f"sqs:{queue}: max_messages: 12 messages are taken; others may be left in the queue",)


def test_a_service_that_does_not_answer_for_a_while(tmp_path: Path, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors in the middle of receiving, deleting and sending: nothing is lost, and nothing comes twice."""
    monkeypatch.setattr(queues, "FIRST_WAIT", 0.01)
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)
    queue, asked = sqs.queue(), []

    def busy(action: str, request: Any) -> tuple[int, Any] | None:
        asked.append(action)
        odd = asked.count(action) % 2 and action not in ("GetQueueUrl", "GetQueueAttributes")
        return (503, {"__type": "ServiceUnavailable", "message": "busy"}) if odd else None

    sqs.answer = busy
    assert exporters_beam.run(to_queue(tmp_path, sqs, queue, ORDERS)).written == 25
    assert exporters_beam.run(from_queue(tmp_path, sqs, queue)).written == 25
    assert (numbers(tmp_path), sqs.left(queue)) == (list(range(25)), (0, 0))


def test_what_is_wrong_is_one_sentence_without_secrets(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue()

    def said(options: dict[str, Any]) -> list[str]:
        config = from_queue(tmp_path, sqs, queue, **options)
        config["writer"] = {"name": "sqs", "options": {"queue": queue, **sqs.options, **options}}
        config["staging"] = str(tmp_path / "staging")
        found = [wrong for _, wrong in checks(load({**config, "reader": {**config["reader"]}}))]
        with pytest.raises(ExportError) as raised:
            exporters_beam.run(from_queue(tmp_path, sqs, queue, **{**options, "retry_seconds": 0}))
        assert SECRET not in str(raised.value) + "".join(found)
        return [*found, str(raised.value)]

    for text in said({"queue": "missing"}):
        assert text.startswith("option queue: there is no queue 'missing' (the server said ")
    for text in said({"host": "http://127.0.0.1:9"}):
        assert text.startswith("option host: the server cannot be reached (")
    sqs.answer = lambda action, request: (403, {"__type": "InvalidClientTokenId", "message": "unknown"})
    for text in said({}):
        assert text.startswith(
            "option aws_access_key_id: the server does not know this key (the server said InvalidClientTokenId"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue": ""}, "queue: give the name or the URL of a queue"),
        ({"aws_access_key_id": None}, "aws_access_key_id: it is missing"),
        ({"visibility_seconds": 50000}, "visibility_seconds: it is 43200"),
        ({"id": "x", "key": "x"}, "key: another option names the field x, too"),
        ({"host": "localhost:9324"}, "host: localhost:9324 is not a URL; write https://"),
    ],
)
def test_options_that_cannot_be_right(tmp_path: Path, sqs: Sqs, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(from_queue(tmp_path, sqs, "orders", **options))


def test_a_limit_would_lose_messages(tmp_path: Path, sqs: Sqs) -> None:
    config = from_queue(tmp_path, sqs, "orders")
    config["writer"]["options"]["items_limit"] = 5
    with pytest.raises(ConfigError, match=r"items_limit: what lies behind the limit .* give sqs max_messages instead"):
        make(load(config))


def test_nobody_waits_for_a_pipeline_of_ones_own(tmp_path: Path, sqs: Sqs) -> None:
    import apache_beam as beam

    with pytest.raises(ConfigError, match="run it with `exporters-beam run`"):
        exporters_beam.build(from_queue(tmp_path, sqs, "orders"), beam.Pipeline())


# Writing


def test_messages_of_a_fifo_queue_are_there_once_by_their_group(tmp_path: Path, sqs: Sqs) -> None:
    queue = sqs.queue(".fifo")
    config = to_queue(tmp_path, sqs, queue, [{"n": n, "who": n % 2} for n in range(12)], key="who", items_per_buffer_write=5)
    exporters_beam.run(config)
    exporters_beam.run(config)  # within five minutes
    found = sqs.messages(queue)
    for who in (0, 1):
        group = [json.loads(each["Body"])["n"] for each in found if each["Attributes"]["MessageGroupId"] == str(who)]
        assert group == list(range(who, 12, 2))


def test_a_killed_delivery_that_is_resumed_sends_no_more_than_a_batch_again(tmp_path: Path, sqs: Sqs) -> None:
    """Killed when a batch was sent and not noted: it is there twice, with the same id in its attribute."""
    queue = sqs.queue()
    config = to_queue(tmp_path, sqs, queue, ORDERS, items_per_buffer_write=10)
    kill = "killed('exporters_beam.staging.segments', 'Staging.note_sent', before=True, after=1)"
    killed = run_in_process(tmp_path, config, before=f"{KILL}\n{kill}")
    assert killed.returncode == -9, killed.stderr
    exporters_beam.run(resumed(config))
    found = [(json.loads(each["Body"])["n"], each["MessageAttributes"]["exporters-beam-id"]["StringValue"])
             for each in sqs.messages(queue)]  # fmt: skip
    assert sorted(n for n, _ in set(found)) == list(range(25)) and len(found) == 35
    assert sorted(n for n, _ in found if found.count((n, _)) == 2) == sorted([*range(10, 20)] * 2)


def test_refused_records_become_letters_and_the_others_are_there(tmp_path: Path, sqs: Sqs) -> None:
    """By this side what cannot be a message, by the queue with its answer what it does not take."""
    queue = sqs.queue(MaximumMessageSize="2048")
    records = [*ORDERS[:3], {"n": 3, "text": "x" * 3000}, {"n": 4, "text": "a\uffff"}, {"n": 5, "text": "refuse me"}, {"n": 6}]

    def refuse(action: str, request: Any) -> tuple[int, Any] | None:
        if action != "SendMessageBatch" or not any("refuse me" in each["MessageBody"] for each in request["Entries"]):
            return None
        bad = [each["Id"] for each in request["Entries"] if "refuse me" in each["MessageBody"]]
        sent = [each for each in request["Entries"] if each["Id"] not in bad]
        sqs.client.send_message_batch(QueueUrl=request["QueueUrl"], Entries=sent)
        failed = [{"Id": each, "Code": "InvalidMessageContents", "Message": "not so", "SenderFault": True} for each in bad]
        return 200, {"Successful": [{"Id": each["Id"], "MessageId": "m", "MD5OfMessageBody": "d"} for each in sent],
                     "Failed": failed}  # fmt: skip

    sqs.answer = refuse
    config = to_queue(tmp_path, sqs, queue, records)
    (tmp_path / "in.jl").write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    with pytest.raises(ExportError, match=r"in\.jl: record 4: writer: it has 3,\d+ bytes .* takes messages of 2,048"):
        exporters_beam.run(config)
    letters = tmp_path / "letters.jl"
    report = exporters_beam.run({**config, "on_error": {"action": "dead_letter", "file": str(letters)}})
    sqs.answer = lambda action, request: None
    assert report.written == 4 and sorted(each["n"] for each in bodies(sqs, queue)) == [0, 1, 2, 6]
    found = {letter["number"]: letter["message"] for letter in map(json.loads, letters.read_text().splitlines())}
    assert found[5] == "it holds the character U+FFFF, which messages of SQS cannot have"
    assert found[6] == "the queue said InvalidMessageContents: not so"


def test_only_what_the_queue_could_not_take_is_sent_again(tmp_path: Path, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)
    queue, once = sqs.queue(), []

    def throttle(action: str, request: Any) -> tuple[int, Any] | None:
        if action != "SendMessageBatch" or once:
            return None
        once.append(1)
        *first, last = request["Entries"]
        sqs.client.send_message_batch(QueueUrl=request["QueueUrl"], Entries=first)
        return 200, {"Successful": [{"Id": each["Id"], "MessageId": "m", "MD5OfMessageBody": "d"} for each in first],
                     "Failed": [{"Id": last["Id"], "Code": "InternalError", "SenderFault": False}]}  # fmt: skip

    sqs.answer = throttle
    exporters_beam.run(to_queue(tmp_path, sqs, queue, ORDERS))
    sqs.answer = lambda action, request: None
    assert sorted(each["n"] for each in bodies(sqs, queue)) == list(range(25))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "n"}, "key: only FIFO queues have groups"),
        ({"queue": "orders.fifo", "concurrency": 2}, "concurrency: messages go to a FIFO queue in order"),
        ({"attributes": {"aws.x": "n"}}, "attributes: 'aws.x' is not a name"),
        ({"attributes": {f"a{n}": "n" for n in range(10)}}, "attributes: a message has 10 at most"),
    ],
)
def test_options_of_the_writer_that_cannot_be_right(tmp_path: Path, sqs: Sqs, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(to_queue(tmp_path, sqs, "orders", ORDERS[:1], **options))
