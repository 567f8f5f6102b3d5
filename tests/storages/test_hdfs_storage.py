"""HDFS: what is peculiar to it."""

from __future__ import annotations

import gzip
import hashlib
import io

import pytest

import exporters_beam
from exporters_beam.storages.base import Content, NotThere, StorageError, of_url

from hdfs_cluster import PAGE, asked
from helpers import jsonl
from places import Faulty, Place

pytestmark = pytest.mark.servers


def test_pages_and_the_order_of_whole_paths(hdfs: Place):
    """The server has names beyond ASCII first, and `a` before `a.b`."""
    names = ["a/x", "a.b", "a-b/x", "A", "é", "é/é" * 3, "z/é/x", "b", "aé", "aé/x/y", "a/é", "zz"]
    names = [f"in/{name}" for name in names if name not in ("é", "aé")] + [f"in/many/{n}" for n in range(3 * PAGE + 1)]
    for name in names:
        hdfs.put(name, b"1")
    storage = hdfs.storage()
    assert [found.name for found in storage.names("in")] == sorted(names)
    assert [found.name for found in storage.names("/user/shop/in/many")] == sorted(
        f"/user/shop/{name}" for name in names if "/many/" in name
    )
    assert [found.name for found in storage.names("in/a.b")] == ["in/a.b"]
    assert list(storage.names("nowhere")) == []


def test_a_server_that_has_no_pages_gives_all_at_once(hdfs: Place, monkeypatch):
    from hdfs.client import _Request

    unknown = _Request.to_method
    monkeypatch.setattr(_Request, "to_method", lambda self, operation: unknown(self, "NO_SUCH_OPERATION"))
    for n in range(PAGE + 2):
        hdfs.put(f"in/{n}", b"1")
    assert [found.name for found in hdfs.storage().names("in")] == [f"in/{n}" for n in range(PAGE + 2)]


@pytest.mark.parametrize("name", ["a/b.gz", "é/50% #1?&+=;,'~.gz", "a./b.", " a/ b", "/user/shop/a"])
def test_names_come_back_as_they_were_given(hdfs: Place, name):
    hdfs.put(name, b"1")
    storage = hdfs.storage()
    assert [found.name for found in storage.names(name.partition("/")[0] or "/user/shop")] == [name]
    assert hdfs.get(name) == b"1"
    again, found = of_url(storage.url(name).replace("hdfs://", "hdfs://shop@"))
    assert found == name and again.stat(found).size == 1
    storage.delete(name)
    with pytest.raises(NotThere):
        storage.stat(name)


def test_what_arrived_is_read_back_before_it_gets_its_name(hdfs: Place, monkeypatch):
    """Bytes that change on their way are noticed, and the file that was there stays."""
    hdfs.put("out/a", b"the older one")
    storage = hdfs.storage()
    write = storage.client.write

    def corrupting(path, data, **more):
        return write(path, (piece.replace(b"x", b"y") for piece in data), **more)

    monkeypatch.setattr(storage.client, "write", corrupting)
    with pytest.raises(StorageError, match=r"has the MD5 .* there; what was sent has"):
        storage.put("out/a", io.BytesIO(b"xxx"), Content(3, hashlib.md5(b"xxx").hexdigest(), token="t"))
    assert hdfs.get("out/a") == b"the older one"
    assert [found.name for found in storage.names("out")] == ["out/a"]


def test_a_file_is_replaced_at_once_and_what_was_left_half_sent_is_taken_over(hdfs: Place):
    asked(hdfs.made, "PUT", "/user/shop/out", "op=MKDIRS")
    asked(hdfs.made, "PUT", "/user/shop/out", "op=SETOWNER&owner=shop")
    storage = hdfs.storage()
    storage.client.write("out/.a.t.part", iter([b"half"]))
    for data in (b"first", b"second"):
        storage.put("out/a", io.BytesIO(data), Content(len(data), hashlib.md5(data).hexdigest(), token="t"))
        assert hdfs.get("out/a") == data
    assert [found.name for found in storage.names("out")] == ["out/a"]


def test_a_folder_is_no_file(hdfs: Place):
    hdfs.put("in/a", b"1")
    with pytest.raises(NotThere, match="is a folder"):
        hdfs.storage().stat("in")
    with pytest.raises(StorageError, match="in"):
        hdfs.put("in", b"1")
    assert hdfs.get("in/a") == b"1"


def test_of_several_namenodes_the_one_that_answers(hdfs: Place):
    """Nothing listens at the first address."""
    front = Faulty(hdfs.made)
    try:
        options = {"host": "127.0.0.2, 127.0.0.1", "port": front.port, "hdfs_user": "shop"}
        storage = Place("hdfs", options).storage()
        storage.put("out/a", io.BytesIO(b"1"), Content(1, hashlib.md5(b"1").hexdigest(), token="t"))
        assert [found.name for found in storage.names("out")] == ["out/a"]
        assert storage.url("a") == f"hdfs://127.0.0.2,127.0.0.1:{front.port}/~/a"
    finally:
        front.close()


def test_the_user_of_the_environment(hdfs: Place, monkeypatch):
    monkeypatch.setenv("HADOOP_USER_NAME", "shop")
    hdfs.put("in/a.jl.gz", gzip.compress(jsonl([{"_key": n} for n in range(10)])))
    options = {key: value for key, value in hdfs.options.items() if key != "hdfs_user"}
    url = f"hdfs://127.0.0.1:{hdfs.made}/user/shop"
    report = exporters_beam.run({
        "reader": {"name": f"{url}/in", "options": {}},
        "writer": {"name": "hdfs", "options": {**options, "filebase": "out/p-", "check_consistency": True}},
    })  # fmt: skip
    assert report.written == 10 and report.files[0]["name"] == f"hdfs://127.0.0.1:{hdfs.made}/~/out/p-0000.jl.gz"
