"""`exporters-beam init --from` of a bucket: a folder and a pattern; what it writes reads the same objects."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from exporters_beam.cli.main import main

from places import SECRET, Place


@pytest.mark.servers
def test_a_folder_and_a_pattern_of_s3(
    moto: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.options["host"])
    monkeypatch.setenv("EXPORTERS_S3READER_AWS_KEY", "rootkey")
    monkeypatch.setenv("EXPORTERS_S3READER_AWS_SECRET", SECRET)
    moto.put("in/a.csv", "id;näme\n1;ü\n".encode("cp1252"))
    moto.put("in/old/b.csv", b"1,2\n")
    bucket = moto.options["bucket"]
    assert main(["init", "c.yaml", "--from", f"s3://{bucket}/in/*.csv"]) == 0
    config = yaml.safe_load(Path("c.yaml").read_text())
    assert config["reader"]["options"] == {"bucket": bucket, "prefix": "in/", "pattern": r"(?:^|/)in/[^/]*\.csv$"}
    assert SECRET not in Path("c.yaml").read_text()
    capsys.readouterr()
    assert main(["validate", "c.yaml"]) == 0
    assert main(["preview", "c.yaml"]) == 0
    assert '  {"id": "1", "näme": "ü"}\n' in capsys.readouterr().out
    assert main(["init", "d.yaml", "--from", f"s3://{bucket}/in/"]) == 1
    assert "the first row of" in (told := capsys.readouterr().err) or "values stand between" in told
    assert main(["init", "d.yaml", "--from", f"s3://{bucket}/nothing/"]) == 2
    assert main(["init", "d.yaml", "--from", f"s3://{bucket}-that-is-not-there/"]) == 1
    assert not Path("d.yaml").exists()
