"""A small HDFS cluster: Hadoop's own MiniDFSCluster with one datanode, by Java, from jars that .ci/servers gets."""

from __future__ import annotations

import getpass
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from places import CACHE, Place, answers, free_port, program, serving

JARS = CACHE.parent / "hdfs" / "lib"
USER = "shop"

PAGE = 5
"""Entries of one page of a listing: few, so that several pages are asked for."""


@pytest.fixture(scope="session")
def hdfs_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the namenode's web interface. The user of this process may do everything there."""
    pytest.importorskip("hdfs", reason="get it with: pip install 'exporters-beam[hdfs]'")
    java = program("java", "apt-get install default-jre-headless")
    if not list(JARS.glob("hadoop-minicluster-*.jar")):
        pytest.skip("Hadoop's mini cluster is not here; get it with: .ci/servers")
    folder = tmp_path_factory.mktemp("hdfs")
    for attempt in range(5):
        try:
            with started(java, folder / str(attempt)) as port:
                yield port
            return
        except AssertionError as error:  # Another process may have taken a port that was free.
            if attempt == 4 or "Address already in use" not in str(error):
                raise


@contextmanager
def started(java: str, folder: Path) -> Iterator[int]:
    """A cluster that runs, by its port. Raises AssertionError with what it said where it does not begin."""
    folder.mkdir()
    port = free_port()
    properties = {"hadoop.tmp.dir": folder / "tmp", "test.build.data": folder / "data", "dfs.ls.limit": PAGE,
                  "hdfs.minidfs.basedir": folder / "data"}  # fmt: skip
    command = [java, "-Xmx512m", f"-Dtest.build.data={folder}/data", "-cp", f"{JARS}/*",
               "org.apache.hadoop.test.MiniDFSClusterManager", "-format", "-datanodes", "1", "-httpport", str(port),
               "-nnport", str(free_port()), "-writeDetails", str(folder / "details.json"),
               *(f"-D{name}={value}" for name, value in properties.items())]  # fmt: skip
    ready = answers(f"http://127.0.0.1:{port}/webhdfs/v1/?op=LISTSTATUS")
    with serving(command, lambda: (folder / "details.json").exists() and ready(), folder / "log"):
        yield port


def asked(port: int, method: str, path: str, query: str) -> Any:
    """An answer of WebHDFS to the user who may do everything: that of this process."""
    url = f"http://127.0.0.1:{port}/webhdfs/v1{path}?{query}&user.name={getpass.getuser()}"
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
        return json.loads(answer.read() or b"null")


def rpc_port(port: int) -> int:
    """The port of Hadoop's own protocol, which is not that of the web interface."""
    told = asked(port, "PUT", f"/user/{USER}/nowhere", "op=CREATE&noredirect=true")
    address = parse_qs(urlsplit(told["Location"]).query)["namenoderpcaddress"][0]
    return int(address.rpartition(":")[2])


def datanode_port(port: int) -> int:
    """The port of the datanode, which files come from and go to."""
    told = asked(port, "PUT", f"/user/{USER}/nowhere", "op=CREATE&noredirect=true")
    return urlsplit(told["Location"]).port or 0


@pytest.fixture
def hdfs(hdfs_cluster: int) -> Place:
    """A user who may write in a folder of its own, which is empty at the beginning of a test."""
    home = f"/user/{USER}"
    asked(hdfs_cluster, "DELETE", home, "op=DELETE&recursive=true")
    asked(hdfs_cluster, "PUT", home, "op=MKDIRS")
    asked(hdfs_cluster, "PUT", home, f"op=SETOWNER&owner={USER}")
    return Place("hdfs", {"host": "127.0.0.1", "port": hdfs_cluster, "hdfs_user": USER}, made=hdfs_cluster)
