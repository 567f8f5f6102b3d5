"""S3: what only S3 has."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

import exporters_beam
from exporters_beam import ConfigError
from exporters_beam.components.options import build
from exporters_beam.storages.base import StorageError
from exporters_beam.storages.dates import days
from exporters_beam.storages.s3 import S3Reader, S3Storage, S3Writer

from helpers import jsonl
from places import Place

servers = pytest.mark.servers

RECORDS = [{"_key": n} for n in range(50)]


def read(place: Place, tmp_path, **options) -> list[int]:
    section = {"name": "s3", "options": {**place.options, **options}}
    exporters_beam.run({
        "reader": section,
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/read-", "compression": "none"}},
    })  # fmt: skip
    path = tmp_path / "read-0000.jl"
    return [json.loads(line)["_key"] for line in path.read_text().splitlines()] if path.exists() else []


@servers
def test_prefixes_pointers_dates_and_patterns(s3: Place, tmp_path):
    today = date.today()
    for n in range(5):
        day = today - timedelta(days=n)
        s3.put(f"in/{day:%Y-%m-%d}/a.jl", jsonl(RECORDS[n : n + 1]))
        s3.put(f"in/{day:%Y-%m-%d}/b.txt", jsonl(RECORDS[10 + n : 11 + n]))
    s3.put("LAST", f"in/{today:%Y-%m-%d}/\r\n\r\nin/{today:%Y}\r\n".encode())
    assert read(s3, tmp_path, prefix="in/%Y-%m-%d/") == [0, 10]
    found = read(s3, tmp_path, prefix=["in/%Y-%m-%d/a", "in/%Y-%m-%d/"],
                 prefix_format_using_date=["3 days ago", "yesterday"])  # fmt: skip
    assert sorted(found) == [1, 2, 3, 11, 12, 13]
    assert read(s3, tmp_path, prefix="in/%Y-%m-%d/", prefix_format_using_date="yesterday", pattern=r"\.txt$") == [11]
    assert sorted(read(s3, tmp_path, prefix_pointer="LAST", pattern=r"a\.jl$")) == [0, 1, 2, 3, 4]


def test_days_of_a_range():
    now = datetime(2026, 3, 1, 13, 30)
    assert days("yesterday", now) == (date(2026, 2, 28),)
    assert days(["today", "2026-03-01"], now) == (date(2026, 3, 1),)
    assert len(days(["2016-01-01", "2016-01-03"], now)) == 3
    for wrong, why in ((["today"], "there are 1"), (["today", "yesterday"], "before"), ("soonish", "not a date")):
        with pytest.raises(ConfigError, match=why):
            days(wrong, now)


def test_options_that_do_not_go_together():
    for options, why in (
        ({"bucket": "b", "prefix": "a", "prefix_pointer": "p"}, "prefix_pointer: give either"),
        ({"bucket": "s3://"}, "bucket: it is empty"),
        ({"bucket": "b", "pattern": "("}, "pattern: "),
        ({"bucket": "b", "prefix_format_using_date": ["today"]}, "prefix_format_using_date: "),
    ):
        with pytest.raises(ConfigError, match=why):
            build(S3Reader, options)
    for component in (S3Reader, S3Writer):
        for given in ({"aws_access_key_id": "k"}, {"aws_secret_access_key": "s"}, {"aws_session_token": "t"}):
            filebase = {"filebase": "a"} if component is S3Writer else {}
            with pytest.raises(ConfigError, match="is missing; give aws_access_key_id and aws_secret_access_key"):
                build(component, {"bucket": "b", **filebase, **given})
    with pytest.raises(ConfigError, match="sse_kms_key_id"):
        build(S3Writer, {"bucket": "b", "filebase": "a", "sse_kms_key_id": "k"})
    assert build(S3Writer, {"bucket": "s3://b/", "filebase": "a"}).storage.url("x") == "s3://b/x"
    assert build(S3Writer, {"bucket": "b", "filebase": "a"}).key("/part") == "part"


@servers
def test_metadata_acl_encryption_and_the_pointer(moto: Place):
    more = {"server_side_encryption": "AES256", "storage_class": "STANDARD_IA", "save_pointer": "LAST"}
    config = {
        "reader": {"name": "random", "options": {"number_of_items": 7}},
        "writer": moto.writer("/out/%Y/p-", **more),
    }
    report = exporters_beam.run(config)
    (file,) = report.files
    year = datetime.now().year
    assert file["name"] == f"s3://{moto.options['bucket']}/out/{year}/p-0000.jl.gz"
    found = moto.made.head_object(Bucket=moto.options["bucket"], Key=f"out/{year}/p-0000.jl.gz")
    assert found["Metadata"] == {"total": "7", "md5": file["md5"]}
    assert (found["ServerSideEncryption"], found["StorageClass"]) == ("AES256", "STANDARD_IA")
    assert moto.get("LAST") == f"out/{year}/".encode()
    grants = moto.made.get_object_acl(Bucket=moto.options["bucket"], Key=f"out/{year}/p-0000.jl.gz")["Grants"]
    assert {grant["Permission"] for grant in grants} == {"FULL_CONTROL"}
    exporters_beam.run({**config, "writer": moto.writer("two/p-", save_metadata=False, server_side_encryption="aws:kms")})
    found = moto.made.head_object(Bucket=moto.options["bucket"], Key="two/p-0000.jl.gz")
    assert found["Metadata"] == {} and found["ServerSideEncryption"] == "aws:kms"


@servers
def test_no_pointer_after_a_failure(s3: Place):
    config = {
        "reader": {"name": "random", "options": {"number_of_items": 7}},
        "filter": {"name": "pythonexp", "options": {"python_expression": "item['no such key']"}},
        "writer": s3.writer("out/p-", save_pointer="LAST"),
    }
    with pytest.raises(exporters_beam.ExportError):
        exporters_beam.run(config)
    assert list(s3.storage().names("")) == []


@servers
@pytest.mark.parametrize("place", ["s3", "moto"], indirect=True)
def test_large_objects_go_in_parts_and_failed_ones_are_given_up(place: Place, monkeypatch):
    monkeypatch.setattr("exporters_beam.storages.s3.MAX_PARTS", 10)
    storage = S3Storage(**{**vars(place.storage()), "part_bytes": 5 << 20})
    data = bytes(range(256)) * (44 << 10)  # 11 MiB
    import hashlib
    import io

    from exporters_beam.storages.base import Content

    content = Content(len(data), hashlib.md5(data).hexdigest(), {"total": "3"})
    assert storage.put("big", io.BytesIO(data), content).size == len(data)
    assert place.get("big") == data

    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() >= 5 << 20:
                raise ConnectionResetError("cut")
            return super().read(size)

    with pytest.raises((StorageError, OSError)):
        storage.put("broken", Broken(data), content)
    bucket = place.options["bucket"]
    assert not place.made.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert [found.name for found in storage.names("")] == ["big"]


@servers
def test_many_names_come_page_by_page(s3: Place, monkeypatch):
    """More names than one page has; not more than a page of them is asked for before it is needed."""
    for n in range(1005):
        s3.made.put_object(Bucket=s3.options["bucket"], Key=f"in/{n:05d}", Body=b"")
    storage = s3.storage()
    pages = []
    storage.client.meta.events.register("before-call.s3.ListObjectsV2", lambda **_: pages.append(1))
    names = storage.names("in/")
    assert [next(names).name for _ in range(1000)][-1] == "in/00999" and len(pages) == 1
    assert len(list(names)) == 5 and len(pages) == 2


@servers
def test_keys_from_the_environment_and_from_secrets(s3: Place, tmp_path, monkeypatch):
    s3.put("in/a.jl.gz", gzip.compress(jsonl(RECORDS)))
    section = s3.source("in/")
    key, secret = (section["options"].pop(name) for name in ("aws_access_key_id", "aws_secret_access_key"))
    monkeypatch.setenv("EXPORTERS_S3READER_AWS_KEY", key)
    monkeypatch.setenv("EXPORTERS_S3READER_AWS_SECRET", secret)
    monkeypatch.setenv("THE_KEY", secret)
    writer = s3.writer("out/p-", aws_secret_access_key="${secret:env:THE_KEY}")
    writer["name"], section["name"] = "exporters.writers.s3_writer.S3Writer", "exporters.readers.s3_reader.S3Reader"
    never = {"prevent_bypass": True}
    report = exporters_beam.run({"reader": section, "writer": writer, "exporter_options": never})
    assert report.written == len(RECORDS)


def test_books_stand_in_the_state_folder_of_this_machine(tmp_path, monkeypatch):
    from exporters_beam.config.spec import load
    from exporters_beam.planning.place import place_of
    from exporters_beam.planning.plan import make

    config = {"reader": "random", "writer": {"name": "s3", "options": {"bucket": "b", "filebase": "a"}}}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert place_of(make(load(config))) == f"{tmp_path}/exporters-beam"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert place_of(make(load(config))) == "/home/me/.local/state/exporters-beam"
    assert place_of(make(load({**config, "staging": "here"}))) == "here"


def test_disable_retries_tries_once():
    from exporters_beam.config.spec import load

    config = {"reader": "s3://a", "writer": {"name": "s3", "options": {"bucket": "b", "filebase": "a"}}}
    assert load(config).writer.component.storage.attempts == 5
    spec = load({**config, "exporter_options": {"disable_retries": True}})
    assert (spec.reader.component.storage.attempts, spec.writer.component.storage.attempts) == (1, 1)
    pytest.importorskip("boto3", reason="get it with: pip install 'exporters-beam[s3]'")
    assert spec.writer.component.storage.client.meta.config.retries["total_max_attempts"] == 1


def test_dates_of_prefixes_stay_those_of_the_export():
    from exporters_beam.config.spec import load
    from exporters_beam.planning.plan import make

    config = {"reader": "s3://a/%Y-%m-%d/", "writer": {"name": "s3", "options": {"bucket": "b", "filebase": "a"}}}
    plan = make(load(config), datetime(2020, 2, 29, 23, 59))
    assert plan.reader.places() == ("2020-02-29/",)
    assert S3Reader(bucket="a", prefix="%Y").places() == (str(datetime.now().year),)


LISTS = """
import json, resource, sys
from exporters_beam.components.options import build
from exporters_beam.storages.s3 import S3Reader
units = build(S3Reader, json.loads(sys.argv[1])).units()
count, last = 1, next(units).name
begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for unit in units:
    assert unit.name > last
    count, last = count + 1, unit.name
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun)
"""


@servers
def test_100_000_names_are_not_held_in_memory(s3: Place, versitygw_data: Path):
    """The gateway keeps objects as files: they are made there, behind its back. Memory is that of the process, in KiB."""
    for thousand in range(100):
        folder = versitygw_data / s3.options["bucket"] / "in" / f"{thousand:03d}"
        folder.mkdir(parents=True)
        (folder / "000").touch()
        for n in range(1, 1000):
            os.link(folder / "000", folder / f"{n:03d}")  # quicker than a file of its own
    options = json.dumps({**s3.options, "prefix": "in/"})
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", LISTS, options], env=environ, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    count, grown = (int(part) for part in found.stdout.split())
    assert count == 100_000 and grown < 30 << 10
    shutil.rmtree(versitygw_data / s3.options["bucket"])


@servers
def test_dead_letters_stay_on_this_machine(s3: Place, tmp_path):
    from exporters_beam.reporting.verify import verify

    config = {
        "reader": {"name": "memory", "options": {"records": [{"n": 1}, {"n": None}, {"n": 3}]}},
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['n'] + 1)"]}},
        "writer": s3.writer("out/p-"),
        "on_error": "dead_letter",
    }
    report = exporters_beam.run(config)
    assert report.written == 2 and report.dead_letters["records"] == 1
    assert report.dead_letters["name"].startswith(f"{tmp_path}/state/exporters-beam/.exporters/")
    assert [found.name for found in s3.storage().names("")] == ["out/p-0000.jl.gz"]
    assert verify(report.manifest, s3.storage())[0] == []


@servers
@pytest.mark.parametrize("never", [False, True])
def test_two_worker_processes(s3: Place, never):
    """Workers make their own clients and resolve secrets themselves, in the pipeline and in a copy of objects."""
    for n in range(4):
        s3.put(f"in/{n}.jl.gz", gzip.compress(jsonl(RECORDS[n::4]), mtime=0))
    config = {
        "reader": s3.source("in/"),
        "writer": s3.writer("out/"),
        "exporter_options": {"prevent_bypass": never},
    }
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    report = exporters_beam.run(config, beam_args=two)
    assert len(report.files) == (1 if never else 4)
    found = [json.loads(line)["_key"] for file in s3.storage().names("out/")
             for line in gzip.decompress(s3.get(file.name)).splitlines()]  # fmt: skip
    assert sorted(found) == list(range(len(RECORDS)))
