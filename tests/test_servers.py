"""What tests need besides: servers are installed once, also where two of them begin at the same time."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

import servers


def test_one_process_at_a_time_installs_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "CACHE", tmp_path / "cache")
    with servers.alone("flink"), open(tmp_path / "cache" / "flink.lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / "cache" / "flink.lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
