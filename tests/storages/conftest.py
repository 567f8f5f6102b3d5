"""The fixtures of servers for all tests of storages, and the table of faults at the end."""

from __future__ import annotations

from typing import Any

import pytest
from s3_servers import *  # noqa: F403

from azure_files import azure_file, azure_files, azure_files_service  # noqa: F401
from hdfs_cluster import hdfs, hdfs_cluster  # noqa: F401
from places import *  # noqa: F403
from toxics import *  # noqa: F403
from toxics import TABLE, shorten


@pytest.fixture(autouse=True)
def pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of these tests would be pauses between tries. HDFS needs them: it goes on for a moment with a request
    whose connection is gone, and what comes at once meets the file of the one before."""
    if request.node.get_closest_marker("servers") and "hdfs" not in request.node.name:
        shorten(monkeypatch)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the tests of faults have counted."""
    if not TABLE:
        return
    terminalreporter.section("faults of networks and servers")
    wide = max(len(storage) for storage, _ in TABLE), max(len(fault) for _, fault in TABLE)
    terminalreporter.write_line(
        f"{'storage':{wide[0]}} | {'fault':{wide[1]}} | tries | went through | failed, resumed | lost | duplicated"
    )
    for (storage, fault), row in sorted(TABLE.items()):
        terminalreporter.write_line(
            f"{storage:{wide[0]}} | {fault:{wide[1]}} | {row.tries:5} | {row.passed:12} | {row.resumed:15} | "
            f"{row.lost:4} | {row.duplicated:10}"
        )
