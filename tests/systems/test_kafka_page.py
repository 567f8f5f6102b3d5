"""docs/systems.md: what it shows of Kafka can be run as it stands, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporters_beam.config.spec import load

PAGE = (Path(__file__).parent.parent.parent / "docs" / "systems.md").read_text(encoding="utf-8")
KAFKA = re.split(r"^## ", PAGE.partition("\n## Kafka\n")[2], flags=re.M)[0]
SHOWN = re.findall(r"^```yaml\n(.*?)^```$", KAFKA, flags=re.M | re.S)


def config(folder: Path, text: str) -> Path:
    """A config that is the text, or has it as options of a reader."""
    if not text.startswith("reader:"):
        given = "".join(f"    {line}\n" for line in text.splitlines())
        usual = "".join(f"    {name}: {value}\n" for name, value in (("servers", "[localhost:9092]"), ("topic", "orders"))
                        if f"{name}:" not in text)  # fmt: skip
        text = f"reader:\n  name: kafka\n  options:\n{usual}{given}writer: {{name: console}}\n"
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_shown_is_right(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "tea")
    monkeypatch.chdir(tmp_path)
    starts = re.findall(r"^start: .*$", text, flags=re.M)
    for each in [f"{start}\ngroup: billing\n" for start in starts] or [text]:
        load(config(tmp_path, each))


def test_the_examples_are_found() -> None:
    assert len(SHOWN) == 4
