"""Jobs elsewhere: asked how they are, cancelled and drained, with local services that talk as Dataflow and Flink do."""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main
from exporters_beam.errors import ConfigError, ExportError, SourceError
from exporters_beam.handover import handed_over
from exporters_beam.runners import jobs

FLINK = "0123456789abcdef0123456789abcdef"
DATAFLOW = "2026-01-01_00_00_00-1"
PATH = f"/v1b3/projects/p/locations/r/jobs/{DATAFLOW}"


class Service:
    """Answers by (method, path): a (status, body), or several, the last of which stays. Keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.texts: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str, Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                service.asked.append((self.command, self.path, body))
                found = service.answers.get((self.command, self.path.partition("?")[0]), [(404, {})])
                status, told = found.pop(0) if len(found) > 1 else found[0]
                data = service.texts.get((self.command, self.path), json.dumps(told)).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"

    def says(self, method: str, path: str, *answers: Any) -> None:
        self.answers[method, path] = [answer if isinstance(answer, tuple) else (200, answer) for answer in answers]


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


def place(service: Service, runner: str) -> list[str]:
    return [f"{service.url}{PATH}", "--no_auth"] if runner == "dataflow" else [f"{service.url}/#/job/{FLINK}/overview"]


def test_a_job_is_named_by_its_address_or_by_its_id_and_where_it_is():
    for job in (
        jobs.Job("flink", FLINK, endpoint="http://host:8081"),
        jobs.Job("dataflow", DATAFLOW, "p", "r", "http://localhost:1"),
        jobs.Job("dataflow", DATAFLOW, "p", "r"),
    ):
        assert jobs.job_at(job.place) == job
    assert jobs.job_at(f"http://host:8081/#/job/running/{FLINK}/overview").id == FLINK
    assert jobs.job_at(FLINK, flink="host:8081") == jobs.Job("flink", FLINK, endpoint="http://host:8081")
    assert jobs.job_at(DATAFLOW, project="p", region="r") == jobs.Job("dataflow", DATAFLOW, "p", "r")
    for wrong in ("http://elsewhere/", DATAFLOW, "https://console.cloud.google.com/dataflow/jobs/r/1"):
        with pytest.raises(ConfigError, match=r"^JOB: "):
            jobs.job_at(wrong)
    with pytest.raises(ConfigError, match="a cluster inside this process"):
        jobs.job_at(FLINK, flink="[local]")


@pytest.mark.parametrize(("state", "over", "good"), [
    ("RUNNING", False, False), ("DRAINING", False, False), ("DONE", True, True), ("DRAINED", True, True),
    ("FAILED", True, False), ("CANCELLED", True, False),
])  # fmt: skip
def test_the_states_of_dataflow(service, state, over, good):
    service.says("GET", PATH, {"name": "products-1", "currentState": f"JOB_STATE_{state}", "currentStateTime": "now"})
    service.says("GET", f"{PATH}/messages",
                 {"jobMessages": [{"time": "t", "messageImportance": "JOB_MESSAGE_ERROR", "messageText": "x\nlast"}],
                  "nextPageToken": "2"}, {})  # fmt: skip
    found = jobs.status(jobs.Job("dataflow", DATAFLOW, "p", "r", service.url, True))
    assert (found.state, found.over, found.good) == (state.lower(), over, good)
    assert str(found) == f"products-1: {state.lower()} since now\n  t error: last"
    assert any("pageToken=2" in path for _, path, _ in service.asked)


@pytest.mark.parametrize(("state", "over", "good"), [
    ("RUNNING", False, False), ("FINISHED", True, True), ("FAILED", True, False), ("CANCELED", True, False),
])  # fmt: skip
def test_the_states_of_flink(service, state, over, good):
    trace = "org.apache.flink.JobException: outer\n\tat a.b(C.java:1)\nCaused by: java.io.IOException: no space\n\tat d"
    service.says("GET", f"/jobs/{FLINK}", {"jid": FLINK, "name": "products", "state": state})
    service.says("GET", f"/jobs/{FLINK}/exceptions", {"exceptionHistory": {"entries": [{"stacktrace": trace}]}})
    found = jobs.status(jobs.Job("flink", FLINK, endpoint=service.url))
    assert (found.name, found.state, found.over, found.good) == ("products", state.lower(), over, good)
    assert found.messages == (("java.io.IOException: no space",) if state == "FAILED" else ())


def test_an_error_of_ours_is_told_in_its_own_words(service):
    try:
        raise handed_over(SourceError("in.jl: it is cut off"))
    except SourceError:
        trace = f"Error received from SDK harness for instruction 3: {traceback.format_exc()}"
    service.says("GET", PATH, {"name": "products-1", "currentState": "JOB_STATE_FAILED"})
    service.says("GET", f"{PATH}/messages",
                 {"jobMessages": [{"time": "t", "messageImportance": "JOB_MESSAGE_ERROR", "messageText": trace}]})  # fmt: skip
    found = jobs.status(jobs.Job("dataflow", DATAFLOW, "p", "r", service.url, True))
    assert found.messages == ("t error: in.jl: it is cut off",)
    trace = f"org.apache.flink.JobException: outer\n\tat a.b(C.java:1)\nCaused by: java.lang.RuntimeException: {trace}\n\tat d"
    service.says("GET", f"/jobs/{FLINK}", {"jid": FLINK, "name": "products", "state": "FAILED"})
    service.says("GET", f"/jobs/{FLINK}/exceptions", {"exceptionHistory": {"entries": [{"stacktrace": trace}]}})
    assert jobs.status(jobs.Job("flink", FLINK, endpoint=service.url)).messages == ("in.jl: it is cut off",)


@pytest.mark.parametrize("reason", jobs.PASSING)
def test_drain_asks_again_while_tasks_of_a_job_begin_or_end(service, reason):
    trace = f"org.apache.flink.runtime.checkpoint.CheckpointException: outer. Failure reason: {reason}."
    refused = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": trace}}}
    service.says("POST", f"/jobs/{FLINK}/stop", (202, {"request-id": "1"}))
    service.says("GET", f"/jobs/{FLINK}/savepoints/1", refused, {"status": {"id": "COMPLETED"}})
    service.says("GET", f"/jobs/{FLINK}", {"name": "products", "state": "RUNNING"}, {"name": "products", "state": "FINISHED"})
    assert main(["drain", *place(service, "flink")]) == 0
    assert [method for method, _, _ in service.asked] == ["POST", "GET", "GET", "POST", "GET"]
    service.says("GET", f"/jobs/{FLINK}/savepoints/1", refused)
    assert main(["drain", *place(service, "flink")]) == 0  # It has ended by itself in the meantime.
    assert [method for method, _, _ in service.asked][5:] == ["POST", "GET", "GET"]


def test_cancel_and_drain_ask_as_each_service_wants_to_be_asked(service, capsys):
    service.says("PUT", PATH, {})
    service.says("PATCH", f"/jobs/{FLINK}", (202, {}))
    service.says("POST", f"/jobs/{FLINK}/stop", (202, {"request-id": "1"}))
    under_way, done = ({"status": {"id": state}} for state in ("IN_PROGRESS", "COMPLETED"))
    service.says("GET", f"/jobs/{FLINK}/savepoints/1", under_way, done)
    for runner in ("dataflow", "flink"):
        assert main(["cancel", *place(service, runner)]) == main(["drain", *place(service, runner)]) == 0
    assert main(["drain", *place(service, "flink"), "--savepoint_path=file:///savepoints"]) == 0
    assert [asked for asked in service.asked if asked[0] != "GET"] == [
        ("PUT", PATH, {"requestedState": "JOB_STATE_CANCELLED"}),
        ("PUT", PATH, {"requestedState": "JOB_STATE_DRAINING"}),
        ("PATCH", f"/jobs/{FLINK}?mode=cancel", None),
        ("POST", f"/jobs/{FLINK}/stop", {"drain": True}),
        ("POST", f"/jobs/{FLINK}/stop", {"drain": True, "targetDirectory": "file:///savepoints"}),
    ]
    trace = "java.util.concurrent.CompletionException: x\nCaused by: java.lang.IllegalStateException: no checkpoints here"
    refused = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": trace}}}
    service.says("GET", f"/jobs/{FLINK}/savepoints/1", refused)
    assert main(["drain", *place(service, "flink")]) == 1
    assert "Flink does not drain the job: java.lang.IllegalStateException: no checkpoints here" in capsys.readouterr().err
    assert main(["drain", *place(service, "dataflow"), "--savepoint_path=x"]) == 2
    assert "Dataflow has no savepoints" in capsys.readouterr().err


def test_watch_tells_each_change_once_and_survives_an_absence(service, capsys):
    service.says("GET", f"/jobs/{FLINK}", {"name": "products", "state": "RUNNING"}, (503, {"errors": ["busy"]}),
                 {"name": "products", "state": "RUNNING"}, {"name": "products", "state": "FINISHED"})  # fmt: skip
    assert main(["status", *place(service, "flink"), "--watch", "--every=1"]) == 0
    assert capsys.readouterr().out == "products: running\nproducts: finished\n"


def test_the_watcher_tells_the_notifications_how_a_job_ended(service, tmp_path: Path, capsys):
    config = tmp_path / "export.yaml"
    config.write_text(
        "reader: random\n"
        f"writer: {{name: fs, options: {{filebase: {tmp_path}/out/part-}}}}\n"
        "exporter_options:\n"
        f"  notifications: [{{name: webhook, options: {{endpoints: ['{service.url}/hook']}}}}]\n"
    )
    service.says("POST", "/hook", {})
    for state, event in (("FAILED", "FAILED"), ("FINISHED", "COMPLETED")):
        service.says("GET", f"/jobs/{FLINK}", {"name": "products", "state": state})
        service.says("GET", f"/jobs/{FLINK}/exceptions", {"root-exception": "java.io.IOException: no space"})
        main(["status", *place(service, "flink"), "--watch", "--config", str(config)])
        method, path, body = service.asked[-1]
        assert (method, path) == ("POST", "/hook") and event in json.dumps(body)


def test_what_a_service_says_is_told(service):
    service.says("GET", PATH, (404, {"error": {"message": "Information about job could not be found."}}))
    job = jobs.Job("dataflow", DATAFLOW, "p", "r", service.url, True)
    with pytest.raises(ExportError, match=r"there is no job '2026-01-01_00_00_00-1' at http://localhost:\d+: Information"):
        jobs.status(job)
    service.says("PUT", PATH, (403, {"error": {"message": "you may not"}}))
    with pytest.raises(ExportError, match=r"Dataflow at http://localhost:\d+ refused: 403 you may not"):
        jobs.cancel(job)
    service.says("PATCH", f"/jobs/{FLINK}", (500, {"errors": ["Internal.\n\tat x\nCaused by: it is over already"]}))
    with pytest.raises(ExportError, match="refused: 500 it is over already"):
        jobs.cancel(jobs.Job("flink", FLINK, endpoint=service.url))


def test_nobody_there(capsys):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    assert main(["status", FLINK, f"--flink_master=localhost:{port}"]) == 1
    told = capsys.readouterr().err
    assert told == f"error: Flink at http://localhost:{port} does not answer: [Errno 111] Connection refused; is it there?\n"


def test_the_job_that_was_just_started_on_flink_is_found_by_its_name(service):
    here = [{"jid": "a", "name": "products", "state": "FINISHED"}, {"jid": "c", "name": "other", "state": "RUNNING"}]
    new = {"jid": "b", "name": "products", "state": "RUNNING"}
    service.says("GET", "/jobs/overview", {"jobs": here}, {"jobs": here}, {"jobs": [*here, new]})
    before = jobs.on_flink(service.url, "products")
    assert before == {"a": "FINISHED"}
    assert jobs.started_on_flink(service.url, "products", before).id == "b"


def test_a_job_that_never_comes_to_flink_says_why(service):
    service.says("GET", "/jobs/overview", {"jobs": []})
    with pytest.raises(ExportError, match="no jar"):
        jobs.started_on_flink(service.url, "products", (), ended=lambda: "no jar")


def test_a_service_that_is_busy_is_asked_again_but_told_to_do_something_once(service):
    service.says("GET", f"/jobs/{FLINK}", (503, {"errors": ["busy"]}), {"name": "products", "state": "RUNNING"})
    job = jobs.Job("flink", FLINK, endpoint=service.url)
    assert jobs.status(job).state == "running"
    service.says("PATCH", f"/jobs/{FLINK}", (503, {"errors": ["busy"]}))
    with pytest.raises(ExportError, match="refused: 503 busy"):
        jobs.cancel(job)
    assert [method for method, *_ in service.asked] == ["GET", "GET", "PATCH"]


def test_what_no_service_of_the_kind_says_is_told(service):
    service.says("GET", f"/jobs/{FLINK}", ["a", "list"])
    job = jobs.Job("flink", FLINK, endpoint=service.url)
    assert jobs.status(job).state == "unknown"
    service.texts["GET", f"/jobs/{FLINK}"] = "<html>a proxy</html>"
    with pytest.raises(ExportError, match=r"http://localhost:\d+ does not talk as Flink does: b'<html>a proxy</html>'"):
        jobs.status(job)


def test_a_request_that_changes_something_is_not_redirected(service):
    """It would become a GET, which changes nothing and looks like success."""
    service.says("PATCH", f"/jobs/{FLINK}", (302, {}))
    with pytest.raises(ExportError, match="refused: 302"):
        jobs.cancel(jobs.Job("flink", FLINK, endpoint=service.url))


def test_proxies_are_those_of_the_scheme_and_others_are_no_trouble(service, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://nowhere.example:1080")
    service.says("GET", f"/jobs/{FLINK}", {"name": "direct", "state": "RUNNING"})
    assert jobs.status(jobs.Job("flink", FLINK, endpoint=service.url)).name == "direct"
    service.says("GET", f"http://flink.example:8081/jobs/{FLINK}", {"name": "by proxy", "state": "RUNNING"})
    far = jobs.Job("flink", FLINK, endpoint="http://flink.example:8081")
    for proxy in (service.url, service.url.removeprefix("http://")):
        monkeypatch.setenv("http_proxy", proxy)
        assert jobs.status(far).name == "by proxy"
    monkeypatch.setenv("no_proxy", "localhost")
    assert jobs.status(jobs.Job("flink", FLINK, endpoint=service.url)).name == "direct"
