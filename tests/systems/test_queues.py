"""What is written down of queues, whatever the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from exporters_beam.config.spec import load
from exporters_beam.errors import DestinationError
from exporters_beam.staging import taken as taken_module
from exporters_beam.staging.taken import Message, Taken, Taking, clear, delivered_beside, is_delivered, is_there, unsettled


def messages(*numbers: int, receipt: str = "r") -> list[Message]:
    return [Message(f"id{n}", f"{receipt}{n}", f"{n}".encode(), {"n": n}) for n in numbers]


def bodies(folder: Path) -> list[list[str]]:
    taken = Taken(str(folder))
    return [[message.body.decode() for message in taken.piece(n)] for n in range(len(taken.counts))]


def test_pieces_hold_messages_once_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken_module, "MOST", 3)
    taking = Taking(str(tmp_path / "taken"))
    taking.add(messages(0, 1, 2, 3))
    taking.add(messages(2, 4, receipt="again"))
    assert not Taken(str(tmp_path / "taken")).whole
    taking.commit(source="q", said=[])
    taking.close()
    taken = Taken(str(tmp_path / "taken"))
    assert (bodies(tmp_path / "taken"), list(taken.counts), taken.told["again"]) == ([["0", "1", "2"], ["3", "4"]], [3, 2], 1)
    assert taken.receipts() == {"id0": "r0", "id1": "r1", "id2": "again2", "id3": "r3", "id4": "again4"}


@pytest.mark.parametrize("lost", [1, 3, 9, 20])
def test_a_message_that_was_not_written_whole_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """The power went: the file ends in the middle of a message, and the receipts in the middle of a line."""
    monkeypatch.setattr(taken_module, "MOST", 3)
    folder = tmp_path / "taken"
    taking = Taking(str(folder))
    taking.add(messages(0, 1, 2, 3, 4))
    taking.sync()
    taking.close()
    for name in ("piece-000001", "receipts"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-lost])
    taking = Taking(str(folder))
    assert taking.ids in ({"id0", "id1", "id2", "id3"}, {"id0", "id1", "id2"})
    taking.add(messages(3, 4, 5, receipt="new"))
    taking.commit(source="q", said=[])
    taking.close()
    assert bodies(folder) == [["0", "1", "2"], ["3", "4", "5"]]
    found = Taken(str(folder)).receipts()
    assert {name: found[name] for name in ("id3", "id4", "id5")} == {"id3": "new3", "id4": "new4", "id5": "new5"}


def test_what_is_settled_goes_and_what_is_left_is_known_beside(tmp_path: Path) -> None:
    books, other = tmp_path / ".exporters" / "a", tmp_path / ".exporters" / "b"
    taking = Taking(str(books / "taken"))
    taking.add(messages(0, 1))
    taking.commit(source="q", said=[])
    taking.close()
    assert is_there(str(books)) and not is_delivered(str(books)) and delivered_beside(str(other), "q") == {}
    manifest = {"units": [{"etag": Taken(str(books / "taken")).told["key"]}]}
    (books / "manifest.json").write_text(json.dumps(manifest))
    assert is_delivered(str(books))
    assert delivered_beside(str(other), "q") == {str(books): {"id0": "r0", "id1": "r1"}}
    Taken(str(books / "taken")).settle("q", {"id1": "r1"})
    assert not is_there(str(books)) and (books / "taken").exists()
    clear(str(books))
    assert not (books / "taken").exists() and unsettled(str(books), "q") == {"id1": "r1"}
    assert delivered_beside(str(other), "q") == {str(books): {"id1": "r1"}} and delivered_beside(str(other), "p") == {}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("in the way")
    with pytest.raises(DestinationError, match=r"cannot write to the staging folder .*taken"):
        Taking(str(tmp_path / "taken"))


PAGE = (Path(__file__).parent.parent.parent / "docs" / "systems.md").read_text(encoding="utf-8")
SHOWN = re.findall(
    r"^```yaml\n(.*?)^```$", re.split(r"^## ", PAGE.partition("\n## Queues")[2], flags=re.M)[0], flags=re.M | re.S
)


@pytest.mark.parametrize("text", SHOWN)
def test_what_the_page_shows_is_right(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    load(tmp_path / "config.yaml")


def test_the_examples_are_found() -> None:
    assert len(SHOWN) == 3
